import fc from 'fast-check'
import t from 'tap'
import { cookieValue, createKeyOf } from '../../../lib/balancing/hash-key.ts'
import { createHash, createIpHash } from '../../../lib/balancing/hash.ts'
import type { Balancer, Target } from '../../../lib/types.ts'
import { anyCall, callFrom, callWith, counts, seeded, target, targets } from './scene.ts'

const tools = { random: seeded() }
const clients = Array.from({ length: 2000 }, (_, i) => callFrom(`10.0.${i >> 8}.${i & 255}`))

function placement (balancer: Balancer, all: readonly Target[]): string[] {
  return clients.map(client => balancer.pick(all, client)!.id)
}

function shares (ids: string[]): Record<string, number> {
  const seen: Record<string, number> = {}
  for (const id of ids) seen[id] = (seen[id] ?? 0) + 1
  return seen
}

t.test('ip-hash keeps a client with its target', async t => {
  const all = targets(1, 1, 1)
  const balancer = createIpHash(tools)
  t.equal(Object.keys(counts(balancer, all, 50, callFrom('192.0.2.7'))).length, 1)
})

t.test('ip-hash agrees with another gateway', async t => {
  t.strictSame(placement(createIpHash(tools), targets(1, 2, 3)), placement(createIpHash(tools), targets(1, 2, 3)))
})

t.test('ip-hash spreads clients evenly', async t => {
  const seen = shares(placement(createIpHash(tools), targets(1, 1, 1, 1)))
  for (const id of ['a', 'b', 'c', 'd']) t.ok(Math.abs(seen[id]! - 500) < 75, `${id}: ${seen[id]}`)
})

t.test('ip-hash spreads clients in proportion to the weights', async t => {
  const seen = shares(placement(createIpHash(tools), targets(5, 3, 2)))
  t.ok(Math.abs(seen['a']! - 1000) < 90, `a: ${seen['a']}`)
  t.ok(Math.abs(seen['b']! - 600) < 80, `b: ${seen['b']}`)
  t.ok(Math.abs(seen['c']! - 400) < 75, `c: ${seen['c']}`)
})

t.test('a target that goes takes only its own clients along', async () => {
  fc.assert(fc.property(fc.array(fc.constantFrom(1, 2, 5, 0.5), { minLength: 2, maxLength: 8 }), fc.nat(), (weights, which) => {
    const all = targets(...weights)
    const gone = all[which % all.length]!
    const balancer = createIpHash(tools)
    const before = placement(balancer, all)
    const after = placement(balancer, all.filter(one => one !== gone))
    return before.every((id, i) => id === gone.id || id === after[i])
  }), { seed: 2, numRuns: 25 })
})

t.test('a target that comes takes clients for itself and moves no others', async t => {
  const all = targets(1, 1, 1)
  const balancer = createIpHash(tools)
  const before = placement(balancer, all)
  const after = placement(balancer, [...all, target('new', 1)])
  t.ok(after.every((id, i) => id === 'new' || id === before[i]))
  t.ok(Math.abs(shares(after)['new']! - 500) < 75)
})

t.test('a weight that grows moves clients to that target only', async t => {
  const balancer = createIpHash(tools)
  const before = placement(balancer, targets(1, 1, 1))
  const after = placement(balancer, targets(2, 1, 1))
  t.ok(after.every((id, i) => id === 'a' || id === before[i]))
})

t.test('another order of the targets moves nobody', async t => {
  for (const weights of [[1, 1, 1, 1], [1, 2, 3, 4]]) {
    const all = targets(...weights)
    const balancer = createIpHash(tools)
    t.strictSame(placement(balancer, all), placement(balancer, all.toReversed()))
  }
})

t.test('a thousand similar ids all get clients', async t => {
  const all = Array.from({ length: 1000 }, (_, i) => target(`http://10.0.0.1:${8000 + i}`))
  const balancer = createHash(tools, { type: 'hash', key: 'path' })
  const seen = new Set<string>()
  for (let i = 0; i < 20_000; i++) seen.add(balancer.pick(all, { path: `/u/${i}`, request: undefined })!.id)
  t.equal(seen.size, 1000)
})

t.test('a thousand targets of different weights are chosen in proportion', async t => {
  const all = Array.from({ length: 1000 }, (_, i) => target(`http://10.0.0.1:${8000 + i}`, 1 + i))
  const balancer = createHash(tools, { type: 'hash', key: 'path' })
  let heavy = 0
  for (let i = 0; i < 4000; i++) if (balancer.pick(all, { path: `/u/${i}`, request: undefined })!.weight > 500) heavy++
  t.ok(Math.abs(heavy - 3000) < 120, `${heavy} of 4000`)
})

t.test('calls without a key are spread by lot', async t => {
  const seen = counts(createIpHash({ random: seeded() }), targets(1, 1), 1000, anyCall)
  t.ok(Math.abs(seen['a']! - 500) < 70)
})

t.test('an empty key counts as none', async t => {
  const balancer = createHash({ random: seeded() }, { type: 'hash', key: { header: 'x-user' } })
  t.equal(Object.keys(counts(balancer, targets(1, 1), 100, callWith({ headers: { 'x-user': '' } }))).length, 2)
})

t.test('a key comes from the source that is named', async t => {
  const context = callWith({
    ip: '192.0.2.7', headers: { 'x-user': 'ann', 'x-many': ['1', '2'], cookie: 'a=1; sid=s3; sid=x' }, url: '/client?id=7&only=u'
  }, '/sent/x?id=8')
  const cases: Array<[unknown, string | undefined]> = [
    ['ip', '192.0.2.7'],
    [{ ip: true }, '192.0.2.7'],
    ['path', '/sent/x'],
    [{ path: true }, '/sent/x'],
    [{ header: 'X-User' }, 'ann'],
    [{ header: 'x-many' }, '1,2'],
    [{ header: 'x-none' }, undefined],
    [{ cookie: 'sid' }, 's3'],
    [{ cookie: 'none' }, undefined],
    [{ query: 'id' }, '8'],
    [{ query: 'only' }, 'u'],
    [{ query: 'none' }, undefined],
    [() => 'mine', 'mine'],
    [() => 5, undefined]
  ]
  for (const [key, expected] of cases) t.equal(createKeyOf(key)(context), expected, JSON.stringify(key))
})

t.test('a key of a call without a client is only its path and query', async t => {
  const context = { path: '/p?q=1', request: undefined }
  t.strictSame(['ip', 'path', { header: 'a' }, { cookie: 'a' }, { query: 'q' }, { query: 'z' }].map(key => createKeyOf(key)(context)),
    [undefined, '/p', undefined, undefined, '1', undefined])
})

t.test('a cookie is found by its whole name', async t => {
  t.equal(cookieValue('xsid=1; sid=2', 'sid'), '2')
  t.equal(cookieValue('sid', 'sid'), undefined)
  t.equal(cookieValue('sid; sid=a=b', 'sid'), 'a=b')
  t.equal(cookieValue('a=1;sid= 2 ;', 'sid'), '2')
})

t.test('a wrong key is refused with its value', async t => {
  for (const key of ['host', {}, { header: 'a', cookie: 'b' }, { body: 'x' }, { ip: 'x' }]) {
    t.throws(() => createKeyOf(key), { message: /key must be .*\(got / }, JSON.stringify(key))
  }
  for (const key of [undefined, null, 5, { header: '' }, { cookie: 3 }]) t.throws(() => createKeyOf(key), TypeError)
  t.throws(() => createKeyOf('host'), { name: 'RangeError', message: /got 'host'/ })
})

t.test('hash without a key is refused', async t => {
  for (const options of [undefined, { type: 'hash' }]) t.throws(() => createHash(tools, options), { name: 'TypeError', message: /needs a key/ })
})
