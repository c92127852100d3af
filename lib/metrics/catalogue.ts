/**
 * Every metric of the gateway: what it is called (after the prefix), what it is, its labels, and how those of several worker
 * processes become one. Names after Prometheus conventions: base units, `_total` for counters.
 */

export interface MetricInfo {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
  readonly aggregator: 'sum' | 'min' | 'max' | 'first'
}

const counter = (help: string, ...labels: string[]): MetricInfo => ({ type: 'counter', help, labels, aggregator: 'sum' })
const histogram = (help: string, ...labels: string[]): MetricInfo => ({ type: 'histogram', help, labels, aggregator: 'sum' })
/** What adds up. */
const load = (help: string, ...labels: string[]): MetricInfo => ({ type: 'gauge', help, labels, aggregator: 'sum' })
/** What does not. */
const state = (aggregator: MetricInfo['aggregator'], help: string, ...labels: string[]): MetricInfo => ({ type: 'gauge', help, labels, aggregator })

export const CATALOGUE = {
  requests_total: counter('Requests of clients that have ended, by route, method and status.', 'route', 'method', 'code'),
  request_duration_seconds: histogram('Time from the request to the end of its answer, by route and class of the status.', 'route', 'class'),
  requests_in_flight: load('Requests of clients that have not ended.'),
  answers_cut_total: counter('Answers that broke off after their headers had gone to the client.', 'route'),
  tenant_requests_total: counter('Requests that have ended, by tenant and class of the status.', 'tenant', 'class'),
  composite_parts_total: counter('Parts of composite routes, by what became of them.', 'route', 'part', 'state'),
  upstream_attempts_total: counter('Tries that left for a target, by outcome.', 'backend', 'target', 'outcome'),
  upstream_attempt_duration_seconds: histogram('Time from the start of a try to the headers of its answer, or to its failure.', 'backend'),
  retries_total: counter('Tries that were not the first of their call, hedged ones included.', 'backend'),
  rejected_total: counter('Tries that never left for a target, by reason.', 'backend', 'reason'),
  breaker_state: state('max', 'State of the circuit breaker of a target: 0 closed, 1 half-open, 2 open.', 'backend', 'target'),
  breaker_transitions_total: counter('Changes of circuit breakers, by the state they came to.', 'backend', 'target', 'state'),
  tenant_breakers: load('Circuit breakers of tenants, by state.', 'backend', 'state'),
  target_healthy: state('min', 'Whether checks and traffic show a target to be fit: 1 or 0.', 'backend', 'target'),
  target_weight: state('max', 'Weight of a target; 0 while it is inactive or drains.', 'backend', 'target'),
  target_inflight: load('Tries under way at a target.', 'backend', 'target'),
  queue_depth: load('Calls that wait for a place at a backend with concurrency.', 'backend'),
  slots_in_use: load('Places that calls hold at a backend with concurrency.', 'backend'),
  pool_connections: load('Open connections, by origin and whether a request is under way on them.', 'origin', 'state'),
  pool_pending_requests: load('Requests that wait for a connection, by origin.', 'origin'),
  websockets_open: load('WebSockets that are open.'),
  event_streams_open: load('Event streams that are open, of clients that ask for one.'),
  discovery_targets: state('max', 'Targets that discovery has found, by backend.', 'backend'),
  discovery_fault: state('max', 'Whether the engine of a backend\'s discovery could not be asked the last time: 1 or 0.', 'backend'),
  traffic_dump_lines_total: counter('Lines of the traffic dump: written, dropped for want of room, or failed to be written.', 'result'),
  traffic_dump_queued_lines: load('Lines of the traffic dump that wait to be written.'),
  reloads_total: counter('Changes of the configuration while running, by result.', 'result'),
  reload_last_success_timestamp_seconds: state('max', 'When the configuration in use was loaded, as a Unix time.'),
  build_info: state('first', 'Always 1; the version of the gateway is in the label.', 'version')
} as const satisfies Readonly<Record<string, MetricInfo>>

export type MetricName = keyof typeof CATALOGUE

/** Label of everything that tenants have for themselves: breakers, and targets of their own. */
export const TENANTS = 'tenants'
