/**
 * EndpointSlices as the API server writes them (discovery.k8s.io/v1): what of them is read here. Every field may be missing or
 * null, for Go leaves empty ones out.
 */

export interface EndpointSlice {
  readonly metadata: { readonly name: string, readonly resourceVersion: string }
  readonly addressType?: string | null
  readonly endpoints?: readonly Endpoint[] | null
  readonly ports?: readonly EndpointPort[] | null
}

export interface Endpoint {
  readonly addresses?: readonly string[] | null
  readonly conditions?: { readonly ready?: boolean | null, readonly serving?: boolean | null, readonly terminating?: boolean | null } | null
  readonly nodeName?: string | null
  readonly targetRef?: { readonly kind?: string | null, readonly name?: string | null } | null
  readonly zone?: string | null
}

export interface EndpointPort {
  readonly name?: string | null
  /** null: all ports. */
  readonly port?: number | null
  readonly protocol?: string | null
  readonly appProtocol?: string | null
}

/** What a service consists of at one moment: its slices by name, and the version from which a watch goes on. */
export interface Snapshot {
  version: string
  readonly slices: Map<string, EndpointSlice>
}

/** Takes the API server at its word no further than its shape. Throws for what is no slice. */
export function asSlice (value: unknown): EndpointSlice {
  const { metadata, endpoints, ports } = isObject(value) ? value : {}
  const named = isObject(metadata) && isText(metadata['name']) && isText(metadata['resourceVersion'])
  if (!named || !isListOrNothing(endpoints) || !isListOrNothing(ports)) throw new Error('Kubernetes sent what is no EndpointSlice')
  return value as EndpointSlice
}

/** The version of an object or a list. Throws where there is none: nothing could be watched from there. */
export function versionOf (value: unknown): string {
  const metadata = isObject(value) ? value['metadata'] : undefined
  const version = isObject(metadata) ? metadata['resourceVersion'] : undefined
  if (!isText(version)) throw new Error('Kubernetes sent an object without a resourceVersion')
  return version
}

export function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isListOrNothing (value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.every(isObject))
}
