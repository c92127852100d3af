/** Metrics: what is counted, and how it is shown. */
export { CATALOGUE, type MetricInfo, type MetricName } from './catalogue.ts'
export { answerMetricsRequests, collectFromWorkers, type MessageEnd } from './cluster.ts'
export { createMetering, type Metering } from './metering.ts'
export { createMetricsServer, type MetricsServer } from './server.ts'
export type * from './types.ts'
