/** The Consul provider when Consul fails, and what is left of it when it is told to end. */
import { connect } from 'node:net'
import { getEventListeners, once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { createConsul } from '../../lib/discovery/consul.ts'
import { createQuestions } from '../../lib/discovery/consul/questions.ts'
import { AUTHORITY, CERTIFICATE, CERTIFICATE_KEY, SIGNED, SIGNED_CLIENT, SIGNED_OTHER } from '../helper/certificate.ts'
import { consulConfig, fastTools, follow, startConsul } from '../helper/consul.ts'
import { socketFolder } from '../helper/socket-folder.ts'
import { waitFor } from '../helper/time.ts'
import type { Test } from 'tap'
import type { Dispatcher } from 'undici'
import type { Line } from '../../lib/discovery/consul/line.ts'
import type { ConsulDiscoveryConfig } from '../../lib/discovery/types.ts'
import type { ConsulOptions, Outage } from '../helper/consul.ts'

const NEVER = new AbortController().signal

async function setUp (t: Test, said: Partial<ConsulDiscoveryConfig> = {}, options: ConsulOptions = {}) {
  const consul = await startConsul(t, options)
  const tools = fastTools()
  const provider = createConsul(consulConfig({ address: consul.address, ...said }), tools)
  await consul.register({ service: 'web', id: 'a', address: '10.0.0.1', port: 80 })
  return { consul, tools, provider, isHeld: () => consul.questions.at(-1)?.held === true }
}

const faults: ReadonlyArray<readonly [name: string, outage: Outage, message: RegExp]> = [
  ['refused connections', { kind: 'refuse' }, /^Consul at http:\/\/127\.0\.0\.1:\d+ cannot be asked: it refused the connection$/],
  ['closed connections', { kind: 'drop' }, /cannot be asked: it has closed the connection$/],
  ['a 403 with its reason', { kind: 'answer', status: 403, body: 'Permission denied: token with AccessorID \'x\' lacks permission' }, /answered 403 when asked for the service "web": Permission denied: token/],
  ['a 404', { kind: 'answer', status: 404, body: 'Invalid URL path: not a recognized HTTP API endpoint\n' }, /answered 404 .*: Invalid URL path: not a recognized HTTP API endpoint$/],
  ['a 429', { kind: 'answer', status: 429 }, /answered 429 when asked for the service "web"$/],
  ['a 500 without servers', { kind: 'answer', status: 500, body: 'No known Consul servers' }, /answered 500 .*: No known Consul servers$/],
  ['a 500 of the RPC', { kind: 'answer', status: 500, body: 'rpc error making call: EOF' }, /answered 500 .*: rpc error making call: EOF$/],
  ['a 503 with a page', { kind: 'answer', status: 503, body: '<html>\r\n<body>\u001b[31mno</body>' }, /answered 503 .*: <html> <body> \[31mno<\/body>$/],
  ['a redirect', { kind: 'answer', status: 301, headers: { location: 'http://127.0.0.1:1/' } }, /answered 301/],
  ['an answer that is no JSON', { kind: 'answer', body: '<html>' }, /^the answer of Consul at \S+ cannot be used: it is no JSON$/],
  ['an empty answer', { kind: 'answer', body: '' }, /it is no JSON$/],
  ['half an answer', { kind: 'answer', body: '[{"Node":' }, /it is no JSON$/],
  ['an object', { kind: 'answer', body: '{}' }, /cannot be used: it is no list of instances$/],
  ['null', { kind: 'answer', body: 'null' }, /it is no list of instances$/],
  ['a text', { kind: 'answer', body: '"web"' }, /it is no list of instances$/],
  ['an answer that is too large', { kind: 'answer', body: Buffer.alloc(33 * 1024 * 1024, ' ') }, /larger than 33554432 bytes$/],
  ['an answer that is cut short', { kind: 'answer', body: '[]', headers: { 'content-length': '100', connection: 'close' } }, /cannot be used: /],
  ['no answer', { kind: 'hang' }, /cannot be asked: it does not answer in time$/]
]

for (const [name, outage, message] of faults) {
  t.test(`${name}: it throws, and works again when it is over`, async t => {
    const { consul, provider } = await setUp(t, outage.kind === 'hang' ? { timeout: 500 } : {})
    await consul.outage(outage)
    await t.rejects(provider.resolve(NEVER), { message })
    await consul.outage(undefined)
    t.equal((await provider.resolve(NEVER)).length, 1)
    t.ok(await waitFor(() => consul.connections === 0), 'no connection is left')
  })
}

// a held question that is cut off has not been refused
for (const [name, outage, message] of faults.filter(([, { kind }]) => kind !== 'hang' && kind !== 'refuse')) {
  t.test(`${name} while it watches: the watch throws, and a new one goes on`, async t => {
    const { consul, provider, isHeld } = await setUp(t)
    await provider.resolve(NEVER)
    const follower = follow(t, provider)
    t.ok(await waitFor(isHeld))
    await consul.outage(outage)
    consul.wakeAll()
    t.ok(await waitFor(() => follower.ended))
    t.match(follower.error?.message, message)
    await consul.outage(undefined)
    const again = follow(t, provider)
    t.ok(await waitFor(isHeld))
    await consul.register({ service: 'web', id: 'b', address: '10.0.0.2', port: 80 })
    t.ok(await waitFor(() => again.urls.length === 2))
  })
}

t.test('an answer that comes byte by byte and does not end is given up', async t => {
  const { consul, tools } = await setUp(t)
  await consul.outage({ kind: 'drip', every: 5 })
  // a second passes whenever somebody looks
  let time = 0
  const provider = createConsul(consulConfig({ address: consul.address }), { ...tools, now: () => { time += 1000; return time } })
  await t.rejects(provider.resolve(NEVER), { message: /cannot be used: it takes too long to arrive$/ })
  t.ok(await waitFor(() => consul.connections === 0))
})

t.test('an answer that stops halfway is given up', async t => {
  const { consul, provider } = await setUp(t, { timeout: 400 })
  await consul.outage({ kind: 'drip', every: 1_000_000 })
  await t.rejects(provider.resolve(NEVER), { message: /cannot be used: / })
})

t.test('an error whose text has no end is told by its beginning', async t => {
  const { consul, provider } = await setUp(t)
  await consul.outage({ kind: 'answer', status: 500, body: 'x'.repeat(10_000_000) })
  const error = await provider.resolve(NEVER).then(() => undefined, (error: Error) => error)
  t.match(error?.message, /answered 500 .*: x{200}…$/)
  t.ok(await waitFor(() => consul.connections === 0))
})

t.test('the token is in no error, even where Consul repeats it', async t => {
  const { consul, provider } = await setUp(t, { token: 's3cret' })
  for (const outage of [{ kind: 'answer', status: 403, body: 'ACL not found: s3cret' }, { kind: 'answer', body: '[s3cret' }, { kind: 'drop' }, { kind: 'refuse' }] as const) {
    await consul.outage(outage)
    const error = await provider.resolve(NEVER).then(() => undefined, (error: Error) => error)
    t.ok(error)
    for (let found = error; found !== undefined; found = found.cause as Error | undefined) t.notMatch(`${found.message} ${found.stack}`, 's3cret')
  }
})

t.test('an unknown token is a 403 that says so', async t => {
  const { provider } = await setUp(t, { token: 'old' }, { tokens: { good: 'read' } })
  await t.rejects(provider.resolve(NEVER), { message: /answered 403 .*: ACL not found$/ })
})

t.test('a token that may read nothing is an error, not an empty list', async t => {
  const { provider } = await setUp(t, { token: 'poor' }, { tokens: { poor: 'nothing' } })
  await t.rejects(provider.resolve(NEVER), { message: /has hidden every instance, for the token may not read all of the service "web": it needs service:read and node:read$/ })
})

t.test('a token that may read a part is a warning', async t => {
  const { consul, tools, provider } = await setUp(t)
  consul.twist.headers['X-Consul-Results-Filtered-By-Acls'] = 'true'
  t.equal((await provider.resolve(NEVER)).length, 1)
  t.match(tools.warnings, [{ message: /has hidden instances/ }])
})

t.test('a Consul without a leader is a warning, and its list is used', async t => {
  const { consul, tools, provider } = await setUp(t)
  consul.twist.headers['X-Consul-Knownleader'] = 'false'
  t.equal((await provider.resolve(NEVER)).length, 1)
  t.match(tools.warnings, [{ message: 'Consul has no leader: its list may be out of date' }])
})

t.test('without a leader stale reads are what was asked for', async t => {
  const { consul, tools, provider } = await setUp(t, { consistency: 'stale' })
  consul.twist.headers['X-Consul-Knownleader'] = 'false'
  t.equal((await provider.resolve(NEVER)).length, 1)
  t.same(tools.warnings, [])
})

for (const [what, headers, rest] of [
  ['seconds', { 'retry-after': '7' }, [7000]],
  ['a date, by the clock of Consul', { 'retry-after': 'Fri, 01 Jan 2100 00:00:09 GMT', date: 'Fri, 01 Jan 2100 00:00:00 GMT' }, [9000]],
  ['an hour, of which a minute is kept', { 'retry-after': '3600' }, [60_000]],
  ['nonsense', { 'retry-after': 'later' }, []]
] as const) {
  t.test(`a Retry-After of ${what}`, async t => {
    const { consul, tools, provider } = await setUp(t)
    await consul.outage({ kind: 'answer', status: 429, headers })
    await t.rejects(provider.resolve(NEVER))
    await consul.outage(undefined)
    t.equal((await provider.resolve(NEVER)).length, 1)
    t.same(tools.slept, rest)
    await provider.resolve(NEVER)
    t.same(tools.slept, rest, 'once')
  })
}

t.test('a held question may be silent for its wait, the sixteenth of it and the timeout; others for the timeout', async t => {
  const asked: Dispatcher.RequestOptions[] = []
  const line: Line = {
    async request (options) {
      asked.push(options)
      throw new Error('enough')
    },
    async close () {}
  }
  const questions = createQuestions(consulConfig({ address: 'http://consul', wait: 320_000, timeout: 7000 }), fastTools())
  await t.rejects(questions.ask(line, { index: 0n, signal: NEVER }))
  await t.rejects(questions.ask(line, { index: 5n, signal: NEVER }))
  t.same(asked.map(({ headersTimeout }) => headersTimeout), [7000, 347_000])
  t.same(asked.map(({ bodyTimeout }) => bodyTimeout), [7000, 7000])
})

t.test('a held question that is never answered is given up', async t => {
  const { consul, provider, isHeld } = await setUp(t, { wait: 100, timeout: 400 })
  const follower = follow(t, provider)
  t.ok(await waitFor(isHeld))
  await consul.outage({ kind: 'hang' })
  t.ok(await waitFor(() => follower.ended, 10_000))
  t.match(follower.error?.message, /it does not answer in time$/)
})

t.test('while Consul comes and goes every watch ends with an error, and the list is right in the end', async t => {
  const { consul, provider, isHeld } = await setUp(t)
  for (let round = 0; round < 10; round++) {
    const follower = follow(t, provider)
    t.ok(await waitFor(isHeld))
    await consul.outage({ kind: 'refuse' })
    t.ok(await waitFor(() => follower.ended))
    t.ok(follower.error)
    await consul.outage(undefined)
    await consul.register({ service: 'web', id: `more-${round}`, address: `10.0.1.${round}`, port: 80 })
  }
  t.equal((await provider.resolve(NEVER)).length, 11)
  t.ok(await waitFor(() => consul.connections === 0))
})

// ---------------------------------------------------------------- ways to Consul

t.test('an address with a path in front', async t => {
  const { consul, provider } = await setUp(t, {}, { prefix: '/consul' })
  t.equal((await provider.resolve(NEVER)).length, 1)
  t.match(consul.questions[0]?.url, /^\/consul\/v1\/health\/service\/web\?/)
})

t.test('an address with a slash at its end', async t => {
  const { consul } = await setUp(t)
  t.equal((await createConsul(consulConfig({ address: `${consul.address}/` }), fastTools()).resolve(NEVER)).length, 1)
  t.match(consul.questions[0]?.url, /^\/v1\//)
})

t.test('a unix socket', async t => {
  const { provider, consul, isHeld } = await setUp(t, {}, { socketPath: join(socketFolder(t), 'consul.sock') })
  t.equal((await provider.resolve(NEVER)).length, 1)
  const follower = follow(t, provider)
  t.ok(await waitFor(isHeld))
  await consul.register({ service: 'web', id: 'b', address: '10.0.0.2', port: 80 })
  t.ok(await waitFor(() => follower.urls.length === 2))
})

t.test('a unix socket that is not there', async t => {
  const path = join(socketFolder(t), 'none.sock')
  await t.rejects(createConsul(consulConfig({ address: `unix://${path}` }), fastTools()).resolve(NEVER), { message: `Consul at unix://${path} cannot be asked: there is no such socket` })
})

t.test('an address that is none is refused at once', async t => {
  for (const address of ['127.0.0.1:8500', 'ftp://consul', 'http://me:secret@consul', 'unix://consul.sock', '']) {
    t.throws(() => createConsul(consulConfig({ address }), fastTools()), { name: 'RangeError', message: /^the address of Consul must / })
  }
})

t.test('https with an authority of its own', async t => {
  const { provider, consul, isHeld } = await setUp(t, { tls: { ca: AUTHORITY } }, { tls: SIGNED })
  t.equal((await provider.resolve(NEVER)).length, 1)
  follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.match(consul.address, /^https:/)
})

t.test('https with a certificate that nobody knows is refused', async t => {
  const { provider } = await setUp(t, {}, { tls: { cert: CERTIFICATE, key: CERTIFICATE_KEY } })
  await t.rejects(provider.resolve(NEVER), { message: /cannot be asked: its certificate is self-signed/ })
})

t.test('https without verification, where the options say so', async t => {
  const { provider } = await setUp(t, { tls: { rejectUnauthorized: false } }, { tls: { cert: CERTIFICATE, key: CERTIFICATE_KEY } })
  t.equal((await provider.resolve(NEVER)).length, 1)
})

t.test('https with a certificate for another name needs that name', async t => {
  const { provider, consul } = await setUp(t, { tls: { ca: AUTHORITY } }, { tls: SIGNED_OTHER })
  await t.rejects(provider.resolve(NEVER), { message: /its certificate is for other names/ })
  const named = createConsul(consulConfig({ address: consul.address, tls: { ca: AUTHORITY, servername: 'other.test' } }), fastTools())
  t.equal((await named.resolve(NEVER)).length, 1)
})

t.test('https with a certificate of the gateway', async t => {
  const options = { tls: { ...SIGNED, ca: AUTHORITY, requestCert: true, rejectUnauthorized: true } }
  const { provider } = await setUp(t, { tls: { ca: AUTHORITY, ...SIGNED_CLIENT } }, options)
  t.equal((await provider.resolve(NEVER)).length, 1)
  const { provider: without } = await setUp(t, { tls: { ca: AUTHORITY } }, options)
  await t.rejects(without.resolve(NEVER), { message: /cannot be asked: / })
})

// ---------------------------------------------------------------- the end

t.test('a watch that is told to end does so without an error, and leaves no connection', async t => {
  const { consul, provider, isHeld } = await setUp(t)
  const follower = follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.equal(consul.connections, 1)
  await follower.stop()
  t.equal(follower.error, undefined)
  t.ok(await waitFor(() => consul.connections === 0 && !isHeld()))
})

t.test('a watch whose list nobody has taken yet leaves no connection either', async t => {
  const { consul, provider } = await setUp(t)
  const controller = new AbortController()
  const lists = provider.watch!(controller.signal)[Symbol.asyncIterator]()
  t.equal((await lists.next()).done, false)
  controller.abort()
  t.ok(await waitFor(() => consul.connections === 0))
  t.equal((await lists.next()).done, true)
})

t.test('a watch that is left after its first list leaves no connection', async t => {
  const { consul, provider } = await setUp(t)
  const lists = provider.watch!(NEVER)[Symbol.asyncIterator]()
  t.equal((await lists.next()).done, false)
  await lists.return?.()
  t.ok(await waitFor(() => consul.connections === 0))
})

t.test('a watch that is told to end before it begins asks nothing', async t => {
  const { consul, provider } = await setUp(t)
  for await (const list of provider.watch!(AbortSignal.abort())) t.fail(`a list of ${list.length}`)
  t.equal(consul.questions.length, 0)
})

t.test('a watch that is told to end while it waits for its turn ends', async t => {
  const { consul } = await setUp(t)
  consul.twist.headers['X-Consul-Index'] = '0'
  const sleeping: AbortSignal[] = []
  const sleep = async (_ms: number, signal: AbortSignal) => {
    sleeping.push(signal)
    await once(signal, 'abort')
    throw signal.reason
  }
  const follower = follow(t, createConsul(consulConfig({ address: consul.address }), { ...fastTools(), sleep }))
  t.ok(await waitFor(() => sleeping.length === 1))
  await follower.stop()
  t.equal(follower.error, undefined)
  t.ok(await waitFor(() => consul.connections === 0))
})

for (const [what, outage] of [['before the answer', { kind: 'hang' }], ['within the answer', { kind: 'drip', every: 5 }]] as const) {
  t.test(`a resolve that is given up ${what} rejects with the reason, and leaves no connection`, async t => {
    const { consul, tools } = await setUp(t)
    await consul.outage(outage)
    let looks = 0
    const provider = createConsul(consulConfig({ address: consul.address }), { ...tools, now: () => { looks++; return 0 } })
    const before = looks
    const controller = new AbortController()
    const answer = provider.resolve(controller.signal)
    answer.catch(() => {})
    t.ok(await waitFor(() => consul.questions.length === 1))
    // it looks at the clock with every piece of the answer
    if (outage.kind === 'drip') t.ok(await waitFor(() => looks > before + 5))
    const reason = new Error('enough')
    controller.abort(reason)
    t.equal(await answer.then(() => undefined, error => error), reason)
    t.ok(await waitFor(() => consul.connections === 0))
  })
}

t.test('a signal is not held on to', async t => {
  const { provider, consul, isHeld } = await setUp(t)
  const controller = new AbortController()
  for (let round = 0; round < 5; round++) await provider.resolve(controller.signal)
  t.equal(getEventListeners(controller.signal, 'abort').length, 0)
  const running = (async () => { for await (const list of provider.watch!(controller.signal)) t.fail(`a list of ${list.length}`) })()
  t.ok(await waitFor(isHeld))
  for (let round = 0; round < 5; round++) {
    const before = consul.questions.length
    consul.touch('web')
    t.ok(await waitFor(() => consul.questions.length > before && isHeld()))
  }
  t.equal(getEventListeners(controller.signal, 'abort').length, 1)
  controller.abort()
  await running
  t.equal(getEventListeners(controller.signal, 'abort').length, 0)
})

t.test('nothing of it keeps a process alive', async t => {
  const { consul, provider, isHeld } = await setUp(t)
  const resources = () => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap' || name === 'TLSWrap').length
  const before = resources()
  for (let round = 0; round < 20; round++) {
    await provider.resolve(NEVER)
    const follower = follow(t, provider)
    t.ok(await waitFor(isHeld))
    await follower.stop()
  }
  t.ok(await waitFor(() => consul.connections === 0 && resources() <= before))
})

t.test('a question is one connection, whatever the number of answers', async t => {
  const { consul, provider, isHeld } = await setUp(t)
  follow(t, provider)
  for (let round = 0; round < 5; round++) {
    t.ok(await waitFor(isHeld))
    const before = consul.questions.length
    consul.touch('web')
    t.ok(await waitFor(() => consul.questions.length > before))
    t.equal(consul.connections, 1)
  }
})

t.test('a port that nobody listens on', async t => {
  // taken and given back, so that nobody is there
  const { consul } = await setUp(t)
  await consul.outage({ kind: 'refuse' })
  const { port } = new URL(consul.address)
  await new Promise<void>(resolve => { connect(Number(port), '127.0.0.1').on('error', () => { resolve() }) })
  await t.rejects(createConsul(consulConfig({ address: `http://localhost:${port}` }), fastTools()).resolve(NEVER), { message: /it refused the connection$/ })
})
