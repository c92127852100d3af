/**
 * The two questions that are asked: which EndpointSlices a service has, and what changes about them.
 */
import type { KubernetesDiscoveryConfig, ProviderTools } from '../types.ts'
import { loadCluster } from './cluster.ts'
import { createJsonLines } from './lines.ts'
import { createLimit } from './limit.ts'
import { chunksOf, get, messageOf, readJson, StatusError } from './request.ts'
import { asSlice, isObject, versionOf } from './slice.ts'
import type { Cluster, Surroundings } from './cluster.ts'
import type { Limit } from './limit.ts'
import type { EndpointSlice, Snapshot } from './slice.ts'

export type SliceEvent =
  | { readonly kind: 'put', readonly slice: EndpointSlice }
  | { readonly kind: 'delete', readonly slice: EndpointSlice }
  /** Nothing changed up to this version. */
  | { readonly kind: 'bookmark', readonly version: string }

export interface SliceApi {
  /** All slices as they are now. */
  list (signal: AbortSignal): Promise<Snapshot>
  /** What came after the version, some events at a time, until the server ends it. Throws StatusError 410 when that is too long ago. */
  changes (version: string, signal: AbortSignal): AsyncGenerator<readonly SliceEvent[], void>
}

/** Slices of one page; each has up to 1000 endpoints, usually 100. */
const PAGE = 100
/** Largest page and longest event, bytes. etcd takes objects of 1.5 MB. */
const PAGE_SIZE = 128 * 1024 * 1024
const LINE_SIZE = 8 * 1024 * 1024
/** Until an answer begins, and until a page is complete, ms. */
const ANSWER_TIME = 30_000
/** A watch lasts between this and twice this, s: copies of the gateway that started together come back one by one. */
const WATCH_TIME = 300
/** What a watch may last beyond the time it was asked for, ms. A connection that is still open then is dead. */
const WATCH_GRACE = 30_000
/** How often a server that asks for patience gets it, and how much of it at a time, ms. */
const PATIENCE = 3
const MAX_PATIENCE = 30_000

export function createSliceApi (config: KubernetesDiscoveryConfig, tools: ProviderTools, surroundings: Surroundings): SliceApi {
  let loaded: Promise<Cluster> | undefined

  /** Read once, and again after a failure or when its credentials are no longer good. */
  function cluster (): Promise<Cluster> {
    const mine = loaded ??= loadCluster(config, surroundings)
    mine.catch(() => { if (loaded === mine) loaded = undefined })
    return mine
  }

  /** A 401 may mean that a token or a certificate was replaced: everything is read anew, once. A server that asks for it is given time. */
  async function ask (verb: string, query: Readonly<Record<string, string>>, limit: Limit): ReturnType<typeof get> {
    let fresh = loaded === undefined
    for (let tries = 1; ; tries++) {
      limit.within(ANSWER_TIME, `Kubernetes: the answer to "${verb}"`)
      const asked = await limit.race(cluster())
      const { namespace } = asked
      const path = `/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/endpointslices`
      const search = new URLSearchParams({ labelSelector: `kubernetes.io/service-name=${config.service}`, ...query })
      try {
        return await get(asked, `${path}?${search.toString()}`, limit)
      } catch (error) {
        if (!(error instanceof StatusError)) throw error
        if (error.status === 401 && !fresh) {
          fresh = true
          loaded = undefined
        } else if (isBusy(error) && tries <= PATIENCE) {
          const wait = Math.min(error.retryAfter ?? 1000, MAX_PATIENCE)
          limit.within(MAX_PATIENCE * 2 + ANSWER_TIME, `Kubernetes: the answer to "${verb}"`)
          // those that were turned away together do not come back together
          await tools.sleep(wait * (1 + tools.random() / 2), limit.signal)
        } else {
          if (error.status === 401) loaded = undefined
          throw explained(error, verb, asked)
        }
      }
    }
  }

  async function readPage (limit: Limit, more: string | undefined, paged: boolean): Promise<Page> {
    const response = await ask('list', { ...(paged ? { limit: String(PAGE) } : undefined), ...(more === undefined ? undefined : { continue: more }) }, limit)
    return asPage(await readJson(response, PAGE_SIZE, limit))
  }

  return {
    async list (signal) {
      const limit = createLimit(signal, tools.sleep)
      const slices = new Map<string, EndpointSlice>()
      let more: string | undefined
      // a list that is too long to be read before its first page is forgotten is asked for in one piece
      let paged = true
      try {
        for (;;) {
          let page: Page
          try {
            page = await readPage(limit, more, paged)
          } catch (error) {
            if (!isGone(error) || more === undefined) throw error
            slices.clear()
            more = undefined
            paged = false
            continue
          }
          for (const slice of page.slices) slices.set(slice.metadata.name, slice)
          more = page.more
          if (more === undefined) return { version: page.version, slices }
        }
      } finally {
        limit.end()
      }
    },

    async * changes (version, signal) {
      const limit = createLimit(signal, tools.sleep)
      const seconds = WATCH_TIME + Math.floor(tools.random() * (WATCH_TIME + 1))
      try {
        const response = await ask('watch', { watch: 'true', allowWatchBookmarks: 'true', resourceVersion: version, timeoutSeconds: String(seconds) }, limit)
        limit.within(seconds * 1000 + WATCH_GRACE, 'Kubernetes: a watch')
        const lines = createJsonLines(LINE_SIZE)
        for await (const chunk of chunksOf(response, limit)) {
          const { events, failure } = readEvents(lines.push(chunk))
          if (events.length > 0) yield events
          if (failure !== undefined) throw failure.error
        }
        lines.end()
      } finally {
        limit.end()
      }
    }
  }
}

/** What is good of a chunk is used before what is wrong with it ends the watch. */
function readEvents (values: Iterable<unknown>): { events: SliceEvent[], failure: { error: unknown } | undefined } {
  const events: SliceEvent[] = []
  try {
    for (const value of values) events.push(asEvent(value))
  } catch (error) {
    return { events, failure: { error } }
  }
  return { events, failure: undefined }
}

function asEvent (value: unknown): SliceEvent {
  const { type, object } = isObject(value) ? value : {}
  switch (type) {
    case 'ADDED':
    case 'MODIFIED': return { kind: 'put', slice: asSlice(object) }
    case 'DELETED': return { kind: 'delete', slice: asSlice(object) }
    case 'BOOKMARK': return { kind: 'bookmark', version: versionOf(object) }
    case 'ERROR': {
      const code = isObject(object) && typeof object['code'] === 'number' ? object['code'] : 0
      const message = messageOf(object)
      throw new StatusError(code, `Kubernetes ended a watch with ${code}${message === undefined ? '' : `: ${message}`}`)
    }
    default: throw new Error('Kubernetes sent an event of no known type')
  }
}

interface Page {
  readonly version: string
  readonly more: string | undefined
  readonly slices: readonly EndpointSlice[]
}

function asPage (value: unknown): Page {
  const { items, metadata } = isObject(value) ? value : {}
  // Go writes an empty list as null
  if (!isObject(metadata) || !(items === null || Array.isArray(items))) throw new Error('Kubernetes answered what is no list of EndpointSlices')
  const { continue: more } = metadata
  return { version: versionOf(value), more: typeof more === 'string' && more !== '' ? more : undefined, slices: (items ?? []).map(asSlice) }
}

/** Too long ago: what is asked for has been forgotten. */
export function isGone (error: unknown): boolean {
  return error instanceof StatusError && error.status === 410
}

/** Too many requests, or a server that is just starting: both say when to come back. */
function isBusy ({ status, retryAfter }: StatusError): boolean {
  return status === 429 || (status === 503 && retryAfter !== undefined)
}

function explained (error: StatusError, verb: string, { namespace, who }: Cluster): StatusError {
  const advice = adviceFor(error.status, verb, namespace, who)
  return advice === undefined ? error : new StatusError(error.status, `${error.message}; ${advice}`)
}

function adviceFor (status: number, verb: string, namespace: string, who: string): string | undefined {
  if (status === 401) return `the credentials of ${who} are not accepted`
  if (status === 403) return `${who} may not "${verb}": a Role in the namespace "${namespace}" must allow the verbs "list" and "watch" on "endpointslices" of the API group "discovery.k8s.io"`
  if (status === 404) return 'it must be an API server that has discovery.k8s.io/v1 (Kubernetes 1.21 or newer)'
  return undefined
}
