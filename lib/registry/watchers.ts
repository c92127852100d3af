/** Who is told of changes to backends, and how many there have been. */
import type { Backend, Target } from '../types.ts'

/** Told after every change of a backend: the targets that are gone for good. */
export type Watcher = (backend: Backend, gone: readonly Target[]) => void

export interface Watchers {
  /** Counts changes of what everybody has. */
  version (): number
  /**
   * Tells of every change to a backend from now on, and which of its targets are gone for good. `lingers`: also when another
   * registry has taken this one's place, until this one is closed.
   */
  watch (watcher: Watcher, options?: { readonly lingers?: boolean }): void
  tell (backend: Backend, gone?: readonly Target[]): void
  /** Tells only those that linger. */
  tellLingering (backend: Backend): void
  /** Of all registries that share the connections: those whose calls have not ended want to know. */
  readonly lingering: ReadonlySet<Watcher>
  /** Those of this registry linger no more. */
  close (): void
}

/** `before`: what lingers of the registry before; it is shared from now on. */
export function createWatchers (before: ReadonlySet<Watcher> | undefined): Watchers {
  const watchers: Watcher[] = []
  // to be read by everybody, and written by registries only
  const lingering = (before ?? new Set()) as Set<Watcher>
  const mine: Watcher[] = []
  let changes = 0

  return {
    version: () => changes,
    watch (watcher, { lingers = false } = {}) {
      if (!lingers) {
        watchers.push(watcher)
        return
      }
      lingering.add(watcher)
      mine.push(watcher)
    },
    tell (backend, gone = []) {
      if (backend.scope === '') changes++
      for (const watcher of watchers) watcher(backend, gone)
      for (const watcher of lingering) watcher(backend, gone)
    },
    tellLingering (backend) { for (const watcher of lingering) watcher(backend, []) },
    lingering,
    close () { for (const watcher of mine) lingering.delete(watcher) }
  }
}
