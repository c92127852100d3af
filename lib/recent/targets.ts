/** Which targets everybody's backends have and in which state, and what changes about it. */
import type { Transition } from './types.ts'
import type { Backend, Target, TargetState } from '../types.ts'

type Seen = Pick<Backend, 'name' | 'scope'> & { readonly targets: ReadonlyArray<Pick<Target, 'id' | 'state'>> }

export type TellTarget = (backend: string, target: string, to: Extract<Transition['to'], TargetState | 'added' | 'removed'>) => void

export interface Targets {
  /** One has changed; `gone`: those of its targets that are gone for good. What tenants have of their own comes and goes with them, and is no news. */
  see (backend: Seen, gone: ReadonlyArray<Pick<Target, 'id' | 'state'>>): void
  /** All there are now; nothing is told. */
  learn (backends: readonly Seen[]): void
  /** All there are now, of another configuration. */
  compare (backends: readonly Seen[]): void
}

type States = ReadonlyMap<string, TargetState>

const NONE: States = new Map()

/** Goes by URLs: an exchanged target is the same one. */
export function createTargets (tell: TellTarget): Targets {
  const known = new Map<string, States>()

  function update (name: string, now: States): void {
    const before = known.get(name) ?? NONE
    if (now.size === 0) known.delete(name)
    else known.set(name, now)
    for (const [id, state] of now) {
      const was = before.get(id)
      if (was !== state) tell(name, id, was === undefined ? 'added' : state)
    }
    for (const id of before.keys()) if (!now.has(id)) tell(name, id, 'removed')
  }

  return {
    see (backend, gone) {
      if (backend.scope === '') update(backend.name, statesOf(backend, gone))
    },
    learn (backends) {
      known.clear()
      for (const backend of shared(backends)) known.set(backend.name, statesOf(backend))
    },
    compare (backends) {
      const now = new Map(shared(backends).map(backend => [backend.name, statesOf(backend)]))
      for (const name of [...known.keys()]) if (!now.has(name)) update(name, NONE)
      for (const [name, states] of now) update(name, states)
    }
  }
}

function shared (backends: readonly Seen[]): Seen[] {
  return backends.filter(({ scope }) => scope === '')
}

function statesOf ({ targets }: Seen, gone: ReadonlyArray<Pick<Target, 'id' | 'state'>> = []): States {
  const isGone = gone.length === 0 ? undefined : new Set(gone)
  return new Map(targets.flatMap(target => isGone?.has(target) === true ? [] : [[target.id, target.state] as const]))
}
