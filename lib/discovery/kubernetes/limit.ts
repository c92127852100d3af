/**
 * A signal that aborts with its parent, or when something took too long.
 */
import type { ProviderTools } from '../types.ts'

export interface Limit {
  readonly signal: AbortSignal
  /** From now on `what` may take `ms`; it replaces what was said before. */
  within (ms: number, what: string): void
  /** The work's result, or the reason of the signal: for work that does not listen to it. */
  race<T> (work: Promise<T>): Promise<T>
  /** It is over: the clock and the parent are let go. */
  end (): void
}

export function createLimit (parent: AbortSignal, sleep: ProviderTools['sleep']): Limit {
  const own = new AbortController()
  const { signal } = own
  let clock = new AbortController()
  const follow = (): void => { own.abort(parent.reason) }
  if (parent.aborted) follow()
  else parent.addEventListener('abort', follow, { once: true })

  return {
    signal,
    within (ms, what) {
      clock.abort()
      if (signal.aborted) return
      const mine = clock = new AbortController()
      sleep(ms, mine.signal).then(() => { if (!mine.signal.aborted) own.abort(new Error(`${what} took longer than ${ms} ms`)) }, () => {})
    },
    async race (work) {
      signal.throwIfAborted()
      let stop = (): void => {}
      const stopped = new Promise<never>((_resolve, reject) => { stop = () => { reject(signal.reason) } })
      signal.addEventListener('abort', stop, { once: true })
      try {
        return await Promise.race([work, stopped])
      } finally {
        signal.removeEventListener('abort', stop)
      }
    },
    end () {
      clock.abort()
      parent.removeEventListener('abort', follow)
    }
  }
}
