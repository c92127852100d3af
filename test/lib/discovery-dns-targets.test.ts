/** Targets that the DNS tells of, and how they are followed: scripted servers, a virtual clock. */
import t, { type Test } from 'tap'
import { TRUNCATED_RESPONSE } from 'dns-packet'
import { createDns } from '../../lib/discovery/dns.ts'
import { dnsServer } from '../helper/dns.ts'
import { a, aaaa, cname, dnsScene, NAME, setting, soa, srv, TIMEOUT, type Options } from '../helper/dns-scene.ts'
import { listen, providerTools } from '../helper/dns-tools.ts'
import { waitFor } from '../helper.ts'
import type { Answer } from 'dns-packet'
import type { Asked, Said } from '../helper/dns.ts'

// ---- both kinds of addresses

t.test('both kinds of addresses are asked for at the same time', async t => {
  const held: Asked[] = []
  const { server, urls, double } = await dnsScene(t, [asked => { held.push(asked); return undefined }], { type: 'A+AAAA', port: 8080 })
  const asking = urls()
  t.ok(await waitFor(() => held.length === 2))
  t.same(server.asked.map(({ type }) => type).sort(), ['A', 'AAAA'])
  const failing = t.rejects(asking, /no answer within 2000 ms/)
  await double.pass(TIMEOUT)
  await failing
})

t.test('one kind that fails is left out, or as it was, where the other has addresses', async t => {
  let fails = true
  const { resolve, warnings } = await dnsScene(t, [({ type }) => type === 'A' ? [a('10.0.0.1')] : fails ? { rcode: 'SERVFAIL' } : [aaaa('fd00::1')]], { type: 'A+AAAA', port: 8080 })
  t.match(await resolve(), [{ url: 'http://10.0.0.1:8080' }])
  t.match(warnings.pop(), /^DNS question orders\.test AAAA failed \(.*SERVFAIL\); it is left out$/)
  fails = false
  t.match(await resolve(), [{ url: 'http://10.0.0.1:8080' }, { url: 'http://[fd00::1]:8080' }])
  t.same(warnings, [])
  fails = true
  for (let i = 0; i < 2; i++) t.match(await resolve(), [{ url: 'http://10.0.0.1:8080' }, { url: 'http://[fd00::1]:8080' }])
  t.match(warnings.pop(), /its last addresses stay$/)
})

t.test('one kind that fails while the other is empty is an error', async t => {
  const { resolve } = await dnsScene(t, [({ type }) => type === 'A' ? { rcode: 'SERVFAIL' } : []], { type: 'A+AAAA' })
  await t.rejects(resolve(), /orders\.test A failed/)
})

// ---- services

const services = (answers: readonly Answer[], additionals: readonly Answer[] = []) => ({ type }: Asked): Said => type === 'SRV' ? { answers: [...answers], additionals: [...additionals] } : { rcode: 'NXDOMAIN' }

t.test('addresses that come with the services are not asked for', async t => {
  const { server, resolve } = await dnsScene(t, [services([srv('A.test', { port: 8001, weight: 3 })], [a('10.0.0.1', { name: 'a.TEST' }), aaaa('fd00::1', { name: 'a.test' })])], { type: 'SRV' })
  t.same(await resolve(), [{ url: 'http://10.0.0.1:8001', weight: 3, metadata: { host: 'a.test', priority: 1 } }])
  t.same(server.asked.map(({ type }) => type), ['SRV'])
})

t.test('other addresses are asked for once a host: IPv4, then IPv6', async t => {
  const { server, resolve } = await dnsScene(t, [({ name, type }) => type === 'SRV'
    ? [srv('a.test', { port: 1 }), srv('a.test', { port: 2 }), srv('b.test', { port: 3 })]
    : type === 'A' ? name === 'a.test' ? [a('10.0.0.1', { name })] : [] : [aaaa('fd00::2', { name })]], { type: 'SRV' })
  t.match(await resolve(), [{ url: 'http://10.0.0.1:1' }, { url: 'http://10.0.0.1:2' }, { url: 'http://[fd00::2]:3' }])
  t.same(server.asked.map(({ name, type }) => `${name} ${type}`).sort(), ['a.test A', 'b.test A', 'b.test AAAA', `${NAME} SRV`])
})

t.test('with https the targets are the hosts, whose names stand in the certificates', async t => {
  const { server, resolve } = await dnsScene(t, [services([srv('a.test', { port: 8443, weight: 2 })])], { type: 'SRV', scheme: 'https' })
  t.same(await resolve(), [{ url: 'https://a.test:8443', weight: 2, metadata: { host: 'a.test', priority: 1 } }])
  t.equal(server.asked.length, 1)
})

const weights = async (t: Test, records: readonly Answer[]) => {
  const { resolve } = await dnsScene(t, [services(records)], { type: 'SRV', scheme: 'https' })
  return Object.fromEntries((await resolve()).map(({ metadata, weight }) => [metadata!['host'], weight]))
}

t.test('weights: all 0 are equal, 0 among others is a hundredth of the smallest', async t => {
  t.same(await weights(t, [srv('a.test', { weight: 0 }), srv('b.test', { weight: 0 })]), { 'a.test': 1, 'b.test': 1 })
  t.same(await weights(t, [srv('a.test', { weight: 0 }), srv('b.test', { weight: 20 }), srv('c.test', { weight: 50 })]), { 'a.test': 0.2, 'b.test': 20, 'c.test': 50 })
})

t.test('only the lowest priority number takes part, 0 included', async t => {
  t.same(await weights(t, [srv('a.test', { priority: 10 }), srv('b.test', { priority: 0, weight: 7 }), srv('c.test', { priority: 5 })]), { 'b.test': 7 })
})

t.test('a host with several addresses shares its weight among them, and equal targets are one', async t => {
  const { resolve } = await dnsScene(t, [services([srv('a.test', { weight: 10 }), srv('b.test', { weight: 4 })],
    [a('10.0.0.1', { name: 'a.test' }), a('10.0.0.2', { name: 'a.test' }), a('10.0.0.2', { name: 'b.test' })])], { type: 'SRV' })
  t.match(await resolve(), [{ url: 'http://10.0.0.1', weight: 5 }, { url: 'http://10.0.0.2', weight: 9 }])
})

t.test('a service that is not offered has no targets', async t => {
  const { resolve, warnings } = await dnsScene(t, [services([srv('.', { port: 0 })])], { type: 'SRV' })
  t.same(await resolve(), [])
  t.same(warnings, [])
})

t.test('services that cannot be used are left out with a warning', async t => {
  const { resolve, warnings } = await dnsScene(t, [services([srv('a.test'), srv('b.test', { port: 0 }), srv('c.test')], [a('10.0.0.1', { name: 'a.test' }), a('10.0.0.2', { name: 'b.test' })])], { type: 'SRV' })
  t.match(await resolve(), [{ url: 'http://10.0.0.1' }])
  t.same(warnings, [
    'DNS: orders.test names c.test, which has no address',
    'DNS: b.test has an entry that cannot be used, http://10.0.0.2:0: must have a port between 1 and 65535'
  ])
})

t.test('a host whose addresses cannot be had stays as it was', async t => {
  let fails = false
  const { resolve, warnings } = await dnsScene(t, [({ name, type }) => type === 'SRV'
    ? [srv('a.test'), srv('b.test')]
    : name === 'b.test' && fails ? { rcode: 'SERVFAIL' } : [a(name === 'a.test' ? '10.0.0.1' : '10.0.0.2', { name })]], { type: 'SRV' })
  const both = await resolve()
  t.equal(both.length, 2)
  fails = true
  for (let i = 0; i < 2; i++) t.same(await resolve(), both)
  t.match(warnings[0], /^DNS question b\.test A failed \(.*SERVFAIL\); its last addresses stay$/)
})

t.test('services none of whose hosts can be asked for are an error', async t => {
  const { resolve } = await dnsScene(t, [({ type }) => type === 'SRV' ? [srv('a.test')] : { rcode: 'SERVFAIL' }], { type: 'SRV' })
  await t.rejects(resolve(), /DNS question a\.test A failed/)
})

t.test('many hosts are asked for a few at a time', async t => {
  const names = Array.from({ length: 60 }, (_, index) => `h${index}.test`)
  let open = 0
  let most = 0
  const pending: Array<() => void> = []
  const { server, urls } = await dnsScene(t, [asked => {
    const { name, type } = asked
    if (type === 'SRV') return asked.via === 'udp' ? { flags: TRUNCATED_RESPONSE } : names.map(host => srv(host))
    most = Math.max(most, ++open)
    pending.push(() => { open-- })
    // as many as come at once are here when the first is answered
    if (pending.length === 16) pending.splice(0).forEach(done => done())
    return [a(`10.0.1.${name.slice(1, -5)}`, { name })]
  }], { type: 'SRV' })
  t.equal((await urls()).length, 60)
  t.equal(server.asked.length, 62)
  t.ok(most <= 16)
})

// ---- time

/** How long it waits after an answer, ms. */
async function waitAfter (t: Test, say: (asked: Asked) => Said, options: Options = {}, random = () => 0): Promise<number> {
  const server = await dnsServer(t, say)
  const double = providerTools(random)
  await listen(t, createDns(setting([server.address], options), double.tools))
  await waitFor(() => double.waits.length > 0)
  return double.waits[0]!
}

t.test('it is asked again after the smallest TTL of what it used', async t => {
  t.equal(await waitAfter(t, () => [a('10.0.0.1', { ttl: 60 }), a('10.0.0.2', { ttl: 30 })]), 30_000)
  t.equal(await waitAfter(t, () => [cname(NAME, 'b.test', 7), a('10.0.0.1', { name: 'b.test' })]), 7000)
  t.equal(await waitAfter(t, ({ type }) => type === 'A' ? [a('10.0.0.1', { ttl: 60 })] : [aaaa('fd00::1', { ttl: 50 })], { type: 'A+AAAA' }), 50_000)
  t.equal(await waitAfter(t, services([srv('a.test', { ttl: 60 })], [a('10.0.0.1', { name: 'a.test', ttl: 20 })]), { type: 'SRV' }), 20_000)
  t.equal(await waitAfter(t, ({ type, name }) => type === 'SRV' ? [srv('a.test', { ttl: 60 })] : [a('10.0.0.1', { name, ttl: 10 })], { type: 'SRV' }), 10_000)
})

t.test('within the bounds', async t => {
  const bounds = { minInterval: 5000, maxInterval: 20_000 }
  t.equal(await waitAfter(t, () => [a('10.0.0.1', { ttl: 0 })], bounds), 5000)
  t.equal(await waitAfter(t, () => [a('10.0.0.1', { ttl: 3600 })], bounds), 20_000)
  t.equal(await waitAfter(t, () => [a('10.0.0.1', { ttl: 2 ** 31 + 60 })], bounds), 5000, 'RFC 2181: the highest bit makes it 0')
})

t.test('and up to a tenth later by chance', async t => {
  t.equal(await waitAfter(t, () => [a('10.0.0.1', { ttl: 100 })], {}, () => 0.5), 105_000)
})

t.test('that there is nothing holds as long as the SOA says', async t => {
  t.equal(await waitAfter(t, () => ({ rcode: 'NXDOMAIN', authorities: [soa(40)] })), 40_000)
  t.equal(await waitAfter(t, () => ({ authorities: [soa(40, 25)] })), 25_000)
  t.equal(await waitAfter(t, () => ({ answers: [cname(NAME, 'b.test', 10)], authorities: [soa(40)] })), 10_000)
  t.equal(await waitAfter(t, () => ({ rcode: 'NXDOMAIN' })), 1000, 'nobody said')
  t.equal(await waitAfter(t, ({ type }) => type === 'A' ? [a('10.0.0.1')] : [], { type: 'A+AAAA' }), 60_000, 'what has no records and no SOA says nothing')
})

// ---- following

t.test('only what changes is told', async t => {
  let answers: Answer[] = [a('10.0.0.1'), a('10.0.0.2')]
  const { server, provider, pass } = await dnsScene(t, [() => answers])
  const listener = await listen(t, provider)
  t.same(listener.urls, ['http://10.0.0.1', 'http://10.0.0.2'])
  answers = [a('10.0.0.2'), a('10.0.0.1')]
  await pass(60_000)
  await waitFor(() => server.asked.length === 2)
  answers = [a('10.0.0.2'), a('10.0.0.3')]
  await pass(60_000)
  await listener.has(2)
  t.same(listener.urls, ['http://10.0.0.2', 'http://10.0.0.3'])
  answers = []
  await pass(60_000)
  await listener.has(3)
  t.same(listener.urls, [])
})

t.test('a watch ends with an error when nobody answers, and can be begun again', async t => {
  let fails = false
  const { provider, pass, resolve } = await dnsScene(t, [() => fails ? { rcode: 'SERVFAIL' } : [a('10.0.0.1')]])
  const listener = await listen(t, provider)
  fails = true
  await pass(60_000)
  await waitFor(() => listener.end !== undefined)
  t.match(listener.end?.error?.message, /SERVFAIL/)
  fails = false
  t.match(await resolve(), [{ url: 'http://10.0.0.1' }])
})

// ---- the end

/** Those of the process: a double has one, once the tests before have closed theirs. */
const sockets = () => process.getActiveResourcesInfo().filter(kind => /UDP|TCPSocket/.test(kind)).length

for (const silent of ['udp', 'tcp'] as const) {
  t.test(`an aborted question (${silent}) rejects with the reason, and leaves no socket`, async t => {
    const { server, provider, waits } = await dnsScene(t, [({ via }) => via === silent ? undefined : { flags: TRUNCATED_RESPONSE }])
    const abort = new AbortController()
    const asking = provider.resolve(abort.signal)
    t.ok(await waitFor(() => server.asked.at(-1)?.via === silent))
    t.ok(sockets() > 1)
    abort.abort(new Error('enough'))
    await t.rejects(asking, { message: 'enough' })
    t.ok(await waitFor(() => sockets() === 1 && server.connections === 0), `${sockets()} sockets`)
    t.same(waits(), [])
  })
}

t.test('what is aborted before it begins asks nothing', async t => {
  const { server, provider } = await dnsScene(t, [() => [a('10.0.0.1')]])
  await t.rejects(provider.resolve(AbortSignal.abort(new Error('enough'))), { message: 'enough' })
  t.same(server.asked, [])
})

t.test('no socket is left after answers and timeouts', async t => {
  let silent = false
  const { resolve, pass } = await dnsScene(t, [() => silent ? undefined : [a('10.0.0.1')]])
  await resolve()
  silent = true
  const failing = t.rejects(resolve())
  await pass(TIMEOUT)
  await failing
  t.ok(await waitFor(() => sockets() === 1), `${sockets()} sockets`)
})

t.test('a stopped watch ends', async t => {
  const { provider, waits } = await dnsScene(t, [() => [a('10.0.0.1')]])
  const listener = await listen(t, provider)
  await waitFor(() => waits().length === 1)
  listener.stop()
  t.ok(await waitFor(() => listener.end !== undefined))
  t.same(waits(), [])
})
