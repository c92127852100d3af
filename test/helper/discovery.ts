/**
 * An engine that knows where a service runs, as far as a gateway can see: the test says what it tells.
 */
import type { DiscoveredTarget, DiscoveryProvider } from '../../lib/discovery/types.ts'

/** What it does when it is asked. */
export type Mood = 'well' | 'rejects' | 'throws' | 'silent'

export interface Engine {
  /** For `discovery: { provider }`. */
  readonly provider: DiscoveryProvider
  /** Times that `resolve` was asked. */
  readonly asked: number
  /** Watches open now. */
  readonly watching: number
  /** The list from now on; watches are told. Anything that is no list is garbage. */
  tell (list: unknown): void
  /** What becomes of questions from now on; open watches break unless it is well. */
  become (mood: Mood): void
}

/** `list` undefined: it has nothing to tell yet and does not answer. */
export function engine (list?: ReadonlyArray<DiscoveredTarget | string>, { watches = true } = {}): Engine {
  let current: unknown = list
  let mood: Mood = list === undefined ? 'silent' : 'well'
  let asked = 0
  const wakers = new Set<() => void>()
  const wake = (): void => { for (const waker of [...wakers]) waker() }

  const resolve = (): Promise<readonly DiscoveredTarget[]> => {
    asked++
    if (mood === 'throws') throw new Error('engine: thrown')
    if (mood === 'rejects') return Promise.reject(new Error('engine: down'))
    if (mood === 'well') return Promise.resolve(current as DiscoveredTarget[])
    return new Promise((resolve) => {
      const answer = (): void => {
        if (mood !== 'well') return
        wakers.delete(answer)
        resolve(current as DiscoveredTarget[])
      }
      wakers.add(answer)
    })
  }
  async function * watch (signal: AbortSignal): AsyncGenerator<readonly DiscoveredTarget[]> {
    let seen = current
    for (;;) {
      await new Promise<void>(resolve => {
        wakers.add(go)
        signal.addEventListener('abort', go, { once: true })
        function go (): void {
          wakers.delete(go)
          resolve()
        }
      })
      if (signal.aborted) return
      if (mood !== 'well') throw new Error('engine: the watch broke')
      if (seen !== current) yield (seen = current) as DiscoveredTarget[]
    }
  }

  return {
    provider: watches ? { resolve, watch } : { resolve },
    get asked () { return asked },
    get watching () { return wakers.size },
    tell (next) {
      current = next
      mood = 'well'
      wake()
    },
    become (next) {
      mood = next
      wake()
    }
  }
}

/** Waits that are short. */
export const QUICK = { interval: 20, backoff: { initial: 5, max: 20 } } as const

/** A log that a test can read. */
export function memoryLog () {
  const lines: Array<{ readonly level: number, readonly msg: string, readonly backend?: string, readonly err?: { readonly message: string } }> = []
  const stream = { write (line: string) { lines.push(JSON.parse(line) as (typeof lines)[number]) } }
  return {
    server: { logger: { level: 'info', stream } },
    lines,
    /** Those of discovery. */
    get ofDiscovery () { return lines.filter(({ msg }) => msg.startsWith('discovery')).map(({ msg }) => msg) }
  }
}
