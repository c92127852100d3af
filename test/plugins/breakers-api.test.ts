/** The options of circuit breakers at run time: `reverseproxy.breakers.options` and `configure`. */
import t from 'tap'
import { createBreaker } from '../../lib/circuit-breaker/index.ts'
import { parseBackend } from '../../lib/options/index.ts'
import { echoUpstream, startGateway, virtualClock } from '../helper.ts'
import type { BreakerConfig } from '../../lib/resilience/types.ts'
import type { Clock } from '../../lib/deadlines.ts'

/** The status of so many requests, one after the other. */
async function statuses (url: string, count: number): Promise<number[]> {
  const found: number[] = []
  for (let i = 0; i < count; i++) {
    const response = await fetch(url)
    await response.arrayBuffer()
    found.push(response.status)
  }
  return found
}

t.test('options says what holds, configure changes it and keeps what was counted', async t => {
  const { url: up } = await echoUpstream(t, 'up')
  const { app: { reverseproxy }, url } = await startGateway(t, { backends: { up: { targets: [up], circuitBreaker: { failureThreshold: 10 } } } })
  t.match(reverseproxy.breakers.options('up'), { failureThreshold: 10, resetTimeout: 30_000 })
  t.same(await statuses(`${url}/status/500`, 3), [500, 500, 500])
  reverseproxy.breakers.configure('up', { failureThreshold: 4 })
  t.match(reverseproxy.breakers.options('up'), { failureThreshold: 4 })
  t.same(await statuses(`${url}/status/500`, 2), [500, 503])
})

t.test('an open circuit stays open', async t => {
  const { url: up } = await echoUpstream(t, 'up')
  const { app: { reverseproxy }, url } = await startGateway(t, { backends: { up } })
  reverseproxy.breakers.open('up')
  reverseproxy.breakers.configure('up', { failureThreshold: 9, resetTimeout: '10m' })
  t.same(await statuses(url, 1), [503])
  const { state, retryAfter } = reverseproxy.breakers.get('up')!
  t.equal(state, 'open')
  t.ok(retryAfter > 500_000)
})

t.test('false closes and forgets, true takes what the gateway says', async t => {
  const { url: up } = await echoUpstream(t, 'up')
  const { app: { reverseproxy }, url } = await startGateway(t, { backends: { up }, circuitBreaker: { failureThreshold: 2 } })
  reverseproxy.breakers.open('up')
  reverseproxy.breakers.configure('up', false)
  t.equal(reverseproxy.breakers.options('up'), undefined)
  t.equal(reverseproxy.breakers.get('up'), undefined)
  t.same(await statuses(`${url}/status/500`, 4), [500, 500, 500, 500])
  reverseproxy.breakers.configure('up', true)
  t.match(reverseproxy.breakers.options('up'), { failureThreshold: 2 })
  t.same(await statuses(`${url}/status/500`, 3), [500, 500, 503])
})

t.test('wrong options change nothing', async t => {
  const { url: up } = await echoUpstream(t, 'up')
  const { app: { reverseproxy } } = await startGateway(t, { backends: { up } })
  const before = reverseproxy.breakers.options('up')
  t.throws(() => { reverseproxy.breakers.configure('up', { failureThreshold: -1 }) }, { code: 'RP_ERR_OPTIONS' })
  t.throws(() => { reverseproxy.breakers.configure('down', false) }, RangeError)
  t.throws(() => reverseproxy.breakers.options('down'), RangeError)
  t.equal(reverseproxy.breakers.options('up'), before)
})

t.test("tenants' circuits follow with their next request, and keep what they know", async t => {
  const { url: up } = await echoUpstream(t, 'up')
  const { app: { reverseproxy }, url } = await startGateway(t, { backends: { up: { targets: [up], circuitBreaker: { failureThreshold: 9 } } }, tenancy: { sources: [{ query: 'tenant' }], tenants: { acme: {} } } })
  t.same(await statuses(`${url}/status/500?tenant=acme`, 3), [500, 500, 500])
  reverseproxy.breakers.configure('up', { failureThreshold: 4 })
  t.same(await statuses(`${url}/status/500?tenant=acme`, 2), [500, 503])
  t.same(await statuses(`${url}/status/500`, 1), [500], 'that of everybody is another one')
})

// ---------------------------------------------------------------- by the clock

function configOf (circuitBreaker: Record<string, unknown>): BreakerConfig {
  return parseBackend({ url: 'http://127.0.0.1:1', circuitBreaker }, { name: 'up' } as never, 'up').resilience.circuitBreaker!
}

const NAME = { scope: '', backend: 'up', target: 'x' }

t.test('the time that an open circuit has been open counts', async t => {
  const clock = virtualClock()
  const breaker = createBreaker(NAME, configOf({ resetTimeout: 10_000 }), { clock: clock as unknown as Clock })
  breaker.open()
  clock.advance(4_000)
  breaker.configure(configOf({ resetTimeout: 5_000 }))
  t.equal(breaker.retryAfter, 1_000)
  clock.advance(1_000)
  t.equal(breaker.state, 'half-open')
  breaker.open()
  clock.advance(4_000)
  breaker.configure(configOf({ resetTimeout: 1_000 }))
  clock.advance(0)
  t.equal(breaker.state, 'half-open', 'it has been open for longer')
  breaker.configure(configOf({ resetTimeout: 60_000 }))
  t.equal(breaker.state, 'half-open', 'what was reached stays')
  breaker.shutdown()
  t.equal(clock.pending, 0)
})

t.test('the window stays if it is as long as before', async t => {
  const clock = virtualClock()
  const half = { failureThreshold: undefined, errorThresholdPercentage: 50, volumeThreshold: 4 }
  const breaker = createBreaker(NAME, configOf({ errorThresholdPercentage: 90, volumeThreshold: 100 }), { clock: clock as unknown as Clock })
  for (const outcome of ['ok', 'server-error', 'ok'] as const) breaker.record(breaker.enter()!, outcome)
  breaker.configure({ ...configOf({ errorThresholdPercentage: 50, volumeThreshold: 4 }), ...half })
  breaker.record(breaker.enter()!, 'server-error')
  t.equal(breaker.state, 'open')
  breaker.close()
  for (const outcome of ['ok', 'ok', 'ok'] as const) breaker.record(breaker.enter()!, outcome)
  breaker.configure(configOf({ errorThresholdPercentage: 50, rollingWindow: '1m' }))
  t.same(breaker.stats.window, { failures: 0, total: 0 })
})
