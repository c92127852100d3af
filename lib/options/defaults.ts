/**
 * Every default of the options in one place, as a user would write it: the schemas print them, the resolvers apply them.
 */
import { FAILURES } from '../outcomes.ts'
import { DEFAULT_RETRY_METHODS, DEFAULT_RETRY_OUTCOMES, DEFAULT_RETRY_STATUSES } from '../retry/policy.ts'

export const DEFAULTS = {
  balancer: 'round-robin',
  host: 'upstream',
  redirects: 'pass',
  /** Redirects followed when a policy says `follow` without a number. */
  follow: 10,
  timeout: { connect: '5s', headers: '30s', idle: '30s', total: 0 },
  pool: { connections: 128, keepAliveTimeout: '4s', keepAliveMaxTimeout: '10m', maxHeaderSize: '16kb' },
  tls: { rejectUnauthorized: true },
  http2: false,
  target: { weight: 1, active: true },
  forward: '*',
  forwarded: { for: 'append', proto: 'set', host: 'set', port: 'off', prefix: 'off', realIp: 'off', rfc7239: 'off' },
  via: { name: 'fastify-reverseproxy', maxHops: 3 },
  requestId: 'x-request-id',
  limits: { headerCount: 1000, target: '16kb' },
  composite: {
    conflict: 'last',
    race: false,
    onMismatch: 'fail',
    timeout: '30s',
    meta: false,
    partialStatus: 200,
    maxPartBytes: '1mb',
    maxBytes: '8mb',
    maxDepth: 100,
    maxCalls: 50,
    onEmpty: 'allow',
    nonJson: 'fail',
    redirects: 'follow',
    headers: { setCookie: 'all', cacheControl: 'strictest', vary: 'union', serverTiming: false },
    methods: ['GET', 'HEAD'],
    part: { required: false, forEach: { concurrency: 8, max: 100, batch: false, key: 'id' } }
  },
  circuitBreaker: {
    failureThreshold: 5,
    volumeThreshold: 10,
    rollingWindow: '10s',
    resetTimeout: '30s',
    halfOpenTrials: 1,
    outcomes: FAILURES,
    fallback: { statusCode: 200 }
  },
  /** What an object has that does not say otherwise. */
  retry: {
    attempts: 2,
    methods: DEFAULT_RETRY_METHODS,
    statuses: DEFAULT_RETRY_STATUSES,
    outcomes: DEFAULT_RETRY_OUTCOMES,
    backoff: { initial: '25ms', max: '250ms', factor: 2 },
    maxRetryAfter: '5s',
    replayLimit: '64kb',
    idempotencyKey: 'idempotency-key',
    budget: { ratio: 0.2, min: 3, window: '10s' },
    hedge: false
  },
  health: { method: 'GET', interval: '10s', jitter: 0.1, timeout: '2s', expectedStatus: '2xx', rise: 2, fall: 3, initial: 'healthy', skipIfRecent: false },
  outlier: { consecutive: 5, minVolume: 20, window: '30s', baseEjection: '30s', maxEjection: '5m', maxEjectedPercent: 50, outcomes: FAILURES },
  slowStart: { initial: 0.1 },
  panic: { threshold: 50, mode: 'all' },
  concurrency: { queue: 0, queueTimeout: '1s', fairShare: true },
  /** `maxPayload` where messages are read whole, for `onMessage`. */
  websocket: { idleTimeout: 0, compression: 'pass', maxPayload: '1mb' },
  discovery: {
    bootTimeout: '10s',
    onBootTimeout: 'degrade',
    onEmpty: 'keep',
    interval: '30s',
    backoff: { initial: '500ms', max: '30s' },
    file: { interval: '1s' },
    dns: { type: 'A', scheme: 'http', timeout: '2s', minInterval: '1s', maxInterval: '5m' },
    consul: { address: 'http://127.0.0.1:8500', passing: true, scheme: 'http', wait: '5m', timeout: '10s', consistency: 'default' }
  },
  shutdown: { delay: 0, timeout: '10s' },
  metrics: {
    path: '/metrics',
    host: '127.0.0.1',
    prefix: 'reverseproxy_',
    defaultMetrics: true,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    tenants: true,
    allRoutes: false
  },
  admin: { prefix: '/_gateway', host: '127.0.0.1' },
  probes: { live: '/health/live', ready: '/health/ready' },
  tracing: { propagate: true, publicEndpoint: false, probes: false, query: false, clientAddress: false },
  log: { requests: false, slow: 0, query: false, clientAddress: false },
  trafficDump: {
    sampleRate: 0.1,
    errorSampleRate: 0,
    maxBodySize: '64kb',
    maxFileSize: '100mb',
    maxFiles: 10,
    queue: '8mb',
    clientAddress: true,
    redact: { replaceDefaults: false }
  },
  tenancy: {
    header: 'x-tenant-id',
    required: false,
    unknown: 'default',
    maxLength: 64,
    pattern: '[A-Za-z0-9][A-Za-z0-9._-]*',
    isolation: 'state',
    cache: { ttl: '1m', negativeTtl: '10s', staleIfError: '1h', timeout: '5s', max: 10_000 },
    scopes: { max: 10_000, idle: '10m' },
    labels: 100,
    hashIds: false
  },
  routeTenancy: { resolve: true, enabled: true },
  server: { host: '127.0.0.1', port: 8080, trustProxy: false, http2: false, logLevel: 'info' }
} as const

/** Balancers that come with the suite (`lib/balancing`). */
export const BUILT_IN_BALANCERS = [
  'round-robin', 'weighted-round-robin', 'random', 'weighted-random',
  'least-connections', 'power-of-two', 'power-of-two-choices', 'ip-hash', 'hash'
] as const

/** Ways of composite routes to make one answer that come with the suite. */
export const BUILT_IN_STRATEGIES = ['merge', 'object', 'append', 'select', 'sequential'] as const
