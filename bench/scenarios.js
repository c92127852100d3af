/**
 * What is measured: which variants, under which load, and which figure is to be reached.
 */

import { cpus } from 'node:os'

/** Cores that two workers have for themselves, load generator and upstreams having one each. */
const roomForWorkers = cpus().length >= 4

/** @type {Record<string, Variant>} */
const variants = {
  gateway: { file: 'gateways/gateway.js', ours: true, copies: 3 },
  'without resilience': { file: 'gateways/gateway.js', ours: true, options: { resilience: false }, copies: 3 },
  'all resilience': { file: 'gateways/gateway.js', ours: true, options: { resilience: true }, copies: 3 },
  'reply-from': { file: 'gateways/reply-from.js', copies: 3 },
  'reply-from, raw body': { file: 'gateways/reply-from.js', options: { rawBody: true }, copies: 3 },
  'http-proxy': { file: 'gateways/http-proxy.js', copies: 1 },
  '1 route': { file: 'gateways/gateway.js', ours: true, options: { routes: 1 }, copies: 3 },
  '1,000 routes': { file: 'gateways/gateway.js', ours: true, options: { routes: 1000 }, copies: 3 }
}

/** Where a few percent are in question: after 25,000 requests V8 is not through with all of it, and copies of the same code differ by more. */
const FEW_PERCENT = 6

/** By size of a part. Requests before the first slice: 100 KB parts take the hand-written gateway some 7 ms each. */
const compositeWarmUp = { 1: 25_000, 10: 8000, 100: 1500 }
const compositeTargets = { 1: { atMost: 0.65, aim: 0.50 }, 10: { atMost: 0.35, aim: 0.22 }, 100: { atMost: 0.35, aim: 0.20 } }

/** @type {Record<string, Scenario>} */
export const scenarios = {
  'get-200b': {
    title: 'GET, 200 bytes of JSON',
    kind: 'closed',
    ask: 'small',
    variants: pick('gateway', 'reply-from', 'http-proxy'),
    reference: 'reply-from',
    targets: [
      { metric: 'cpu', of: 'gateway', over: 'reply-from', atMost: 0.95 },
      { metric: 'cpu', of: 'gateway', over: 'http-proxy', atMost: 0.80 }
    ]
  },
  'resilience-200b': {
    title: 'GET, 200 bytes: breaker, retries, health checks and outlier detection on, nothing fails',
    kind: 'closed',
    ask: 'small',
    longer: FEW_PERCENT,
    variants: pick('without resilience', 'gateway', 'all resilience'),
    reference: 'without resilience',
    targets: [{ metric: 'cpu', of: 'all resilience', over: 'without resilience', atMost: 1.08 }]
  },
  'post-10kb': {
    // reply-from's defaults parse and re-serialise JSON: twice the cost, easily beaten. So compare with the stricter one.
    title: 'POST, 10 KB of JSON',
    kind: 'closed',
    ask: 'order',
    variants: { ...pick('gateway', 'reply-from, raw body'), 'reply-from': { ...variants['reply-from'], copies: 1 }, ...pick('http-proxy') },
    reference: 'reply-from, raw body',
    targets: [
      { metric: 'cpu', of: 'gateway', over: 'reply-from', atMost: 0.95 },
      { metric: 'cpu', of: 'gateway', over: 'reply-from, raw body', atMost: 0.95 }
    ]
  },
  'get-1mb': {
    title: 'GET, 1 MB',
    kind: 'closed',
    ask: 'megabyte',
    warmUp: 1500,
    variants: pick('gateway', 'reply-from', 'http-proxy'),
    reference: 'reply-from',
    targets: [{ metric: 'cpu', of: 'gateway', over: 'reply-from', atMost: 1.00 }]
  },
  'routes-1000': {
    title: 'GET, 200 bytes, 1,000 routes with a backend each, requests spread over all',
    kind: 'closed',
    ask: 'services',
    variants: pick('1 route', '1,000 routes'),
    reference: '1 route',
    targets: [{ metric: 'cpu', of: '1,000 routes', over: '1 route', atMost: 1.10 }]
  },
  'tenants-10000': {
    title: 'GET, 200 bytes, without tenancy, with one tenant, with 10,000 that ask in turn',
    kind: 'closed',
    ask: 'tenants',
    variants: {
      'no tenancy': { file: 'gateways/gateway.js', ours: true, copies: 3 },
      '1 tenant': { file: 'gateways/gateway.js', ours: true, options: { tenants: 1 }, copies: 3 },
      '10,000 tenants': { file: 'gateways/gateway.js', ours: true, options: { tenants: 10_000 }, copies: 3 }
    },
    reference: 'no tenancy',
    targets: [
      { metric: 'cpu', of: '1 tenant', over: 'no tenancy', atMost: 1.05 },
      { metric: 'cpu', of: '10,000 tenants', over: '1 tenant', atMost: 1.10 }
    ]
  },
  workers: {
    title: 'GET, 200 bytes of JSON, `serve --workers`',
    kind: 'throughput',
    ask: 'small',
    variants: {
      '1 worker': { file: 'gateways/workers.js', ours: true, options: { workers: 1 }, severalCores: true, copies: 1 },
      '2 workers': { file: 'gateways/workers.js', ours: true, options: { workers: 2 }, severalCores: true, copies: 1 }
    },
    reference: '1 worker',
    targets: [
      { metric: 'cpu', of: '2 workers', over: '1 worker', atMost: 1.10 },
      ...roomForWorkers ? [{ metric: 'rate', of: '1 worker', over: '2 workers', atMost: 0.55 }] : []
    ],
    ...roomForWorkers
      ? undefined
      : { note: `This machine has ${cpus().length} cores: load generator and upstreams share one of them with the workers, so requests/s say little of what a second worker brings. CPU per request does: as long as it does not grow, throughput grows with the cores.` }
  },
  'tenants-dead': {
    title: 'GET, 200 bytes, 500 requests/s of tenant b by the clock, alone and beside 500/s of tenant a, whose own backend is well or dead',
    kind: 'open',
    ask: 'neighbourly',
    rate: 500,
    variants: {
      alone: besideTenant('healthy', undefined),
      'beside a healthy one': besideTenant('healthy', [200]),
      'beside refused connections': besideTenant('refused', [502, 503]),
      'beside no answers': besideTenant('silent', [503, 504]),
      'beside no answers, no breaker': besideTenant('silent', [504], { neighbourBreaker: false })
    },
    reference: 'alone',
    targets: [
      { metric: 'p99', of: 'beside refused connections', over: 'alone', atMost: 1.10 },
      { metric: 'p99', of: 'beside no answers', over: 'alone', atMost: 1.10 }
    ]
  },
  metrics: {
    title: 'GET, 200 bytes of JSON: nothing observed, metrics, metrics and a line in the log for each request',
    kind: 'closed',
    ask: 'small',
    longer: FEW_PERCENT,
    variants: { off: observed({}), metrics: observed({ metrics: true }), 'metrics+log': observed({ metrics: true, log: true }) },
    reference: 'off',
    targets: [{ metric: 'cpu', of: 'metrics', over: 'off', atMost: 1.05 }]
  },
  tracing: {
    title: 'GET, 200 bytes of JSON: tracing off, and on where no SDK is registered',
    kind: 'closed',
    ask: 'small',
    longer: FEW_PERCENT,
    variants: { off: observed({}), 'no SDK': observed({ tracing: true }) },
    reference: 'off',
    targets: []
  },
  'dump-200b': dumped('GET, 200 bytes of JSON', 'small'),
  'dump-10kb': dumped('POST, 10 KB of JSON', 'order'),
  'dump-stalled': {
    title: 'GET, 200 bytes, 1,000 requests/s by the clock, every one dumped: how long the event loop is held up while the disk stands still',
    kind: 'delay',
    ask: 'small',
    rate: 1000,
    variants: { 'disk works': observed({ dump: 1 }), 'disk stalled': observed({ dump: 1, stalled: true }) },
    reference: 'disk works',
    targets: [{ metric: 'delay', of: 'disk stalled', over: 'disk works', atMost: 1.10 }]
  },
  'dump-stalled-closed': {
    title: 'GET, 200 bytes, every request dumped: what gets through while the disk stands still',
    kind: 'throughput',
    ask: 'small',
    variants: { 'disk works': observed({ dump: 1 }), 'disk stalled': observed({ dump: 1, stalled: true }) },
    reference: 'disk works',
    targets: [{ metric: 'rate', of: 'disk works', over: 'disk stalled', atMost: 1.10 }]
  },
  admin: {
    title: 'GET, 200 bytes of JSON: the admin interface off, and on with nobody looking',
    kind: 'closed',
    ask: 'small',
    longer: FEW_PERCENT,
    variants: { off: observed({}), admin: observed({ admin: true }) },
    reference: 'off',
    targets: []
  },
  'rate-2000': {
    title: 'GET, 200 bytes, 2,000 requests/s by the clock',
    kind: 'open',
    ask: 'small',
    rate: 2000,
    variants: pick('gateway', 'reply-from'),
    reference: 'reply-from',
    targets: [{ metric: 'p99', of: 'gateway', over: 'reply-from', atMost: 1.00 }]
  },
  'websocket-echo': {
    title: 'WebSockets: a text of 200 bytes and its echo, 64 sockets',
    kind: 'closed',
    ask: 'messages',
    variants: {
      gateway: { ...variants.gateway, options: { websocket: true } },
      'http-proxy': { ...variants['http-proxy'], options: { websocket: true }, copies: 3 }
    },
    reference: 'http-proxy',
    targets: [{ metric: 'cpu', of: 'gateway', over: 'http-proxy', atMost: 0.70, aim: 0.60 }]
  },
  'idle-10000': {
    title: '10,000 idle keep-alive connections, one request each before and after',
    kind: 'idle',
    count: 10_000,
    copies: 1,
    variants: pick('gateway', 'reply-from'),
    targets: [{ metric: 'rss', of: 'gateway', atMost: 200, unit: 'MB' }]
  },
  'body-1gb': {
    title: '1 GB up, 1 GB down; the receiving side pauses for a second',
    kind: 'body',
    bytes: 1024 ** 3,
    copies: 1,
    variants: pick('gateway'),
    targets: [
      { metric: 'up', of: 'gateway', atMost: 64, unit: 'MB more' },
      { metric: 'down', of: 'gateway', atMost: 64, unit: 'MB more' }
    ]
  },
  'composite-1kb': composite('merge', 1),
  'composite-10kb': composite('merge', 10),
  'composite-100kb': composite('merge', 100),
  'composite-object-1kb': composite('object', 1),
  'composite-object-10kb': composite('object', 10),
  'composite-append-1kb': composite('append', 1),
  'composite-append-10kb': composite('append', 10),
  'composite-routes-1000': {
    title: '1,000 composites over 1,000 backends, three parts of 1 KB each, requests spread over all',
    kind: 'closed',
    ask: 'services',
    parts: { strategy: 'merge', bytes: 1024 },
    variants: {
      '1 composite': { file: 'gateways/composite.js', ours: true, options: { strategy: 'merge', routes: 1 }, copies: 3 },
      '1,000 composites': { file: 'gateways/composite.js', ours: true, options: { strategy: 'merge', routes: 1000 }, copies: 3 }
    },
    reference: '1 composite',
    targets: [{ metric: 'cpu', of: '1,000 composites', over: '1 composite', atMost: 1.10 }]
  },
  'composite-delay': {
    // Without hand-written: this load, moderate for a gateway within its CPU target, is more than a core for it.
    title: 'merge of three parts of 100 KB, 150 requests/s by the clock: how long the event loop is held up',
    kind: 'delay',
    ask: 'profiles',
    rate: 150,
    warmUp: compositeWarmUp[100],
    parts: { strategy: 'merge', bytes: 100 * 1024 },
    variants: { composite: { file: 'gateways/composite.js', ours: true, options: { strategy: 'merge' }, copies: 3 } },
    targets: [{ metric: 'delay', of: 'composite', atMost: 20, unit: 'ms' }]
  }
}

/**
 * Three parts, one answer: ours beside what people write by hand.
 * @param {import('./documents.js').Strategy} strategy
 * @param {1 | 10 | 100} kilobytes Of each part.
 * @returns {Scenario}
 */
function composite (strategy, kilobytes) {
  return {
    title: `GET, ${strategy} of three parts of ${kilobytes} KB`,
    kind: 'closed',
    ask: 'profiles',
    warmUp: compositeWarmUp[kilobytes],
    parts: { strategy, bytes: kilobytes * 1024 },
    variants: {
      composite: { file: 'gateways/composite.js', ours: true, options: { strategy }, copies: 3 },
      'hand-written': { file: 'gateways/hand-written.js', options: { strategy }, copies: 3 }
    },
    reference: 'hand-written',
    targets: [{ metric: 'cpu', of: 'composite', over: 'hand-written', ...compositeTargets[kilobytes] }]
  }
}

/**
 * Two tenants of one gateway, of which the other one's requests are not measured.
 * @param {'healthy' | 'refused' | 'silent'} neighbour Its own backend.
 * @param {number[] | undefined} statuses What it may be answered; undefined: it asks nothing.
 * @param {object} [options]
 * @returns {Variant}
 */
function besideTenant (neighbour, statuses, options = {}) {
  return {
    file: 'gateways/gateway.js',
    ours: true,
    options: { neighbour, ...options },
    copies: 2,
    ...statuses === undefined ? undefined : { neighbour: { ask: 'neighbour', rate: 500, statuses } }
  }
}

/**
 * The gateway with what watches it.
 * @param {object} options See gateways/observing.js.
 * @returns {Variant}
 */
function observed (options) {
  return { file: 'gateways/gateway.js', ours: true, options, checked: true, copies: 3 }
}

/**
 * @param {string} title
 * @param {string} ask
 * @returns {Scenario}
 */
function dumped (title, ask) {
  return {
    title: `${title}: no traffic dump, and one of a tenth of the requests`,
    kind: 'closed',
    ask,
    // what a tenth of the requests takes is compiled as late
    longer: 10,
    variants: { off: observed({}), 'dump of 10 %': observed({ dump: 0.1 }) },
    reference: 'off',
    targets: [{ metric: 'cpu', of: 'dump of 10 %', over: 'off', atMost: 1.10 }]
  }
}

/** @param {...string} names */
function pick (...names) {
  return Object.fromEntries(names.map(name => [name, variants[name]]))
}

/**
 * @typedef {object} Variant
 * @property {string} file
 * @property {boolean} [ours] Needs a build.
 * @property {object} [options] Handed to the process beside `targets`.
 * @property {boolean} [severalCores] Not on the gateways' one core, but on all that load and upstreams leave (with two cores: on all).
 * @property {{ ask: string, rate: number, statuses: number[] }} [neighbour] Requests beside those that are measured, by the clock.
 * @property {boolean} [checked] When all has been measured, the process is asked whether it did what it is measured for.
 * @property {number} copies Processes of the same code, since one may be 10 % off; `--copies` overrides.
 */

/**
 * @typedef {object} Scenario
 * @property {string} title
 * @property {'closed' | 'throughput' | 'open' | 'delay' | 'idle' | 'body'} kind How it is run: see measure.js.
 * @property {string} [ask] Which requests: see `asks` in load.js.
 * @property {Parts} [parts] Of composites: what the upstream serves at /a, /b, /c, and what each process is checked for before it is measured.
 * @property {Record<string, Variant>} variants
 * @property {string} [reference] The variant with ratio 1.
 * @property {number} [copies] At most so many copies of each variant.
 * @property {number} [warmUp] At most so many requests before the first slice.
 * @property {number} [longer] The warm-up is so many times as long.
 * @property {number} [rate] Requests per second, for `open` and `delay`.
 * @property {number} [count] Connections, for `idle`.
 * @property {number} [bytes] Size of the body, for `body`.
 * @property {string} [note] What to know about the figures.
 * @property {Target[]} targets
 */

/** @typedef {{ strategy: import('./documents.js').Strategy, bytes: number }} Parts */

/**
 * @typedef {object} Target
 * @property {string} metric
 * @property {string} of A variant.
 * @property {string} [over] Another: the figure is the ratio of the two; without it the figure itself.
 * @property {number} atMost
 * @property {number} [aim] What can be had, told beside it.
 * @property {string} [unit]
 */
