/** The shape of one entry of Consul's health endpoint: what is read of it. Older versions lack some, and have null for empty. */

type Texts = Readonly<Record<string, string>>

export interface Entry {
  readonly Node: {
    readonly Node: string
    readonly Address: string
    readonly Datacenter?: string | null
    readonly Meta?: Texts | null
    readonly Locality?: { readonly Zone?: string | null } | null
  }
  readonly Service: {
    readonly ID: string
    /** Empty: that of the node. */
    readonly Address: string
    /** 0: none. */
    readonly Port: number
    readonly Tags?: readonly string[] | null
    readonly Meta?: Texts | null
    readonly Weights?: { readonly Passing?: number | null, readonly Warning?: number | null } | null
    readonly Locality?: { readonly Zone?: string | null } | null
  }
  readonly Checks?: ReadonlyArray<{ readonly CheckID: string, readonly Status: string }> | null
}

type Shape = (value: unknown) => boolean

const text: Shape = value => typeof value === 'string'
const port: Shape = value => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65535
const weight: Shape = value => Number.isFinite(value) && (value as number) >= 0
const optional = (shape: Shape): Shape => value => value === undefined || value === null || shape(value)
const list = (shape: Shape): Shape => value => Array.isArray(value) && value.every(shape)
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null && !Array.isArray(value)
const texts: Shape = value => isRecord(value) && Object.values(value).every(text)
const object = (shapes: Readonly<Record<string, Shape>>): Shape => {
  const fields = Object.entries(shapes)
  return value => isRecord(value) && fields.every(([name, shape]) => shape(value[name]))
}

const locality = optional(object({ Zone: optional(text) }))

const entry = object({
  Node: object({ Node: text, Address: text, Datacenter: optional(text), Meta: optional(texts), Locality: locality }),
  Service: object({
    ID: text,
    Address: text,
    Port: port,
    Tags: optional(list(text)),
    Meta: optional(texts),
    Weights: optional(object({ Passing: optional(weight), Warning: optional(weight) })),
    Locality: locality
  }),
  Checks: optional(list(object({ CheckID: text, Status: text })))
})

export function isEntry (value: unknown): value is Entry {
  return entry(value)
}
