/** What the admin interface takes and gives, as JSON Schema: it checks what comes, and stands in the OpenAPI document. */
import { Type, type Static, type TObject, type TProperties, type TSchema } from '@sinclair/typebox'

const strict = <Properties extends TProperties>(properties: Properties): TObject<Properties> => Type.Object(properties, { additionalProperties: false })
const orNull = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()])
const oneOf = (...values: string[]) => Type.String({ enum: values })
const listOf = <Schema extends TSchema>(schema: Schema) => Type.Array(schema)
const count = Type.Number({ minimum: 0 })
const date = Type.String({ format: 'date-time' })
const anything = Type.Record(Type.String(), Type.Unknown())

// ---- what comes

/** A URL of a target as the configuration has it. */
const target = Type.String({ minLength: 1, maxLength: 2_048, description: 'URL of the target.' })
const tenant = Type.String({ minLength: 1, maxLength: 256, description: 'Id of a tenant; default: everybody.' })

export const backendParams = strict({ backend: Type.String({ description: 'Name of the backend.' }) })
export const drainBody = strict({ target })
export const checkBody = strict({ target: Type.Optional(target) })
export const breakerBody = strict({ target: Type.Optional(target), tenant: Type.Optional(tenant) })

const method = Type.String({ pattern: '^[A-Za-z][A-Za-z-]{0,31}$', default: 'GET' })
const url = Type.String({ pattern: '^/[^\\u0000-\\u0020\\u007f]*$', maxLength: 8_192, default: '/', description: 'Path and query.' })
const headerValue = Type.String({ pattern: '^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f]*$' })

export const explainQuery = strict({
  method: Type.Optional(method),
  url: Type.Optional(url),
  header: Type.Optional(Type.Array(Type.String({ pattern: '^[!#$%&\'*+.^_`|~0-9A-Za-z-]+:[^\\u0000-\\u0008\\u000a-\\u001f\\u007f]*$' }), { maxItems: 100, description: 'Name: value. May stand there several times.' }))
})
export const explainBody = strict({
  method: Type.Optional(method),
  url: Type.Optional(url),
  headers: Type.Optional(Type.Record(Type.String({ pattern: '^[!#$%&\'*+.^_`|~0-9A-Za-z-]+$' }), Type.Union([headerValue, Type.Array(headerValue)]), { additionalProperties: false })),
  remoteAddress: Type.Optional(Type.String({ minLength: 1, maxLength: 64 }))
})
export const tenantsQuery = strict({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
  after: Type.Optional(Type.String({ description: 'Id that the page comes after: `next` of the one before.' }))
})
export const breakersQuery = strict({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1_000 })) })

export type DrainBody = Static<typeof drainBody>
export type CheckBody = Static<typeof checkBody>
export type BreakerBody = Static<typeof breakerBody>
export type ExplainQuery = Static<typeof explainQuery>
export type ExplainBody = Static<typeof explainBody>

// ---- what goes: the words of types.ts

export const errorSchema = Type.Object({ statusCode: Type.Integer(), code: Type.Optional(Type.String()), error: Type.String(), message: Type.String() })

const latency = Type.Object({ averageMs: count, p50: count, p90: count, p95: count, p99: count })

export const statusSchema = Type.Object({
  version: Type.String(),
  node: Type.String(),
  pid: Type.Integer(),
  worker: orNull(Type.Integer()),
  startedAt: date,
  state: oneOf('serving', 'draining'),
  ready: Type.Boolean(),
  notReady: listOf(Type.String()),
  since: date,
  requests: Type.Intersect([latency, Type.Object({ total: count, success: count, failures: count, aborted: count, inFlight: count })]),
  websockets: count,
  eventStreams: count,
  backends: Type.Object({ total: count, usable: count }),
  targets: Type.Object({ total: count, usable: count }),
  trafficDump: orNull(Type.Object({ written: count, dropped: count, failed: count, queued: count }))
})

const breakerState = oneOf('closed', 'open', 'half-open')
const breakerStats = Type.Object({
  consecutive: count,
  window: Type.Optional(Type.Object({ failures: count, total: count })),
  openedAt: orNull(date),
  opened: count
})

const targetSchema = Type.Object({
  url: Type.String(),
  state: oneOf('active', 'inactive', 'draining'),
  weight: count,
  maxConnections: orNull(count),
  metadata: anything,
  inflight: count,
  started: count,
  excluded: orNull(Type.String({ description: 'Why it gets no requests now.' })),
  health: Type.Object({
    healthy: Type.Boolean(),
    reason: orNull(Type.String()),
    ejectedFor: orNull(count),
    check: orNull(Type.Object({ ok: orNull(Type.Boolean()), detail: orNull(Type.String()), agoMs: orNull(count), checks: count, failures: count }))
  }),
  breaker: orNull(Type.Object({ state: breakerState, retryAfter: count, stats: breakerStats })),
  pool: orNull(Type.Object({ connected: count, free: count, pending: count, queued: count, running: count })),
  attempts: count,
  failures: count,
  latency
})

export const backendSchema = Type.Object({
  name: Type.String(),
  state: oneOf('ok', 'degraded', 'down'),
  isDefault: Type.Boolean(),
  balancer: Type.String(),
  attempts: count,
  failures: count,
  retries: count,
  rejected: count,
  latency,
  concurrency: orNull(Type.Object({ max: count, taken: count, waiting: count })),
  discovery: orNull(Type.Object({ source: Type.String(), lists: count, lastSuccess: orNull(date), fault: orNull(Type.String()) })),
  targets: listOf(targetSchema)
})
export const backendsSchema = Type.Object({ backends: listOf(backendSchema) })

export const routesSchema = Type.Object({
  routes: listOf(Type.Object({
    name: Type.String(),
    path: Type.String(),
    methods: listOf(Type.String()),
    kind: oneOf('proxy', 'composite', 'handler'),
    backend: orNull(Type.String()),
    parts: listOf(Type.Object({ name: Type.String(), backend: orNull(Type.String()), required: Type.Boolean() })),
    hosts: listOf(Type.String()),
    websocket: Type.Boolean()
  }))
})

export const breakersSchema = Type.Object({
  breakers: listOf(Type.Object({ scope: Type.String(), backend: Type.String(), target: Type.String(), state: breakerState, retryAfter: count, stats: breakerStats })),
  total: count
})

export const tenantsSchema = Type.Object({
  tenants: listOf(Type.Object({ id: Type.String(), served: Type.Boolean(), source: oneOf('options', 'set', 'load'), active: Type.Boolean(), metadata: anything })),
  total: count,
  next: orNull(Type.String())
})

export const configSchema = Type.Record(Type.String(), Type.Unknown(), { description: 'Everything with its defaults; durations in ms, secrets masked.' })

const answeredWith = Type.Object({ statusCode: Type.Integer(), code: Type.Optional(Type.String()), message: Type.Optional(Type.String()) })

export const explanationSchema = Type.Object({
  route: Type.Object({ name: orNull(Type.String()), path: orNull(Type.String()), kind: oneOf('proxy', 'composite', 'other', 'none') }),
  tenant: orNull(Type.Object({ id: Type.String(), known: Type.Boolean() })),
  calls: listOf(Type.Object({
    part: Type.Optional(Type.String()),
    needs: Type.Optional(listOf(Type.String())),
    backend: orNull(Type.String()),
    method: Type.String(),
    path: Type.String(),
    settings: Type.Optional(Type.Object({
      timeouts: Type.Record(Type.String(), count),
      attempts: count,
      circuitBreaker: Type.Boolean(),
      concurrency: Type.Optional(Type.Object({ max: count, taken: count, waiting: count }))
    })),
    balancer: Type.Optional(Type.String()),
    targets: listOf(Type.Object({ url: Type.String(), state: Type.String(), weight: count, inflight: count, chosen: Type.Boolean(), excluded: Type.Optional(Type.String()) })),
    chosen: orNull(Type.String()),
    error: Type.Optional(answeredWith)
  })),
  answered: Type.Optional(answeredWith),
  note: Type.Optional(Type.String({ description: 'What may have been meant otherwise.' }))
})

const interval = { count, failures: count, p50: count, p95: count }

export const recentSchema = Type.Object({
  interval: count,
  points: listOf(Type.Object({ at: count, requests: Type.Object({ ...interval, inFlight: count }), backends: Type.Record(Type.String(), Type.Object(interval)) })),
  transitions: listOf(Type.Object({ id: count, at: count, kind: oneOf('breaker', 'health', 'target'), scope: Type.String(), backend: Type.String(), target: Type.String(), to: Type.String() })),
  samples: listOf(Type.Object({
    id: count,
    at: count,
    requestId: Type.String(),
    method: Type.String(),
    url: Type.String(),
    route: Type.String(),
    tenant: orNull(Type.String()),
    status: Type.Integer(),
    outcome: Type.String(),
    duration: count,
    queued: count,
    parts: listOf(Type.Object({ name: Type.String(), state: Type.String(), status: orNull(Type.Integer()), start: orNull(Type.Number()), duration: Type.Number() })),
    attempts: listOf(Type.Object({ backend: Type.String(), target: Type.String(), part: orNull(Type.String()), start: Type.Number(), duration: orNull(Type.Number()), outcome: orNull(Type.String()), status: orNull(Type.Integer()) }))
  }))
})

export const actionSchema = Type.Object({ done: Type.Boolean(), backend: backendSchema, healthy: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])) })
