/** Targets from a real DNS server. It fails where dnsmasq is not installed (Debian package dnsmasq-base). */
import t from 'tap'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createDns } from '../../lib/discovery/dns.ts'
import { dnsmasq } from '../helper/dns.ts'
import { listen, providerTools } from '../helper/dns-tools.ts'
import { waitFor } from '../helper.ts'
import type { DnsDiscoveryConfig } from '../../lib/discovery/types.ts'

type Options = Partial<DnsDiscoveryConfig>

function setting (address: string, options: Options): DnsDiscoveryConfig {
  return { name: 'orders.test', type: 'A', port: 8080, scheme: 'http', servers: [address], timeout: 2000, minInterval: 1000, maxInterval: 300_000, ...options }
}

/** What one question brings. */
async function resolve (address: string, options: Options) {
  const { tools, warnings } = providerTools()
  const list = await createDns(setting(address, options), tools).resolve(new AbortController().signal)
  return { list, warnings }
}

const ADDRESSES = ['--host-record=orders.test,10.1.0.1,fd00::1', '--host-record=orders.test,10.1.0.2', '--host-record=six.test,fd00::6']
const host = { host: 'orders.test' }

t.test('addresses of a name', async t => {
  const { address } = await dnsmasq(t, [...ADDRESSES, '--cname=alias.test,orders.test'])
  t.same((await resolve(address, { type: 'A' })).list, [{ url: 'http://10.1.0.1:8080', metadata: host }, { url: 'http://10.1.0.2:8080', metadata: host }])
  t.same((await resolve(address, { type: 'AAAA' })).list, [{ url: 'http://[fd00::1]:8080', metadata: host }])
  t.same((await resolve(address, { type: 'A+AAAA' })).list.map(({ url }) => url), ['http://10.1.0.1:8080', 'http://10.1.0.2:8080', 'http://[fd00::1]:8080'])
  t.same((await resolve(address, { type: 'A', name: 'Orders.TEST.', port: undefined, scheme: 'https' })).list.map(({ url }) => url), ['https://10.1.0.1', 'https://10.1.0.2'])
  t.same((await resolve(address, { type: 'A', name: 'alias.test' })).list.map(({ url }) => url), ['http://10.1.0.1:8080', 'http://10.1.0.2:8080'], 'by another name')
})

t.test('a name that does not exist, and one without such records, have no targets', async t => {
  const { address } = await dnsmasq(t, ADDRESSES)
  t.same((await resolve(address, { name: 'nobody.test' })).list, [])
  t.same((await resolve(address, { name: 'six.test' })).list, [])
  t.same((await resolve(address, { name: 'six.test', type: 'SRV' })).list, [])
})

t.test('a server that refuses is named', async t => {
  const { address } = await dnsmasq(t, ADDRESSES)
  await t.rejects(resolve(address, { name: 'example.com' }), { message: `DNS question example.com A failed (${address}: REFUSED)` })
})

const SERVICE = '_http._tcp.orders.test'

t.test('services: ports, weights and priorities', async t => {
  const { address } = await dnsmasq(t, [
    '--host-record=a.test,10.1.0.1', '--host-record=b.test,10.1.0.2', '--host-record=b.test,10.1.0.3', '--host-record=c.test,10.1.0.4', '--host-record=six.test,fd00::6',
    `--srv-host=${SERVICE},a.test,8001,10,30`, `--srv-host=${SERVICE},b.test,8002,10,20`, `--srv-host=${SERVICE},six.test,8003,10,5`, `--srv-host=${SERVICE},c.test,8004,20,100`
  ])
  t.same((await resolve(address, { name: SERVICE, type: 'SRV' })).list, [
    { url: 'http://10.1.0.1:8001', weight: 30, metadata: { host: 'a.test', priority: 10 } },
    { url: 'http://10.1.0.2:8002', weight: 10, metadata: { host: 'b.test', priority: 10 } },
    { url: 'http://10.1.0.3:8002', weight: 10, metadata: { host: 'b.test', priority: 10 } },
    { url: 'http://[fd00::6]:8003', weight: 5, metadata: { host: 'six.test', priority: 10 } }
  ])
  t.same((await resolve(address, { name: SERVICE, type: 'SRV', scheme: 'https' })).list, [
    { url: 'https://a.test:8001', weight: 30, metadata: { host: 'a.test', priority: 10 } },
    { url: 'https://b.test:8002', weight: 20, metadata: { host: 'b.test', priority: 10 } },
    { url: 'https://six.test:8003', weight: 5, metadata: { host: 'six.test', priority: 10 } }
  ])
})

t.test('a service that is not offered has no targets', async t => {
  // without a host dnsmasq answers with the target "."
  const { address } = await dnsmasq(t, [`--srv-host=${SERVICE}`])
  t.same((await resolve(address, { name: SERVICE, type: 'SRV' })).list, [])
})

t.test('more records than fit a datagram', async t => {
  const many = Array.from({ length: 200 }, (_, index) => `10.2.0.${index + 1}`)
  const { address } = await dnsmasq(t, many.map(one => `--host-record=many.test,${one}`))
  const { list } = await resolve(address, { name: 'many.test' })
  t.same(list.map(({ url }) => url), many.map(one => `http://${one}:8080`).sort())
})

t.test('it is asked again when the TTL has passed, and changes are followed', async t => {
  const folder = t.testdir()
  const hosts = join(folder, 'hosts')
  await writeFile(hosts, '10.1.0.1 orders.test\n')
  const server = await dnsmasq(t, [`--addn-hosts=${hosts}`, '--local-ttl=40'])
  const { tools, pass } = providerTools()
  const listener = await listen(t, createDns(setting(server.address, {}), tools))
  t.same(listener.urls, ['http://10.1.0.1:8080'])

  await writeFile(hosts, '10.1.0.1 orders.test\n10.1.0.2 orders.test\n')
  server.reload()
  // when it has read the file cannot be seen: a round too early changes nothing
  await t.resolves((async () => { while (listener.lists.length < 2) await pass(40_000) })())
  t.same(listener.urls, ['http://10.1.0.1:8080', 'http://10.1.0.2:8080'])

  await writeFile(hosts, '10.1.0.2 orders.test\n')
  server.reload()
  await t.resolves((async () => { while (listener.lists.length < 3) await pass(40_000) })())
  t.same(listener.urls, ['http://10.1.0.2:8080'])
})

t.test('weights are followed', async t => {
  const records = (weight: number) => ['--host-record=a.test,10.1.0.1', '--host-record=b.test,10.1.0.2', `--srv-host=${SERVICE},a.test,80,1,${weight}`, `--srv-host=${SERVICE},b.test,80,1,10`, '--local-ttl=5']
  const server = await dnsmasq(t, records(10))
  const { tools, pass } = providerTools()
  const listener = await listen(t, createDns(setting(server.address, { name: SERVICE, type: 'SRV' }), tools))
  t.same(listener.lists[0]!.map(({ weight }) => weight), [10, 10])
  await server.start(records(90))
  await pass(5000)
  await listener.has(2)
  t.same(listener.lists[1]!.map(({ weight }) => weight), [90, 10])
})

t.test('a server that is gone is an error, and nothing else: when it is back so are the targets', async t => {
  const server = await dnsmasq(t, ADDRESSES)
  const { tools, pass } = providerTools()
  const provider = createDns(setting(server.address, {}), tools)
  const listener = await listen(t, provider)
  await server.stop()
  await pass(1000)
  await waitFor(() => listener.end !== undefined, 20_000)
  t.equal(listener.end?.error?.message, `DNS question orders.test A failed (${server.address}: ECONNREFUSED)`)
  t.equal(listener.lists.length, 1)
  await server.start(ADDRESSES)
  t.same(await provider.resolve(new AbortController().signal), listener.lists[0])
})
