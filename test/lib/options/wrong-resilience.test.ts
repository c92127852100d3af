/** Wrong options about failing targets: each is refused with the path, the rule and the value. */
import t from 'tap'
import { parseConfigText } from '../../../lib/config-file.ts'
import { parseBackend, parseOptions, parseProxy } from '../../../lib/options/index.ts'
import { checkWrong, problemsOf, type Wrong } from './problems.ts'

const backends = { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002' }
const B = 'backends.users'

const backend = (options: object) => ({ backends: { ...backends, users: { url: backends.users, ...options } } })
const breaker = (options: unknown) => backend({ circuitBreaker: options })
const fallback = (option: unknown) => breaker({ fallback: option })
const retry = (options: unknown) => backend({ retry: options })
const health = (options: unknown) => backend({ health: typeof options === 'object' ? { path: '/', ...options } : options })
const outlier = (options: unknown) => backend({ outlier: options })
const target = (option: unknown, rest: object = {}) => ({ backends: { users: { targets: [{ url: 'http://a', health: option }], ...rest } } })
const proxy = (options: object) => ({ backends, routes: [{ path: '/', proxy: { backend: 'users', ...options } }] })
const whole = (options: object) => ({ backends, routes: [{ path: '/', composite: { parts: { user: { backend: 'users' } }, ...options } }] })
const part = (options: object) => ({ backends, routes: [{ path: '/', composite: { parts: { user: { backend: 'users', ...options } } } }] })
const date = new Date(0)
const PART = 'routes[0].composite.parts.user'

const WRONG: readonly Wrong[] = [
  // circuit breakers
  ['a breaker as a number', breaker(5), `${B}.circuitBreaker`, /must be true, false, or an object such as/, 5],
  ['a breaker of the gateway as a text', { circuitBreaker: 'on' }, 'circuitBreaker', /must be true, false, or an object/, 'on'],
  ['an unknown option of a breaker', breaker({ resetTimout: '1s' }), `${B}.circuitBreaker.resetTimout`, /did you mean "resetTimeout"\?/, '1s'],
  ['threshold', breaker({ threshold: 5 }), `${B}.circuitBreaker.threshold`, /did you mean "failureThreshold"/, 5],
  ['a timeout of a breaker', breaker({ timeout: '1s' }), `${B}.circuitBreaker.timeout`, /time limits of calls are set in timeout/, '1s'],
  ['no failures', breaker({ failureThreshold: 0 }), `${B}.circuitBreaker.failureThreshold`, /must be a whole number of 1 or more, or false/, 0],
  ['half a failure', breaker({ failureThreshold: 1.5 }), `${B}.circuitBreaker.failureThreshold`, /must be a whole number of 1 or more/, 1.5],
  ['true for a threshold', breaker({ failureThreshold: true }), `${B}.circuitBreaker.failureThreshold`, /must be a whole number of 1 or more, or false/, true],
  ['more than all', breaker({ errorThresholdPercentage: 101 }), `${B}.circuitBreaker.errorThresholdPercentage`, /must be a number between 1 and 100, or false/, 101],
  ['a share for a percentage', breaker({ errorThresholdPercentage: 0.5 }), `${B}.circuitBreaker.errorThresholdPercentage`, /must be a number between 1 and 100/, 0.5],
  ['nothing that opens it', breaker({ failureThreshold: false }), `${B}.circuitBreaker.failureThreshold`, /must not be false as long as errorThresholdPercentage is off/, false],
  ['no volume', breaker({ volumeThreshold: 0 }), `${B}.circuitBreaker.volumeThreshold`, /must be a whole number of 1 or more/, 0],
  ['no window', breaker({ rollingWindow: 0 }), `${B}.circuitBreaker.rollingWindow`, /must be a duration above 0/, 0],
  ['a reset that is none', breaker({ resetTimeout: 'soon' }), `${B}.circuitBreaker.resetTimeout`, /must be a duration above 0/, 'soon'],
  ['no trials', breaker({ halfOpenTrials: 0 }), `${B}.circuitBreaker.halfOpenTrials`, /must be a whole number of 1 or more/, 0],
  ['an outcome that is nobody\'s fault', breaker({ outcomes: ['aborted'] }), `${B}.circuitBreaker.outcomes[0]`, /one of "server-error", "connect-error", "reset", "timeout", "bad-response"/, 'aborted'],
  ['no outcomes', breaker({ outcomes: [] }), `${B}.circuitBreaker.outcomes`, /must not be empty/, []],
  ['an outcome twice', breaker({ outcomes: ['reset', 'reset'] }), `${B}.circuitBreaker.outcomes[1]`, /must not be listed twice/, 'reset'],
  ['a hook that is no function', breaker({ onOpen: 'log' }), `${B}.circuitBreaker.onOpen`, /must be a function/, 'log'],
  ['a closing hook that is no function', breaker({ onClose: 1 }), `${B}.circuitBreaker.onClose`, /must be a function/, 1],
  ['a half-opening hook that is no function', breaker({ onHalfOpen: true }), `${B}.circuitBreaker.onHalfOpen`, /must be a function/, true],
  // fallbacks
  ['a fallback as a text', fallback('orders'), `${B}.circuitBreaker.fallback`, /must be \{ statusCode, headers, body \}, \{ backend \}, false, or in code a function/, 'orders'],
  ['an empty fallback', fallback({}), `${B}.circuitBreaker.fallback`, /must not be empty/, {}],
  ['a status that is no answer', fallback({ statusCode: 101 }), `${B}.circuitBreaker.fallback.statusCode`, /must be a whole number between 200 and 599/, 101],
  ['status in place of statusCode', fallback({ status: 200 }), `${B}.circuitBreaker.fallback.status`, /did you mean "statusCode"/, 200],
  ['framing of a fallback', fallback({ headers: { 'content-length': '1' } }), `${B}.circuitBreaker.fallback.headers.content-length`, /frames its messages itself/, 'content-length'],
  ['a line break in a header of a fallback', fallback({ headers: { a: 'b\nc' } }), `${B}.circuitBreaker.fallback.headers.a`, /no line breaks/, 'b\nc'],
  ['a body that is no JSON', fallback({ body: { at: date } }), `${B}.circuitBreaker.fallback.body.at`, /must be JSON data/, date],
  ['a body where there is none', fallback({ statusCode: 204, body: 'x' }), `${B}.circuitBreaker.fallback.body`, /an answer 204 has none/, 'x'],
  ['an answer beside a backend', fallback({ backend: 'orders', statusCode: 200 }), `${B}.circuitBreaker.fallback.backend`, /it stands alone/, 'orders'],
  ['an unknown fallback backend', fallback({ backend: 'order' }), `${B}.circuitBreaker.fallback.backend`, /must be the name of a backend; known are users, orders; did you mean "orders"\?/, 'order'],
  ['an unknown fallback backend of the gateway', { backends, circuitBreaker: { fallback: { backend: 'x' } } }, 'circuitBreaker.fallback.backend', /must be the name of a backend/, 'x'],
  ['a backend that is its own fallback', fallback({ backend: 'users' }), `${B}.circuitBreaker.fallback.backend`, /must be another backend/, 'users'],
  ['a fallback of a route to the same backend', proxy({ circuitBreaker: { fallback: { backend: 'users' } } }), 'routes[0].proxy.circuitBreaker.fallback.backend', /must be another backend/, 'users'],
  ['a fallback to the default backend', { backends, defaultBackend: 'orders', routes: [{ path: '/', proxy: { circuitBreaker: { fallback: { backend: 'orders' } } } }] }, 'routes[0].proxy.circuitBreaker.fallback.backend', /must be another backend/, 'orders'],
  ['a fallback of a part to the same backend', part({ circuitBreaker: { fallback: { backend: 'users' } } }), `${PART}.circuitBreaker.fallback.backend`, /must be another backend/, 'users'],
  ['an unknown fallback backend of a composite', whole({ circuitBreaker: { fallback: { backend: 'nobody' } } }), 'routes[0].composite.circuitBreaker.fallback.backend', /must be the name of a backend/, 'nobody'],
  // breakers of routes
  ['thresholds of a route', proxy({ circuitBreaker: { failureThreshold: 1 } }), 'routes[0].proxy.circuitBreaker.failureThreshold', /belongs to a target, whatever the route: set it on the backend/, 1],
  ['true for a route', proxy({ circuitBreaker: true }), 'routes[0].proxy.circuitBreaker', /must be false, or \{ fallback \}/, true],
  ['an empty breaker of a part', part({ circuitBreaker: {} }), `${PART}.circuitBreaker`, /must not be empty/, {}],
  // retries
  ['no tries', retry(0), `${B}.retry`, /must be a whole number between 1 and 100/, 0],
  ['true for retries', retry(true), `${B}.retry`, /must be the number of tries, an object such as \{ attempts: 2 \}, or false/, true],
  ['too many tries', retry({ attempts: 101 }), `${B}.retry.attempts`, /must be a whole number between 1 and 100/, 101],
  ['retries', retry({ retries: 2 }), `${B}.retry.retries`, /did you mean "attempts" \(the first try included\)/, 2],
  ['a method in lower case', retry({ methods: ['get'] }), `${B}.retry.methods[0]`, /must be in upper case/, 'get'],
  ['a method that is none', retry({ methods: ['GE T'] }), `${B}.retry.methods[0]`, /must be a method/, 'GE T'],
  ['a method twice', retry({ methods: ['GET', 'GET'] }), `${B}.retry.methods[1]`, /must not be listed twice/, 'GET'],
  ['a status that is no failure', retry({ statuses: [503, 200] }), `${B}.retry.statuses[1]`, /must be a whole number between 400 and 599/, 200],
  ['a status as a text', retry({ statuses: ['503'] }), `${B}.retry.statuses[0]`, /must be a whole number between 400 and 599/, '503'],
  ['one status without a list', retry({ statuses: 503 }), `${B}.retry.statuses`, /must be a list/, 503],
  ['an unknown outcome', retry({ outcomes: ['timeot'] }), `${B}.retry.outcomes[0]`, /did you mean "timeout"\?/, 'timeot'],
  ['a try without time', retry({ perTryTimeout: 0 }), `${B}.retry.perTryTimeout`, /must be a duration above 0/, 0],
  ['waits that shrink', retry({ backoff: { factor: 0.5 } }), `${B}.retry.backoff.factor`, /must be a number of 1 or more/, 0.5],
  ['a negative wait', retry({ backoff: { initial: -1 } }), `${B}.retry.backoff.initial`, /must be a duration of 0 or more/, -1],
  ['a first wait longer than all', retry({ backoff: { initial: '1s' } }), `${B}.retry.backoff.initial`, /must not be longer than max \(250ms\)/, '1s'],
  ['a bound below the first wait', { ...retry({ backoff: { max: 5 } }), retry: { backoff: { initial: 10 } } }, `${B}.retry.backoff.max`, /must not be shorter than initial \(10\)/, 5],
  ['waits of a route that cross', proxy({ retry: { backoff: { initial: 2, max: 1 } } }), 'routes[0].proxy.retry.backoff.initial', /must not be longer than max \(1\)/, 2],
  ['a backoff as a duration', retry({ backoff: '1s' }), `${B}.retry.backoff`, /must be an object/, '1s'],
  ['a Retry-After that is none', retry({ maxRetryAfter: 'later' }), `${B}.retry.maxRetryAfter`, /must be a duration of 0 or more/, 'later'],
  ['a size that is none', retry({ replayLimit: '64 elephants' }), `${B}.retry.replayLimit`, /must be a size/, '64 elephants'],
  ['a key with a space', retry({ idempotencyKey: 'a b' }), `${B}.retry.idempotencyKey`, /must be a header name/, 'a b'],
  ['true for the key', retry({ idempotencyKey: true }), `${B}.retry.idempotencyKey`, /must be a header name or false/, true],
  ['a budget above all', retry({ budget: { ratio: 1.5 } }), `${B}.retry.budget.ratio`, /must be a number between 0 and 1/, 1.5],
  ['a negative budget', retry({ budget: { min: -1 } }), `${B}.retry.budget.min`, /must be a whole number of 0 or more/, -1],
  ['a budget without time', retry({ budget: { window: 0 } }), `${B}.retry.budget.window`, /must be a duration above 0/, 0],
  ['a budget as a number', retry({ budget: 0.2 }), `${B}.retry.budget`, /must be \{ ratio, min, window \} or false/, 0.2],
  ['a hedge at once', retry({ hedge: 0 }), `${B}.retry.hedge`, /must be a duration above 0/, 0],
  ['a hedge without a time', retry({ hedge: {} }), `${B}.retry.hedge.after`, /is required/],
  ['a hedge of one try', retry({ attempts: 1, hedge: '1s' }), `${B}.retry.hedge`, /does nothing beside attempts: 1/, '1s'],
  ['too many tries of a part', part({ retry: 1000 }), `${PART}.retry`, /must be a whole number between 1 and 100/, 1000],
  ['an unknown option of a composite\'s retry', whole({ retry: { attempt: 2 } }), 'routes[0].composite.retry.attempt', /did you mean "attempts"/, 2],
  // health
  ['a path without a slash', health('health'), `${B}.health`, /must start with "\/"/, 'health'],
  ['a path with a fragment', health({ path: '/a#b' }), `${B}.health.path`, /must not have a fragment/, '/a#b'],
  ['a path with a space', health({ path: '/a b' }), `${B}.health.path`, /percent-encoded/, '/a b'],
  ['true for checks', health(true), `${B}.health`, /must be a path, an object such as/, true],
  ['checks without a path', backend({ health: { interval: '1s' } }), `${B}.health.path`, /is required: it has no health with one to start from/],
  ['a URL in place of a path', backend({ health: { url: '/x' } }), `${B}.health.url`, /did you mean "path"/, '/x'],
  ['a method of checks in lower case', health({ method: 'head' }), `${B}.health.method`, /upper case/, 'head'],
  ['a hop-by-hop header of checks', health({ headers: { te: 'x' } }), `${B}.health.headers.te`, /hop-by-hop/, 'te'],
  ['no interval', health({ interval: 0 }), `${B}.health.interval`, /must be a duration above 0/, 0],
  ['no interval for unhealthy ones', health({ unhealthyInterval: '0s' }), `${B}.health.unhealthyInterval`, /must be a duration above 0/, '0s'],
  ['too much chance', health({ jitter: 2 }), `${B}.health.jitter`, /must be a number between 0 and 1/, 2],
  ['no time for a check', health({ timeout: 0 }), `${B}.health.timeout`, /must be a duration above 0/, 0],
  ['a status that is none', health({ expectedStatus: 99 }), `${B}.health.expectedStatus`, /must be a whole number between 100 and 599/, 99],
  ['half a status', health({ expectedStatus: [200.5] }), `${B}.health.expectedStatus[0]`, /must be a whole number between 100 and 599/, 200.5],
  ['a range upside down', health({ expectedStatus: ['299-200'] }), `${B}.health.expectedStatus[0]`, /from the lower to the higher status/, '299-200'],
  ['a class that is none', health({ expectedStatus: '6xx' }), `${B}.health.expectedStatus`, /a range such as "200-299", or a class such as "2xx"/, '6xx'],
  ['no status', health({ expectedStatus: [] }), `${B}.health.expectedStatus`, /must not be empty/, []],
  ['a wrong expression', health({ expectedBody: { regex: '(' } }), `${B}.health.expectedBody.regex`, /must be a regular expression/, '('],
  ['an empty text', health({ expectedBody: '' }), `${B}.health.expectedBody`, /must be a text, \{ regex \}|must not be empty/, ''],
  ['no rise', health({ rise: 0 }), `${B}.health.rise`, /must be a whole number of 1 or more/, 0],
  ['half a fall', health({ fall: 2.5 }), `${B}.health.fall`, /must be a whole number of 1 or more/, 2.5],
  ['an unknown beginning', health({ initial: 'unknown' }), `${B}.health.initial`, /one of "healthy", "unhealthy"/, 'unknown'],
  ['recent as a duration', health({ skipIfRecent: '1s' }), `${B}.health.skipIfRecent`, /must be true or false/, '1s'],
  ['a listener that is no function', health({ onChange: {} }), `${B}.health.onChange`, /must be a function/, {}],
  ['a path of a target without a slash', target('up'), `${B}.targets[0].health`, /must start with "\/"/, 'up'],
  ['checks of a target without a path', target({ rise: 1 }), `${B}.targets[0].health.path`, /is required: its backend has none/],
  ['a limit within the checks of a target', target({ rise: 0 }, { health: '/' }), `${B}.targets[0].health.rise`, /must be a whole number of 1 or more/, 0],
  ['a breaker of a target', { backends: { users: [{ url: 'http://a', circuitBreaker: false }] } }, 'backends.users[0].circuitBreaker', /is not an option/, false],
  // outliers
  ['outliers as a number', outlier(5), `${B}.outlier`, /must be true, false, or an object such as/, 5],
  ['nothing in a row', outlier({ consecutive: 0 }), `${B}.outlier.consecutive`, /must be a whole number of 1 or more, or false/, 0],
  ['no rate', outlier({ failureRate: 0 }), `${B}.outlier.failureRate`, /must be a number between 1 and 100, or false/, 0],
  ['nothing that takes out', outlier({ consecutive: false, failureRate: false }), `${B}.outlier.consecutive`, /must not be false as long as failureRate is off/, false],
  ['a rate switched off below', { ...outlier({ failureRate: false }), outlier: { consecutive: false, failureRate: 5 } }, `${B}.outlier.failureRate`, /must not be false as long as consecutive is off/, false],
  ['a volume of none', outlier({ minVolume: 0 }), `${B}.outlier.minVolume`, /must be a whole number of 1 or more/, 0],
  ['an ejection longer than the longest', outlier({ baseEjection: '10m' }), `${B}.outlier.baseEjection`, /must not be longer than maxEjection \(5m\)/, '10m'],
  ['more targets than there are', outlier({ maxEjectedPercent: 150 }), `${B}.outlier.maxEjectedPercent`, /must be a number between 1 and 100/, 150],
  ['an outcome of the client', outlier({ outcomes: ['client-error'] }), `${B}.outlier.outcomes[0]`, /one of "server-error"/, 'client-error'],
  // the rest
  ['a slow start at once', backend({ slowStart: 0 }), `${B}.slowStart`, /must be a duration above 0/, 0],
  ['a slow start without a time', backend({ slowStart: { initial: 0.5 } }), `${B}.slowStart.window`, /is required: it has no slowStart/],
  ['a beginning above all', backend({ slowStart: { window: 1, initial: 1.1 } }), `${B}.slowStart.initial`, /must be a number between 0 and 1/, 1.1],
  ['a panic that is true', backend({ panic: true }), `${B}.panic`, /must be \{ threshold, mode \} or false/, true],
  ['a panic that is always', backend({ panic: { threshold: 0 } }), `${B}.panic.threshold`, /must be a number between 1 and 100/, 0],
  ['an unknown panic', backend({ panic: { mode: 500 } }), `${B}.panic.mode`, /must be "all" or "503"/, 500],
  ['no calls', backend({ concurrency: 0 }), `${B}.concurrency`, /must be a whole number of 1 or more/, 0],
  ['a queue without a limit', backend({ concurrency: { queue: 5 } }), `${B}.concurrency.max`, /is required: it has no concurrency/],
  ['a negative queue', backend({ concurrency: { max: 1, queue: -1 } }), `${B}.concurrency.queue`, /must be a whole number of 0 or more/, -1],
  ['no time in the queue', backend({ concurrency: { max: 1, queueTimeout: 0 } }), `${B}.concurrency.queueTimeout`, /must be a duration above 0/, 0],
  ['a share as a number', backend({ concurrency: { max: 1, fairShare: 2 } }), `${B}.concurrency.fairShare`, /must be true or false/, 2],
  ['shares without a limit', backend({ concurrency: { fairShare: false } }), `${B}.concurrency.max`, /is required: it has no concurrency/],
  ['a limit that is true', backend({ concurrency: true }), `${B}.concurrency`, /must be the most calls at once, \{ max, queue, queueTimeout, fairShare \}, or false/, true],
  ['a limit of a route', proxy({ concurrency: 5 }), 'routes[0].proxy.concurrency', /it is an option of backends/, 5],
  ['checks of a route', proxy({ health: '/' }), 'routes[0].proxy.health', /it is an option of backends/, '/'],
  ['a deadline header with a space', { deadlineHeader: 'a b' }, 'deadlineHeader', /must be a header name/, 'a b'],
  ['true for a deadline header', { deadlineHeader: true }, 'deadlineHeader', /must be a header name or false/, true],
  ['the deadline in the request id', { deadlineHeader: 'X-Request-Id' }, 'deadlineHeader', /must not be the header of headers\.requestId/, 'X-Request-Id'],
  ['a shutdown as a duration', { shutdown: '5s' }, 'shutdown', /must be an object/, '5s'],
  ['a negative delay', { shutdown: { delay: -1 } }, 'shutdown.delay', /must be a duration of 0 or more/, -1],
  ['an unknown option of closing', { shutdown: { timout: 1 } }, 'shutdown.timout', /did you mean "timeout"/, 1]
]

t.test('every wrong option about failing targets is refused with the path, the rule and the value', async t => {
  for (const wrong of WRONG) checkWrong(t, wrong)
})

t.test('a wrong option of the gateway is reported there, and not once more for each backend', async t => {
  const options = { backends, circuitBreaker: { failureThreshold: false }, retry: { backoff: { initial: '1s' } }, outlier: { baseEjection: '10m' } }
  t.same(problemsOf(() => parseOptions(options)).map(({ path }) => path), ['circuitBreaker.failureThreshold', 'retry.backoff.initial', 'outlier.baseEjection'])
})

t.test('a backend of run time is held to what the gateway says', async t => {
  const config = parseOptions({ health: { interval: '1s' }, retry: { backoff: { max: 20 } }, backends })
  const found = problemsOf(() => parseBackend({ url: 'http://a', health: { rise: 1 }, retry: { backoff: { initial: 21 } }, circuitBreaker: { fallback: { backend: 'me' } } }, { ...config, name: 'me' }, 'backends.me'))
  t.match(found, [{ path: 'backends.me.circuitBreaker.fallback.backend' }, { path: 'backends.me.retry.backoff.initial', rule: /max \(20\)/ }, { path: 'backends.me.health.path', rule: /is required/ }])
  t.equal(found.length, 3)
})

t.test('a route\'s own option names its place', async t => {
  t.match(problemsOf(() => parseProxy({ backend: 'a', retry: { attempts: 0 } }, 'route /a: proxy')), [{ path: 'route /a: proxy.retry.attempts', value: 0 }])
})

t.test('a file names line and column', async t => {
  const text = 'backends:\n  a:\n    url: http://a\n    retry:\n      statuses: [502, 302]\n'
  const [problem] = problemsOf(() => parseConfigText(text, { path: 'gateway.yaml', env: {} }))
  t.match(problem, { path: 'backends.a.retry.statuses[1]', line: 5, column: 23, value: 302 })
})
