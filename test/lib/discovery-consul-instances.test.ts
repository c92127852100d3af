/** What the Consul provider makes of instances: addresses, schemes, weights, zones, metadata, and entries that are none. */
import fc from 'fast-check'
import t from 'tap'
import { createConsul } from '../../lib/discovery/consul.ts'
import { readInstances } from '../../lib/discovery/consul/instances.ts'
import { splitTargetUrl } from '../../lib/options/target-url.ts'
import { consulConfig, fastTools, startConsul } from '../helper/consul.ts'
import type { ConsulDiscoveryConfig } from '../../lib/discovery/types.ts'

const NEVER = new AbortController().signal

interface Parts { Node?: Record<string, unknown>, Service?: Record<string, unknown>, Checks?: unknown }

/** An entry as Consul writes it, with parts of its own. */
function entry ({ Node, Service, Checks = [] }: Parts = {}): unknown {
  return { Node: { Node: 'n1', Address: '10.9.9.9', Datacenter: 'dc1', Meta: null, ...Node }, Service: { ID: 'a', Service: 'web', Tags: [], Address: '10.0.0.1', Port: 8080, Meta: {}, Weights: { Passing: 1, Warning: 1 }, ...Service }, Checks }
}

function read (entries: unknown[], said: Partial<ConsulDiscoveryConfig> = {}) {
  const tools = fastTools()
  const targets = readInstances(entries, consulConfig({ address: 'http://consul', ...said }), tools.warn)
  return { targets, urls: targets.map(({ url }) => url), warnings: tools.warnings.map(({ message }) => message), details: tools.warnings.map(({ details }) => details) }
}

t.test('addresses', async t => {
  for (const [what, parts, url] of [
    ['an IPv4 address', {}, 'http://10.0.0.1:8080'],
    ['a name', { Service: { Address: 'web.internal' } }, 'http://web.internal:8080'],
    ['an IPv6 address', { Service: { Address: 'fd00::1' } }, 'http://[fd00::1]:8080'],
    ['an IPv6 address in brackets', { Service: { Address: '[fd00::1]' } }, 'http://[fd00::1]:8080'],
    ['that of the node', { Service: { Address: '' } }, 'http://10.9.9.9:8080'],
    ['an IPv6 address of the node', { Service: { Address: '' }, Node: { Address: 'fd00::9' } }, 'http://[fd00::9]:8080'],
    ['not a tagged one', { Service: { TaggedAddresses: { lan: { Address: '10.7.7.7', Port: 7 } } }, Node: { TaggedAddresses: { lan: '10.6.6.6' } } }, 'http://10.0.0.1:8080'],
    ['the usual port', { Service: { Port: 80 } }, 'http://10.0.0.1']
  ] as const) {
    t.same(read([entry(parts)]), { targets: read([entry(parts)]).targets, urls: [url], warnings: [], details: [] }, what)
  }
})

t.test('an address that is none is left out with a warning', async t => {
  for (const Address of ['http://10.0.0.1', '10.0.0.1:80', '10.0.0.1/x', 'me@host', 'a b', 'fe80::1%eth0', 'host?x', '/run/web.sock']) {
    const { urls, warnings } = read([entry({ Service: { Address } }), entry({ Service: { ID: 'b', Address: '10.0.0.2' } })])
    t.same(urls, ['http://10.0.0.2:8080'], Address)
    t.same(warnings, ['Consul: an instance of the service "web" is left out: its address is neither an IP address nor a host name'], Address)
  }
})

t.test('an instance without a port is left out with a warning that names it', async t => {
  const { urls, warnings, details } = read([entry({ Service: { Port: 0 } })])
  t.same(urls, [])
  t.same(warnings, ['Consul: an instance of the service "web" is left out: it has no port'])
  t.same(details, [{ id: 'a', node: 'n1', address: '10.0.0.1', port: 0 }])
})

t.test('without any address it is left out', async t => {
  t.same(read([entry({ Service: { Address: '' }, Node: { Address: '' } })]).warnings, ['Consul: an instance of the service "web" is left out: neither it nor its node has an address'])
})

t.test('the scheme comes from the options, and an instance may say another one', async t => {
  const schemeOf = (Meta: Record<string, string>, scheme: 'http' | 'https' = 'http') => read([entry({ Service: { Meta } })], { scheme }).urls[0]?.split(':')[0]
  t.equal(schemeOf({}), 'http')
  t.equal(schemeOf({}, 'https'), 'https')
  t.equal(schemeOf({ scheme: 'https' }), 'https')
  t.equal(schemeOf({ scheme: 'HTTP' }, 'https'), 'http')
  t.equal(schemeOf({ protocol: 'https' }), 'https')
  t.equal(schemeOf({ scheme: 'http', protocol: 'https' }), 'http')
})

t.test('a scheme that is no HTTP is ignored with a warning', async t => {
  const { urls, warnings, details } = read([entry({ Service: { Meta: { protocol: 'grpc' } } })], { scheme: 'https' })
  t.same(urls, ['https://10.0.0.1:8080'])
  t.same(warnings, ['Consul: the scheme that an instance of the service "web" names is neither http nor https; https is used'])
  t.match(details, [{ id: 'a', scheme: 'grpc' }])
})

t.test('weights', async t => {
  const warning = [{ CheckID: 'x', Status: 'warning' }]
  const weightOf = (parts: Parts) => read([entry(parts)], { passing: false }).targets[0]?.weight
  t.equal(weightOf({ Service: { Weights: { Passing: 10, Warning: 2 } } }), 10)
  t.equal(weightOf({ Service: { Weights: { Passing: 10, Warning: 2 } }, Checks: warning }), 2)
  t.equal(weightOf({ Service: { Weights: { Passing: 10, Warning: 0 } }, Checks: warning }), 0)
  t.equal(weightOf({ Service: { Weights: { Passing: 0, Warning: 0 } } }), 0)
  t.equal(weightOf({ Service: { Weights: undefined } }), 1)
  t.equal(weightOf({ Service: { Weights: null } }), 1)
  t.equal(weightOf({ Service: { Weights: { Passing: 10 } }, Checks: warning }), 1)
})

t.test('the zone comes from the instance, then its node, then its locality', async t => {
  const Meta = (zone: string) => ({ Meta: { zone } })
  const Locality = { Locality: { Region: 'eu', Zone: 'l' } }
  const zoneOf = (parts: Parts) => read([entry(parts)]).targets[0]?.zone
  t.equal(zoneOf({ Service: { ...Meta('s'), ...Locality }, Node: Meta('n') }), 's')
  t.equal(zoneOf({ Service: { ...Meta(''), ...Locality }, Node: Meta('n') }), 'n')
  t.equal(zoneOf({ Service: Locality }), 'l')
  t.equal(zoneOf({ Node: Locality }), 'l')
  t.equal(zoneOf({ Service: { Locality: { Region: 'eu', Zone: '' } } }), undefined)
  t.notOk('zone' in read([entry()]).targets[0]!)
})

t.test('metadata is that of the instance, and what Consul knows wins over it', async t => {
  const Meta = { version: '7', id: 'mine', tags: 'mine', path: '/base' }
  const { targets } = read([entry({ Service: { ID: 'web-1', Meta, Tags: ['v2'] } })])
  t.same(targets[0]?.metadata, { version: '7', path: '/base', id: 'web-1', node: 'n1', datacenter: 'dc1', tags: ['v2'] })
  t.equal(targets[0]?.url, 'http://10.0.0.1:8080', 'a path in it is no base path')
})

t.test('names of prototypes are metadata like others', async t => {
  const { targets } = read([entry({ Service: { Meta: JSON.parse('{ "__proto__": "x", "constructor": "y" }') } })])
  t.equal(Object.getPrototypeOf(targets[0]?.metadata), Object.prototype)
  t.ok(Object.hasOwn(targets[0]!.metadata!, '__proto__'))
})

t.test('an older Consul names no datacenter: that of the options is meant', async t => {
  t.equal(read([entry({ Node: { Datacenter: undefined } })], { datacenter: 'dc9' }).targets[0]?.metadata?.['datacenter'], 'dc9')
})

t.test('the worst check counts', async t => {
  const checks = (...statuses: string[]) => entry({ Checks: statuses.map((Status, nth) => ({ CheckID: String(nth), Status })) })
  for (const [statuses, withPassing, without] of [
    [[], 1, 1],
    [['passing', 'passing'], 1, 1],
    [['passing', 'warning'], 0, 1],
    [['warning', 'critical'], 0, 0],
    [['critical', 'warning'], 0, 0],
    [['unheard-of'], 0, 0]
  ] as const) {
    t.equal(read([checks(...statuses)]).urls.length, withPassing, statuses.join())
    t.equal(read([checks(...statuses)], { passing: false }).urls.length, without, statuses.join())
  }
  t.equal(read([entry({ Checks: null })]).urls.length, 1)
})

t.test('maintenance counts whatever its status', async t => {
  for (const CheckID of ['_node_maintenance', '_service_maintenance:a']) {
    t.same(read([entry({ Checks: [{ CheckID, Status: 'passing' }] })], { passing: false }).urls, [])
  }
})

t.test('of two instances with one address the same is always used', async t => {
  const first = entry({ Service: { ID: 'a', Weights: { Passing: 3, Warning: 1 } } })
  const second = entry({ Service: { ID: 'b', Weights: { Passing: 7, Warning: 1 } } })
  for (const entries of [[first, second], [second, first]]) {
    const { targets, warnings } = read(entries)
    t.match(targets, [{ weight: 3, metadata: { id: 'a' } }])
    t.equal(targets.length, 1)
    t.same(warnings, ['Consul: an address of the service "web" is registered twice; one of them is used'])
  }
})

t.test('of two instances with one address the one that is fit is used', async t => {
  const ill = entry({ Service: { ID: 'a' }, Checks: [{ CheckID: 'x', Status: 'critical' }] })
  t.match(read([ill, entry({ Service: { ID: 'b' } })]).targets, [{ metadata: { id: 'b' } }])
})

t.test('an entry of another shape is left out with a warning, and the others are used', async t => {
  const good = entry({ Service: { ID: 'z', Address: '10.0.0.9' } })
  for (const bad of [
    null, 1, 'web', [], {}, { Node: {}, Service: {} }, { Service: { ID: 'a', Address: '10.0.0.1', Port: 1 } },
    entry({ Node: { Address: 1 } }), entry({ Node: { Node: null } }), entry({ Node: { Meta: [] } }),
    entry({ Service: { ID: 7 } }), entry({ Service: { Address: null } }), entry({ Service: { Port: '8080' } }), entry({ Service: { Port: 70_000 } }),
    entry({ Service: { Port: -1 } }), entry({ Service: { Port: 1.5 } }), entry({ Service: { Tags: 'v2' } }), entry({ Service: { Tags: [1] } }),
    entry({ Service: { Meta: { a: 1 } } }), entry({ Service: { Weights: { Passing: -1 } } }), entry({ Service: { Weights: { Passing: '1' } } }), entry({ Service: { Weights: 5 } }),
    entry({ Service: { Locality: 'eu' } }), entry({ Checks: {} }), entry({ Checks: [null] }), entry({ Checks: [{ CheckID: 'x' }] })
  ]) {
    const { urls, warnings } = read([bad, good])
    t.same(urls, ['http://10.0.0.9:8080'], JSON.stringify(bad))
    t.same(warnings, ['Consul: an instance of the service "web" is left out: it has not the shape of one'], JSON.stringify(bad))
  }
})

t.test('malformed entries do not keep the provider from working', async t => {
  const consul = await startConsul(t)
  await consul.register({ service: 'web', id: 'a', address: '10.0.0.1', port: 80 })
  consul.twist.entries = entries => [null, { Node: 'x' }, ...entries]
  const tools = fastTools()
  t.equal((await createConsul(consulConfig({ address: consul.address }), tools).resolve(NEVER)).length, 1)
  t.equal(tools.warnings.length, 2)
})

const anEntry = fc.record({
  Node: fc.record({ Node: fc.constantFrom('n1', 'n2'), Address: fc.constantFrom('10.0.0.1', 'fd00::1', '', 'bad address') }),
  Service: fc.record({
    ID: fc.constantFrom('a', 'b', 'c'),
    Address: fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.string(), fc.constant('')),
    Port: fc.constantFrom(0, 80, 443, 8080),
    Tags: fc.option(fc.array(fc.string())),
    Meta: fc.option(fc.dictionary(fc.constantFrom('scheme', 'zone', 'protocol', 'x'), fc.constantFrom('http', 'https', 'tcp', '')))
  }),
  Checks: fc.option(fc.array(fc.record({ CheckID: fc.constantFrom('x', '_node_maintenance'), Status: fc.constantFrom('passing', 'warning', 'critical') })))
})

t.test('a list in which nothing has the shape of an instance is a fault, and an empty one is not', async t => {
  t.throws(() => read([{}, 7]), /none of the instances/)
  t.same(read([]).targets, [])
})

t.test('property: whatever the entries, what comes out are targets that a backend may have, each once', async () => {
  fc.assert(fc.property(anEntry, fc.array(fc.oneof(anEntry, fc.jsonValue())), fc.boolean(), (entry, others, passing) => {
    const { targets, urls } = read([...others, entry], { passing })
    return new Set(urls).size === urls.length && targets.every(({ url, weight }) => {
      const address = splitTargetUrl(url)
      return typeof address !== 'string' && address.url === url && weight! >= 0
    })
  }))
})

t.test('property: the order of the entries does not matter', async () => {
  const list = fc.uniqueArray(anEntry, { selector: ({ Node, Service }) => `${Node.Node} ${Service.ID}` })
  const shuffled = list.chain(entries => fc.tuple(fc.constant(entries), fc.shuffledSubarray(entries, { minLength: entries.length })))
  fc.assert(fc.property(shuffled, ([one, other]) => JSON.stringify(read(one).targets) === JSON.stringify(read(other).targets)))
})
