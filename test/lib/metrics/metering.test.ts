/** What is counted, as a registry of prom-client shows it. */
import t from 'tap'
import { Registry, Counter } from 'prom-client'
import { CATALOGUE } from '../../../lib/metrics/index.ts'
import { meteringOf, valuesOf } from './scene.ts'

const ENDED = { route: '/a', method: 'GET', code: 200, tenant: undefined, ms: 3, cut: false }

t.test('requests are counted by route, method and status', async t => {
  const { requests, registry } = meteringOf()
  for (const request of [ENDED, ENDED, { ...ENDED, code: 404 }, { ...ENDED, method: 'BREW' }]) {
    requests.begin()
    requests.end(request)
  }
  requests.begin()
  const text = await registry.metrics()
  t.same(valuesOf(text, 'reverseproxy_requests_total'), { 'route=/a,method=GET,code=200': 2, 'route=/a,method=GET,code=404': 1, 'route=/a,method=other,code=200': 1 })
  t.same(valuesOf(text, 'reverseproxy_requests_in_flight'), { '': 1 })
})

t.test('durations are cumulative in their buckets, and bounds belong to them', async t => {
  const { requests, registry } = meteringOf({ buckets: [0.001, 0.005] })
  for (const ms of [0.5, 1, 1.5, 5, 6]) requests.end({ ...ENDED, ms })
  const text = await registry.metrics()
  t.same(valuesOf(text, 'reverseproxy_request_duration_seconds_bucket'), { 'route=/a,class=2xx,le=0.001': 2, 'route=/a,class=2xx,le=0.005': 4, 'route=/a,class=2xx,le=+Inf': 5 })
  t.same(valuesOf(text, 'reverseproxy_request_duration_seconds_count'), { 'route=/a,class=2xx': 5 })
  t.same(valuesOf(text, 'reverseproxy_request_duration_seconds_sum'), { 'route=/a,class=2xx': 0.014 })
})

t.test('tenants beyond the limit are other, however often the labels are given anew', async t => {
  const { requests, registry } = meteringOf({}, 2)
  for (const tenant of ['a', '', 'b', 'c', 'other', 'a', 'd']) requests.end({ ...ENDED, tenant })
  t.same(valuesOf(await registry.metrics(), 'reverseproxy_tenant_requests_total'), { 'tenant=a,class=2xx': 2, 'tenant=,class=2xx': 1, 'tenant=b,class=2xx': 1, 'tenant=c,class=2xx': 1, 'tenant=other,class=2xx': 2 })
})

t.test('a snapshot has totals, successes, failures, aborted ones and times; a reset begins anew, and the counters go on', async t => {
  const metering = meteringOf()
  const { requests } = metering
  for (const request of [ENDED, { ...ENDED, code: 404, ms: 5 }, { ...ENDED, code: 500, ms: 7 }, { ...ENDED, cut: true, ms: 9 }, { ...ENDED, code: 499, ms: 1000 }]) {
    requests.begin()
    requests.end(request)
  }
  const { requests: numbers } = metering.snapshot()
  t.has(numbers, { total: 5, success: 2, failures: 2, aborted: 1, inFlight: 0, averageMs: 6 })
  t.ok(Math.abs(numbers.p99 - 9) < 0.3)
  metering.reset()
  t.has(metering.snapshot().requests, { total: 0, success: 0, failures: 0, aborted: 0, averageMs: 0, p50: 0, p99: 0 })
  t.equal(Object.values(valuesOf(await metering.registry.metrics(), 'reverseproxy_requests_total')).reduce((one, other) => one + other), 5)
})

t.test('labels are escaped', async t => {
  const { events, registry } = meteringOf()
  events.part('a"b\\c\nd', 'p', 'ok')
  t.match(await registry.metrics(), /reverseproxy_composite_parts_total\{route="a\\"b\\\\c\\nd",part="p",state="ok"\} 1/)
})

t.test('a registry that has such metrics is refused, and said how it may be used', async t => {
  const registry = new Registry()
  meteringOf({ registry })
  t.throws(() => meteringOf({ registry }), { code: 'RP_ERR_OPTIONS' })
  t.throws(() => meteringOf({ registry }), /metrics\.registry: has such metrics already: another gateway that uses it needs a prefix of its own/)
  meteringOf({ registry, prefix: 'second_' })
  const text = await registry.metrics()
  t.match(text, /^second_build_info/m)
  t.match(text, /^reverseproxy_build_info/m)
})

t.test('a metric of the user\'s stays when ours leave', async t => {
  const registry = new Registry()
  const own = new Counter({ name: 'own_total', help: 'Own.', registers: [registry] })
  own.inc()
  meteringOf({ registry }).unregister()
  t.equal(await registry.metrics(), '# HELP own_total Own.\n# TYPE own_total counter\nown_total 1\n')
})

t.test('with the metrics of the process, once', async t => {
  const registry = new Registry()
  meteringOf({ registry }).addProcess()
  meteringOf({ registry, prefix: 'second_' }).addProcess()
  t.match(await registry.metrics(), /^process_cpu_user_seconds_total /m)
})

t.test('a registry of OpenMetrics shows counters as it must', async t => {
  const registry = new Registry()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  const { requests } = meteringOf({ registry })
  requests.end(ENDED)
  for (const text of [await registry.metrics(), await registry.metrics()]) {
    t.match(text, /^# TYPE reverseproxy_requests counter$/m)
    t.match(text, /^reverseproxy_requests_total\{route="\/a",method="GET",code="200"\} 1$/m)
    t.match(text, /# EOF\n$/)
  }
})

t.test('names follow the conventions of Prometheus', async t => {
  for (const [name, { type, labels }] of Object.entries(CATALOGUE)) {
    t.match(name, /^[a-z][a-z_]*$/)
    t.equal(name.endsWith('_total'), type === 'counter', `${name} is a counter or not`)
    if (type === 'histogram') t.match(name, /_seconds$/)
    for (const label of labels) t.match(label, /^[a-z]+$/)
  }
})
