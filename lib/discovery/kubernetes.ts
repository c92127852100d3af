/**
 * Discovery by Kubernetes: follows the EndpointSlices of a Service.
 *
 * A list, and from its version on a watch, so that nothing is missed between the two. A version that the server has forgotten
 * (410) is answered by a list, which replaces all that was known.
 */
import type { DiscoveryProvider, KubernetesDiscoveryConfig, ProviderTools } from './types.ts'
import { createSliceApi, isGone } from './kubernetes/api.ts'
import { targetsOf } from './kubernetes/endpoints.ts'
import type { SliceEvent } from './kubernetes/api.ts'
import type { Surroundings } from './kubernetes/cluster.ts'
import type { Snapshot } from './kubernetes/slice.ts'

/**
 * Needs the package `@kubernetes/client-node` from the first question on.
 *
 * `resolve` throws when the API server cannot be reached, refuses (with what is missing), or answers nonsense; `watch` for the same,
 * and for an end of its connection that is none of HTTP. A watch that ends as it should goes on from where it was.
 *
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export function createKubernetes (config: KubernetesDiscoveryConfig, tools: ProviderTools, surroundings: Surroundings = {}): DiscoveryProvider {
  const api = createSliceApi(config, tools, surroundings)
  /** What the last `resolve` saw: the next watch goes on from there. */
  let resolved: Snapshot | undefined

  const targets = ({ slices }: Snapshot) => targetsOf(slices.values(), config, tools.warn)

  async function * watch (signal: AbortSignal) {
    const pace = createPace(tools)
    let known = resolved
    resolved = undefined
    while (!signal.aborted) {
      pace.begin()
      try {
        if (known === undefined) {
          known = await api.list(signal)
          yield targets(known)
        }
        for await (const events of api.changes(known.version, signal)) {
          if (apply(events, known)) yield targets(known)
        }
      } catch (error) {
        if (signal.aborted) return
        if (!isGone(error)) throw error
        known = undefined
      }
      await pace.end(signal)
    }
  }

  return {
    async resolve (signal) {
      resolved = await api.list(signal)
      return targets(resolved)
    },
    watch
  }
}

/** Whether the events change anything. */
function apply (events: readonly SliceEvent[], known: Snapshot): boolean {
  let changed = false
  for (const event of events) {
    if (event.kind === 'bookmark') {
      known.version = event.version
      continue
    }
    const { slice } = event
    known.version = slice.metadata.resourceVersion
    if (event.kind === 'put') known.slices.set(slice.metadata.name, slice)
    else known.slices.delete(slice.metadata.name)
    changed = true
  }
  return changed
}

/** A round that took less than this is a short one, ms. */
const SHORT = 5000
const FIRST_PAUSE = 250
const LONGEST_PAUSE = 30_000

/** Something between us and the server may end every watch at once. From the second short round in a row there are pauses, doubled up to 30 s. */
function createPace ({ now, sleep, random }: ProviderTools): { begin (): void, end (signal: AbortSignal): Promise<void> } {
  let since = 0
  let short = 0
  return {
    begin () { since = now() },
    async end (signal) {
      if (now() - since >= SHORT) short = 0
      else short += 1
      if (short < 2) return
      const pause = Math.min(FIRST_PAUSE * 2 ** Math.min(short - 2, 20), LONGEST_PAUSE)
      await sleep(pause * (0.5 + random() / 2), signal).catch((error: unknown) => { if (!signal.aborted) throw error })
    }
  }
}
