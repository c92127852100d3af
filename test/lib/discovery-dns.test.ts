/** Questions to DNS servers and what they may answer: on the wire, on a virtual clock. */
import t from 'tap'
import dns from 'node:dns'
import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { encode, TRUNCATED_RESPONSE } from 'dns-packet'
import fc from 'fast-check'
import { createDns } from '../../lib/discovery/dns.ts'
import { decodeReply, encodeQuestion } from '../../lib/discovery/dns/message.ts'
import { parseServer } from '../../lib/discovery/dns/servers.ts'
import { answerTo, dnsServer } from '../helper/dns.ts'
import { a, aaaa, cname, dnsScene, NAME, setting, soa, srv, TIMEOUT } from '../helper/dns-scene.ts'
import { providerTools } from '../helper/dns-tools.ts'
import { sleep } from '../helper/messages.ts'
import { waitFor } from '../helper.ts'
import type { Answer } from 'dns-packet'

// ---- questions

t.test('a question asks for recursion and for answers of up to 1232 bytes', async t => {
  const { server, resolve } = await dnsScene(t, [() => [a('10.0.0.1')]], { name: 'Orders.Test.' })
  t.same(await resolve(), [{ url: 'http://10.0.0.1', metadata: { host: NAME } }])
  t.match(server.asked, [{ name: NAME, type: 'A', via: 'udp', udpSize: 1232, packet: { flag_rd: true, questions: { length: 1 } } }])
})

t.test('each question has an id and a port of its own', async t => {
  const { server, resolve } = await dnsScene(t, [() => [a('10.0.0.1')]])
  for (let i = 0; i < 8; i++) await resolve()
  t.ok(new Set(server.asked.map(({ id }) => id)).size > 1)
  t.ok(new Set(server.asked.map(({ from }) => from)).size > 1)
})

t.test('names of other scripts are asked for as the DNS knows them', async t => {
  const { server, resolve } = await dnsScene(t, [() => []], { name: 'bücher.test' })
  await resolve()
  t.equal(server.asked[0]?.name, 'xn--bcher-kva.test')
})

t.test('what can be no name is not asked for', async t => {
  for (const name of ['', '.', 'a..b', 'a b.test', `${'x'.repeat(64)}.test`, Array.from({ length: 130 }, () => 'a').join('.')]) {
    const { server, resolve } = await dnsScene(t, [() => []], { name })
    await t.rejects(resolve(), /is no name of a host/, JSON.stringify(name))
    t.same(server.asked, [])
  }
})

// ---- answers that are none

t.test('what does not answer the question is ignored, and the answer waited for', async t => {
  const { urls } = await dnsScene(t, [asked => {
    const { packet } = asked
    const other = (changes: object) => answerTo({ ...asked, packet: { ...packet, ...changes } }, [a('6.6.6.6'), a('6.6.6.6', { name: 'evil.test' })])
    return {
      datagrams: [
        Buffer.from('nonsense that is long enough'),
        Buffer.alloc(0),
        other({ id: (packet.id! + 1) % 65536 }),
        other({ questions: [{ type: 'A', name: 'evil.test' }] }),
        other({ questions: [{ type: 'AAAA', name: NAME }] }),
        other({ questions: [{ type: 'A', name: NAME, class: 'CH' }] }),
        other({ questions: [{ type: 'A', name: NAME }, { type: 'A', name: NAME }] }),
        other({ questions: [] }),
        encode({ type: 'query', id: packet.id!, questions: packet.questions!, answers: [a('6.6.6.6')] }),
        answerTo(asked, [a('6.6.6.6')]).subarray(0, -2),
        answerTo({ ...asked, packet: { ...packet, questions: [{ type: 'A', name: 'ORDERS.test' }] } }, [a('10.0.0.1', { name: 'orders.TEST' })])
      ]
    }
  }])
  t.same(await urls(), ['http://10.0.0.1'])
})

t.test('records of other names, types and classes in an answer are not used', async t => {
  const { urls } = await dnsScene(t, [() => [a('10.0.0.1'), a('6.6.6.6', { name: 'evil.test' }), aaaa('::6'), { ...a('6.6.6.6'), class: 'CH' } as Answer]])
  t.same(await urls(), ['http://10.0.0.1'])
})

t.test('the unspecified address is no target', async t => {
  const { urls, warnings } = await dnsScene(t, [({ type }) => type === 'A' ? [a('0.0.0.0'), a('10.0.0.1')] : [aaaa('::')]], { type: 'A+AAAA' })
  t.same(await urls(), ['http://10.0.0.1'])
  t.same(warnings.sort(), [
    'DNS: orders.test has an entry that cannot be used, http://0.0.0.0: is no address to connect to',
    'DNS: orders.test has an entry that cannot be used, http://[::]: is no address to connect to'
  ])
})

t.test('property: bytes of any kind are an answer or none, and never throw', async t => {
  const question = { id: 4711, name: NAME, type: 'A', edns: true } as const
  const query = encodeQuestion(question)
  t.equal(decodeReply(query, question), undefined, 'an echo of the question')
  const samples = [
    [cname(NAME, 'b.test'), a('10.0.0.1', { name: 'b.test' }), a('10.0.0.2', { name: 'b.test' })],
    [srv('a.test'), aaaa('fd00::1'), soa(5)],
    [{ type: 'TXT', name: NAME, data: ['x'] }, { type: 'OPT', name: '.', udpPayloadSize: 512, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false, options: [{ code: 12, length: 3 }] }]
  ] as Answer[][]
  const real = samples.map(answers => encode({ type: 'response', id: 4711, questions: [{ type: 'A', name: NAME }], answers, additionals: answers, authorities: answers }))
  const mutated = fc.tuple(fc.constantFrom(...real), fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }), fc.nat(300)).map(([bytes, changes, cut]) => {
    const copy = Buffer.from(bytes)
    for (const [index, value] of changes) copy[index % copy.length] = value
    copy.writeUInt16BE(4711)
    return cut < 60 ? copy.subarray(0, copy.length - cut) : copy
  })
  const random = fc.uint8Array({ maxLength: 200 }).map(bytes => {
    const copy = Buffer.from(bytes)
    if (copy.length > 1) copy.writeUInt16BE(4711)
    return copy
  })
  t.ok(real.every(bytes => decodeReply(bytes, question) !== undefined), 'before they were changed they are answers')
  fc.assert(fc.property(fc.oneof(mutated, random), bytes => {
    const reply = decodeReply(bytes, question)
    for (const record of [...reply?.answers ?? [], ...reply?.additionals ?? []]) {
      if (record.type === 'A' && !/^\d+\.\d+\.\d+\.\d+$/.test(record.data)) throw new Error(`an address ${record.data}`)
      if (!(record.ttl >= 0 && record.ttl < 2 ** 31)) throw new Error(`a TTL ${record.ttl}`)
    }
  }), { numRuns: 3000 })
})

t.test('property: a server that says anything is answered with a list or an error', async t => {
  let change: (bytes: Buffer) => Buffer = bytes => bytes
  const { resolve, clock } = await dnsScene(t, [asked => change(answerTo(asked, [srv('a.test'), srv('b.test'), cname(NAME, 'c.test'), a('10.0.0.1', { name: 'a.test' })]))], { type: 'SRV' })
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 }), async changes => {
    change = bytes => {
      for (const [index, value] of changes) bytes[2 + index % (bytes.length - 2)] = value
      return bytes
    }
    const settled = resolve().then(() => true, () => true)
    while (!await Promise.race([settled, sleep(2)])) clock.advance(TIMEOUT)
  }), { numRuns: 60 })
})

// ---- TCP

const long = Array.from({ length: 150 }, (_, index) => a(`10.0.0.${index}`))

t.test('an answer that does not fit is asked for over TCP', async t => {
  const { server, urls } = await dnsScene(t, [({ via }) => via === 'tcp' ? long : { flags: TRUNCATED_RESPONSE, answers: long.slice(0, 3) }])
  t.equal((await urls()).length, long.length)
  t.same(server.asked.map(({ via }) => via), ['udp', 'tcp'])
  t.ok(await waitFor(() => server.connections === 0), 'and the connection is closed')
})

t.test('an answer that is cut in the middle of a record is truncated as well', async t => {
  const { urls } = await dnsScene(t, [asked => asked.via === 'tcp' ? long : answerTo(asked, { flags: TRUNCATED_RESPONSE, answers: long }).subarray(0, 500)])
  t.equal((await urls()).length, long.length)
})

t.test('what does not answer the question is ignored over TCP as well', async t => {
  const { urls } = await dnsScene(t, [asked => asked.via === 'udp'
    ? { flags: TRUNCATED_RESPONSE }
    : { datagrams: [Buffer.from('nonsense'), answerTo({ ...asked, packet: { ...asked.packet, id: (asked.id + 1) % 65536 } }, [a('6.6.6.6')]), answerTo(asked, long)] }])
  t.equal((await urls()).length, long.length)
})

t.test('a server that fails over TCP is left for the next one', async t => {
  const { servers: [first, second], urls } = await dnsScene(t, [
    ({ via }) => via === 'udp' ? { flags: TRUNCATED_RESPONSE } : 'close',
    () => [a('10.0.0.2')]
  ])
  t.same(await urls(), ['http://10.0.0.2'])
  t.equal(first!.asked.length, 2)
  t.equal(second!.asked.length, 1)
})

t.test('what is wrong over TCP is said', async t => {
  const closing = await dnsScene(t, [({ via }) => via === 'udp' ? { flags: TRUNCATED_RESPONSE } : 'close'])
  await t.rejects(closing.resolve(), { message: `DNS question ${NAME} A failed (${closing.server.address}: the connection was closed without an answer)` })
  const cutting = await dnsScene(t, [() => ({ flags: TRUNCATED_RESPONSE })])
  await t.rejects(cutting.resolve(), { message: `DNS question ${NAME} A failed (${cutting.server.address}: the answer is truncated even over TCP)` })
})

// ---- servers

for (const rcode of ['SERVFAIL', 'REFUSED', 'FORMERR', 'NOTIMP'] as const) {
  t.test(`${rcode} is left for the next server, and is an error when there is none`, async t => {
    const { servers: [first, second], urls } = await dnsScene(t, [() => ({ rcode }), () => [a('10.0.0.2')]])
    t.same(await urls(), ['http://10.0.0.2'])
    t.equal(second!.asked.length, 1)
    const alone = createDns(setting([first!.address]), providerTools().tools)
    await t.rejects(alone.resolve(new AbortController().signal), { message: `DNS question ${NAME} A failed (${first!.address}: ${rcode})` })
  })
}

t.test('a server that says nothing is left for the next one after the timeout', async t => {
  const { servers: [first, second], urls, pass } = await dnsScene(t, [() => undefined, () => [a('10.0.0.2')]])
  const asking = urls()
  await waitFor(() => first!.asked.length === 1)
  await pass(TIMEOUT)
  t.same(await asking, ['http://10.0.0.2'])
  t.equal(second!.asked.length, 1)
})

t.test('when none answers, the error says what each of them did', async t => {
  const { servers: [first, second], resolve, pass } = await dnsScene(t, [() => undefined, () => ({ rcode: 'SERVFAIL' })])
  const asking = t.rejects(resolve(), { message: `DNS question ${NAME} A failed (${first!.address}: no answer within 2000 ms; ${second!.address}: SERVFAIL)` })
  await pass(TIMEOUT)
  await asking
})

t.test('a server that said nothing is asked last for the rest of a round, and first in the next', async t => {
  const { servers: [first, second], resolve, pass } = await dnsScene(t, [() => undefined, ({ name, type }) => type === 'SRV' ? [srv('a.test')] : [a('10.0.0.1', { name })]], { type: 'SRV' })
  for (const round of [1, 2]) {
    const asking = resolve()
    await waitFor(() => first!.asked.length === round)
    await pass(TIMEOUT)
    await asking
    t.equal(first!.asked.length, round)
    t.equal(second!.asked.length, 2 * round)
  }
})

t.test('that a name does not exist is an answer', async t => {
  const { servers: [, second], resolve } = await dnsScene(t, [() => ({ rcode: 'NXDOMAIN' }), () => [a('10.0.0.2')]])
  t.same(await resolve(), [])
  t.same(second!.asked, [])
})

t.test('a server without EDNS is asked once more without it', async t => {
  const { server, urls } = await dnsScene(t, [({ udpSize }) => udpSize === undefined ? [a('10.0.0.1')] : { rcode: 'FORMERR' }])
  t.same(await urls(), ['http://10.0.0.1'])
  t.same(server.asked.map(({ udpSize }) => udpSize), [1232, undefined])
})

t.test('an error without the question is an error', async t => {
  const { server, resolve } = await dnsScene(t, [asked => answerTo(asked, { rcode: 'FORMERR', questions: [] })])
  await t.rejects(resolve(), { message: `DNS question ${NAME} A failed (${server.address}: FORMERR)` })
})

t.test('an extended error code is one', async t => {
  const { server, resolve } = await dnsScene(t, [() => ({ additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 512, extendedRcode: 1, ednsVersion: 0, flags: 0, flag_do: false, options: [] }] })])
  await t.rejects(resolve(), { message: `DNS question ${NAME} A failed (${server.address}: RCODE_16)` })
})

t.test('a server that only names others does not say that there is nothing', async t => {
  const { server, resolve } = await dnsScene(t, [asked => encode({ type: 'response', id: asked.id, questions: asked.packet.questions!, authorities: [{ type: 'NS', name: 'test', data: 'ns.test' }] })])
  await t.rejects(resolve(), { message: `DNS question ${NAME} A failed (${server.address}: names other servers instead of asking them)` })
})

t.test('without servers of its own it asks those of the machine', async t => {
  const server = await dnsServer(t, () => [a('10.0.0.1')])
  const before = dns.getServers()
  t.teardown(() => { dns.setServers(before) })
  dns.setServers([server.address])
  t.match(await createDns(setting([]), providerTools().tools).resolve(new AbortController().signal), [{ url: 'http://10.0.0.1' }])
})

t.test('a server may have a name, which the machine looks up', async t => {
  const { address } = await lookup('localhost')
  const server = await dnsServer(t, () => [a('10.0.0.1')], address)
  t.match(await createDns(setting([`localhost:${server.port}`]), providerTools().tools).resolve(new AbortController().signal), [{ url: 'http://10.0.0.1' }])
})

t.test('a server may have an IPv6 address', async t => {
  if (!Object.values(networkInterfaces()).flat().some(one => one?.address === '::1')) {
    t.pass('this machine has none')
    return
  }
  const server = await dnsServer(t, ({ via }) => via === 'udp' ? { flags: TRUNCATED_RESPONSE } : [a('10.0.0.1')], '::1')
  t.match(await createDns(setting([server.address]), providerTools().tools).resolve(new AbortController().signal), [{ url: 'http://10.0.0.1' }])
})

t.test('addresses of servers in all forms', async t => {
  const forms: Array<[string, string, number]> = [
    ['10.0.0.2', '10.0.0.2', 53], ['10.0.0.2:5353', '10.0.0.2', 5353], ['fd00::2', 'fd00::2', 53], ['[fd00::2]', 'fd00::2', 53],
    ['[fd00::2]:5353', 'fd00::2', 5353], ['fe80::1%eth0', 'fe80::1%eth0', 53], ['consul', 'consul', 53], ['consul:8600', 'consul', 8600]
  ]
  for (const [text, host, port] of forms) t.same(parseServer(text), { text, host, port })
  for (const text of ['', ':53', '10.0.0.2:0', '10.0.0.2:65536', '10.0.0.2:x', '[10.0.0.2]:53', 'fd00::zz', '[fd00::2', 'a:b:c']) {
    t.throws(() => createDns(setting([text]), providerTools().tools), { message: `${JSON.stringify(text)} is no address of a DNS server` })
  }
})

// ---- CNAMEs

t.test('CNAMEs are followed within an answer, in any order', async t => {
  const { server, urls } = await dnsScene(t, [() => [a('10.0.0.1', { name: 'c.test' }), cname('b.test', 'C.test'), cname(NAME, 'b.test')]])
  t.same(await urls(), ['http://10.0.0.1'])
  t.equal(server.asked.length, 1)
})

t.test('where an answer has only the CNAME, its target is asked for', async t => {
  const { server, urls } = await dnsScene(t, [({ name }) => name === NAME ? [cname(NAME, 'b.test')] : [a('10.0.0.1', { name })]])
  t.same(await urls(), ['http://10.0.0.1'])
  t.same(server.asked.map(({ name }) => name), [NAME, 'b.test'])
})

t.test('a CNAME to what has no such records, or does not exist, has none', async t => {
  const none = await dnsScene(t, [() => ({ answers: [cname(NAME, 'b.test')], authorities: [soa(5)] })])
  t.same(await none.resolve(), [])
  t.equal(none.server.asked.length, 1)
  const missing = await dnsScene(t, [() => ({ answers: [cname(NAME, 'b.test')], rcode: 'NXDOMAIN' })])
  t.same(await missing.resolve(), [])
  t.equal(missing.server.asked.length, 1)
})

t.test('CNAMEs in a circle are an error', async t => {
  const within = await dnsScene(t, [() => [cname(NAME, 'b.test'), cname('b.test', NAME)]])
  await t.rejects(within.resolve(), /go round in a circle/)
  const across = await dnsScene(t, [({ name }) => [cname(name, name === NAME ? 'b.test' : NAME)]])
  await t.rejects(across.resolve(), /go round in a circle/)
  const self = await dnsScene(t, [() => [cname(NAME, NAME)]])
  await t.rejects(self.resolve(), /go round in a circle/)
})

t.test('CNAMEs without end are an error after eight questions', async t => {
  const { server, resolve } = await dnsScene(t, [({ name }) => [cname(name, `x${name}`)]])
  await t.rejects(resolve(), { message: `DNS question ${NAME} A failed (more than 8 CNAMEs)` })
  t.equal(server.asked.length, 8)
})
