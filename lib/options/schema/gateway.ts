/**
 * The options of the whole gateway: what `register(reverseproxy, options)` takes.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { Combine } from '../../composite/types.ts'
import type { BalancerFactory } from '../../types.ts'
import { DEFAULTS } from '../defaults.ts'
import { adminSchema } from './admin.ts'
import { backendSchema, sharedBackendProperties } from './backend.ts'
import { globalHeadersSchema } from './headers.ts'
import { limitsSchema } from './limits.ts'
import { logSchema } from './log.ts'
import { metricsSchema } from './metrics.ts'
import { probesSchema } from './probes.ts'
import { routeSchema } from './proxy.ts'
import { tenancySchema } from './tenancy.ts'
import { tracingSchema } from './tracing.ts'
import { trafficDumpSchema } from './traffic-dump.ts'
import { duration, fn, object, text } from './values.ts'

/** What a file may say, too. */
export const declarativeProperties = {
  backends: Type.Optional(Type.Record(Type.String(), backendSchema, { names: 'backendName', description: 'The backends by name.' })),
  defaultBackend: Type.Optional(text('backendName', { description: 'Backend of routes that name none, and of every request that no route takes. Default: none; such requests are answered 404.' })),
  headers: Type.Optional(globalHeadersSchema),
  ...sharedBackendProperties,
  limits: Type.Optional(limitsSchema),
  deadlineHeader: Type.Optional(Type.Union([text('editableHeader'), Type.Literal(false)], {
    default: false,
    rule: 'must be a header name or false',
    description: 'Header that tells the backend how many milliseconds are left for the call, such as x-request-deadline-ms; false for none.'
  })),
  shutdown: Type.Optional(object({
    delay: Type.Optional(duration({ default: DEFAULTS.shutdown.delay, description: 'How long a closing gateway still takes requests: it says that it is not ready, and answers Connection: close.' })),
    timeout: Type.Optional(duration({ default: DEFAULTS.shutdown.timeout, description: 'How long requests under way may take then; whatever is left is cut.' }))
  }, { description: 'What happens when the gateway closes.' })),
  tenancy: Type.Optional(tenancySchema),
  metrics: Type.Optional(metricsSchema),
  admin: Type.Optional(adminSchema),
  probes: Type.Optional(probesSchema),
  tracing: Type.Optional(tracingSchema),
  log: Type.Optional(logSchema),
  trafficDump: Type.Optional(trafficDumpSchema),
  routes: Type.Optional(Type.Array(routeSchema, { description: 'Routes; each becomes a Fastify route. The most specific path wins, whatever the order.' }))
}

/** What people write a level too high or too low. */
export const misplaced = {
  via: 'did you mean "headers.via"?',
  forwarded: 'did you mean "headers.forwarded"?',
  requestId: 'did you mean "headers.requestId"?',
  bodyLimit: 'did you mean "limits.body"?',
  tenants: 'did you mean "tenancy.tenants"?',
  opentelemetry: 'did you mean "tracing"?',
  statusPage: 'did you mean "admin"?',
  dashboard: 'did you mean "admin"?',
  readiness: 'did you mean "probes"?',
  liveness: 'did you mean "probes"?',
  dump: 'did you mean "trafficDump"?',
  prefix: 'register the plugin inside of a scope with a prefix'
}

export const gatewaySchema = object({
  ...declarativeProperties,
  balancers: Type.Optional(Type.Record(Type.String(), fn<BalancerFactory>(), { names: 'backendName', description: 'Code only: balancers of your own by name.' })),
  strategies: Type.Optional(Type.Record(Type.String(), fn<Combine>(), { names: 'backendName', description: 'Code only: strategies of your own for composite routes, by name.' })),
  random: Type.Optional(fn<() => number>({ description: 'Code only, for tests: numbers in [0, 1) in place of Math.random.' }))
}, { title: 'Options of fastify-reverseproxy', hints: misplaced })
export type GatewayOptions = Static<typeof gatewaySchema>
