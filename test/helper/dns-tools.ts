/** What providers of targets are given, with a clock that only moves when told, and somebody who listens to them. */
import { waitFor, virtualClock } from './time.ts'
import type { TestLike, VirtualClock } from './time.ts'
import type { DiscoveredTarget, DiscoveryProvider, ProviderTools } from '../../lib/discovery/types.ts'

export interface ToolsDouble {
  readonly tools: ProviderTools
  readonly clock: VirtualClock
  readonly warnings: string[]
  /** How long each sleep that runs now was to take, ms. */
  readonly waits: number[]
  /** Waits until something sleeps for that long, then lets the time pass. */
  pass (ms: number): Promise<void>
}

export function providerTools (random: () => number = () => 0): ToolsDouble {
  const clock = virtualClock()
  const sleeping = new Set<{ ms: number }>()
  const warnings: string[] = []
  const tools: ProviderTools = {
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const one = { ms }
      sleeping.add(one)
      const abort = () => {
        clock.clearTimeout(id)
        sleeping.delete(one)
        const reason: Error = signal.reason
        reject(reason)
      }
      signal.addEventListener('abort', abort, { once: true })
      const id = clock.setTimeout(() => {
        signal.removeEventListener('abort', abort)
        sleeping.delete(one)
        resolve()
      }, ms)
    }),
    random,
    now: () => clock.now(),
    warn: message => { warnings.push(message) }
  }
  return {
    tools,
    clock,
    warnings,
    get waits () { return [...sleeping].map(({ ms }) => ms) },
    async pass (ms) {
      if (!await waitFor(() => [...sleeping].some(one => one.ms === ms), 20_000)) throw new Error(`nothing sleeps for ${ms} ms, but for ${[...sleeping].map(one => one.ms).join(', ') || 'no time at all'}`)
      clock.advance(ms)
    }
  }
}

export interface Listener {
  /** What `resolve` gave, if it was asked, and what `watch` yielded. */
  readonly lists: Array<readonly DiscoveredTarget[]>
  /** The URLs of the last list. */
  readonly urls: string[]
  /** What ended it; undefined while it runs. */
  readonly end: { readonly error: Error | undefined } | undefined
  stop (): void
  /** `count` lists have come; throws when they do not. */
  has (count: number): Promise<void>
}

/** Asks for the list, and then watches, as the engine does. */
export async function listen (t: TestLike, provider: DiscoveryProvider): Promise<Listener> {
  const stopping = new AbortController()
  const lists: Array<readonly DiscoveredTarget[]> = [await provider.resolve(stopping.signal)]
  let end: { error: Error | undefined } | undefined
  const watching = (async () => {
    try {
      for await (const list of provider.watch!(stopping.signal)) lists.push(list)
      end = { error: undefined }
    } catch (error) {
      end = { error: error as Error }
    }
  })()
  t.teardown(async () => {
    stopping.abort()
    await watching
  })
  return {
    lists,
    get urls () { return lists.at(-1)!.map(({ url }) => url) },
    get end () { return end },
    stop () { stopping.abort() },
    async has (count) {
      if (!await waitFor(() => lists.length >= count || end !== undefined, 20_000) || lists.length < count) {
        throw new Error(`${lists.length} lists instead of ${count}`, { cause: end?.error })
      }
    }
  }
}
