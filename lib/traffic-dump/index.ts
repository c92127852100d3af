/** The traffic dump: what is kept of requests, and how it comes into files. */
export { Capture, dumpedOf, sizeOf } from './capture.ts'
export { openFiles } from './files.ts'
export { lineOf } from './line.ts'
export { createSampling } from './sampling.ts'
export { withoutTenants } from './tenant.ts'
export { createWriter } from './writer.ts'
export type { DumpStats, Entry, TrafficDumpConfig } from './types.ts'
export type { Sink, Writer } from './writer.ts'
