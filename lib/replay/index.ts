/** Requests of a dump, sent again somewhere else. */
export { parseFilter } from './filter.ts'
export { checkDump, NoDumpError, readDumps, STDIN } from './read.ts'
export { canBeSet } from './request.ts'
export { replay } from './run.ts'
export { nothingText, progressText, reportText } from './text.ts'
export type { ReplayOptions, ReplayReport } from './run.ts'
export type { ReplayAnswer, ReplayRequest } from './types.ts'
