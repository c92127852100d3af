/** Who wants to be told of what happens. */
import type { RecentEvent } from './types.ts'

type Listener = (event: RecentEvent) => unknown

export interface Listeners {
  readonly size: number
  /** `complain` is called once with what the listener throws first; the returned function ends it. */
  add (listener: Listener, complain: (error: unknown) => void): () => void
  tell (event: RecentEvent): void
}

interface Entry {
  readonly listener: Listener
  complain: ((error: unknown) => void) | undefined
}

/** What one of them does wrong is no matter of the others, nor of what has happened. */
export function createListeners (): Listeners {
  const entries = new Set<Entry>()

  function failed (entry: Entry, error: unknown): void {
    const { complain } = entry
    entry.complain = undefined
    complain?.(error)
  }

  return {
    get size () { return entries.size },
    add (listener, complain) {
      const entry: Entry = { listener, complain }
      entries.add(entry)
      return () => { entries.delete(entry) }
    },
    tell (event) {
      // a copy: one that is added by another one is for what comes next
      for (const entry of [...entries]) {
        if (!entries.has(entry)) continue
        try {
          const answer = entry.listener(event)
          // an async one that rejects would end the process
          if (answer instanceof Promise) answer.catch((error: unknown) => { failed(entry, error) })
        } catch (error) {
          failed(entry, error)
        }
      }
    }
  }
}
