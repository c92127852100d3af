/** What happened lately: numbers, transitions and samples of requests. */
import { createEjections } from './ejections.ts'
import { createHistory } from './history.ts'
import { createTargets } from './targets.ts'
import type { Ejections } from './ejections.ts'
import type { History, HistoryTools } from './history.ts'
import type { Targets } from './targets.ts'

export { createTracking } from './tracking.ts'
export type { History } from './history.ts'
export type * from './types.ts'

/** What one gateway hands on to the next. */
export interface Kept {
  readonly history: History
  readonly targets: Targets
  readonly ejections: Ejections
}

export function createKept (tools: HistoryTools): Kept {
  const history = createHistory(tools)
  return {
    history,
    targets: createTargets((backend, target, to) => { history.transition({ kind: 'target', scope: '', backend, target, to }) }),
    ejections: createEjections(({ scope, backend, target }, to) => { history.transition({ kind: 'health', scope, backend, target, to }) })
  }
}
