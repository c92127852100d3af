/**
 * Every default of the options in one place, as a user would write it: the schemas print them, the resolvers apply them.
 */

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
  server: { host: '127.0.0.1', port: 8080, trustProxy: false, http2: false, logLevel: 'info' }
} as const

/** Balancers that come with the suite (`lib/balancing`). */
export const BUILT_IN_BALANCERS = [
  'round-robin', 'weighted-round-robin', 'random', 'weighted-random',
  'least-connections', 'power-of-two', 'power-of-two-choices', 'ip-hash', 'hash'
] as const

/** Ways of composite routes to make one answer that come with the suite. */
export const BUILT_IN_STRATEGIES = ['merge', 'object', 'append', 'select', 'sequential'] as const
