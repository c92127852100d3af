/**
 * What is measured: which variants, under which load, and which figure is to be reached (issue 2, "What it must show").
 */

/** @type {Record<string, Variant>} */
const variants = {
  gateway: { file: 'gateways/gateway.js', copies: 3 },
  'reply-from': { file: 'gateways/reply-from.js', copies: 3 },
  'reply-from, raw body': { file: 'gateways/reply-from.js', options: { rawBody: true }, copies: 3 },
  'http-proxy': { file: 'gateways/http-proxy.js', copies: 1 },
  '1 route': { file: 'gateways/gateway.js', options: { routes: 1 }, copies: 3 },
  '1,000 routes': { file: 'gateways/gateway.js', options: { routes: 1000 }, copies: 3 }
}

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
  'rate-2000': {
    title: 'GET, 200 bytes, 2,000 requests/s by the clock',
    kind: 'open',
    ask: 'small',
    rate: 2000,
    variants: pick('gateway', 'reply-from'),
    reference: 'reply-from',
    targets: [{ metric: 'p99', of: 'gateway', over: 'reply-from', atMost: 1.00 }]
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
  }
}

/** @param {...string} names */
function pick (...names) {
  return Object.fromEntries(names.map(name => [name, variants[name]]))
}

/**
 * @typedef {object} Variant
 * @property {string} file
 * @property {object} [options] Handed to the process beside `targets`.
 * @property {number} copies Processes of the same code, since one may be 10 % off; `--copies` overrides.
 */

/**
 * @typedef {object} Scenario
 * @property {string} title
 * @property {'closed' | 'open' | 'idle' | 'body'} kind How it is run: see measure.js.
 * @property {string} [ask] Which requests: see `asks` in load.js.
 * @property {Record<string, Variant>} variants
 * @property {string} [reference] The variant with ratio 1.
 * @property {number} [copies] At most so many copies of each variant.
 * @property {number} [warmUp] At most so many requests before the first slice.
 * @property {number} [rate] Requests per second, for `open`.
 * @property {number} [count] Connections, for `idle`.
 * @property {number} [bytes] Size of the body, for `body`.
 * @property {Target[]} targets
 */

/**
 * @typedef {object} Target
 * @property {string} metric
 * @property {string} of A variant.
 * @property {string} [over] Another: the figure is the ratio of the two; without it the figure itself.
 * @property {number} atMost
 * @property {string} [unit]
 */
