/**
 * WIRE-CONTRACT, streaming: clients that leave, early answers, first bytes.
 */
import t from 'tap'
import type { Test } from 'tap'
import { FIN, chunk, get, lastChunk, post, rawClient, rawRequest, requestBytes, respond, seededBytes, seededRandom, sleep, startPair, wait, waitFor } from '../helper.ts'
import type { Pair, RawClient, Script, Step } from '../helper.ts'
import { OK, checkAlive, checkHealthy, seen } from './checks.ts'

const MB = 1024 * 1024
const PIECE = Buffer.alloc(64 * 1024, 0x61)

t.test('a slow reader does not slow down the others', async t => {
  const big = seededBytes(8 * MB)
  const pair = await startPair(t, ({ request }) => request.target === '/big' ? respond(200, {}, big) : OK)
  const slow = await Promise.all(Array.from({ length: 10 }, async () => await rawClient(t, pair.port)))
  for (const client of slow) {
    client.socket.pause()
    await client.send(get('/big'))
  }
  t.ok(await seen(pair, 10), 'all are being served')
  for (let n = 0; n < 5; n++) await checkHealthy(t, pair)
  const other = await rawClient(t, pair.port)
  const response = await other.exchange(get('/big'), { ms: 10_000 })
  t.ok(response.body.equals(big), 'a fast reader gets the same answer whole')
})

// ---------------------------------------------------------------- early answers

t.test('an upstream that answers while the client uploads: the client gets that answer', async t => {
  const early = respond(413, { 'X-Early': '1' }, 'too much')
  const variants: Array<[string, Script, 'head' | 'complete']> = [
    ['and stops reading', ({ socket }) => { socket.pause(); return early }, 'head'],
    ['and closes', [respond(413, { 'X-Early': '1', Connection: 'close' }, 'too much'), FIN], 'head'],
    ['and keeps the connection', early, 'head'],
    ['a little later', [wait(50), early], 'head']
  ]
  for (const [name, script, at] of variants) {
    for (const framing of ['length', 'chunked'] as const) {
      const pair = await startPair(t, script, { at })
      const client = await rawClient(t, pair.port)
      await client.send([framing === 'length' ? requestBytes('POST', '/', { headers: { 'Content-Length': String(50 * MB) } }) : requestBytes('POST', '/', { headers: { 'Transfer-Encoding': 'chunked' } })], ['POST'])
      const answered = new AbortController()
      const upload = (async () => {
        for (let sent = 0; sent < 400 && !answered.signal.aborted && !client.closed; sent++) {
          client.socket.write(framing === 'length' ? PIECE : chunk(PIECE))
          await sleep(2)
        }
      })()
      const response = await client.response(0, { ms: 5000 }).catch((error: Error) => { t.fail(`${name}, ${framing}: ${error.message}`) })
      answered.abort()
      await upload
      t.strictSame([response?.status, response?.text, response?.header('x-early'), response?.complete], [413, 'too much', '1', true], `${name}, ${framing}: that answer, whole`)
      client.destroy()
      pair.upstream.answer(OK)
      await checkHealthy(t, pair)
      t.strictSame(pair.upstream.malformed, [], `${name}, ${framing}: nothing unreadable at the upstream`)
      t.equal(pair.upstream.requests.filter(request => request.target === '/').length, 1, `${name}, ${framing}: never sent twice`)
    }
  }
})

t.test('an early answer to a small finished upload leaves the connections usable', async t => {
  const pair = await startPair(t, respond(413, {}, 'too much'), { at: 'head' })
  const client = await rawClient(t, pair.port)
  for (let n = 0; n < 5; n++) t.equal((await client.exchange(post('/', seededBytes(200_000)))).status, 413, `answer ${n}`)
  pair.upstream.answer(OK)
  await checkAlive(t, client)
  t.strictSame(pair.upstream.malformed, [], 'the upstream can read everything')
})

// ---------------------------------------------------------------- clients that leave

/** Starts something, goes away in the middle, and checks what it left behind. */
async function checkLeaving (t: Test, pair: Pair, name: string, start: (client: RawClient) => Promise<void>, leave: (client: RawClient) => void): Promise<void> {
  const before = pair.upstream.requests.length
  const client = await rawClient(t, pair.port)
  await start(client)
  const reached = await seen(pair, before + 1, 1500)
  t.ok(reached, `${name}: the upstream has it`)
  const connection = pair.upstream.requests[before]?.connection ?? -1
  leave(client)
  const left = performance.now()
  await waitFor(() => pair.upstream.closedAt[connection] !== undefined, 3000)
  const after = (pair.upstream.closedAt[connection] ?? Infinity) - left
  t.ok(after < 1000, `${name}: the upstream's connection is closed within a second`, { after })
  t.equal(pair.upstream.requests.length, before + 1, `${name}: nothing is retried`)
}

const LEAVING: Array<[string, (client: RawClient) => void]> = [
  ['closes', client => { client.destroy() }],
  ['resets', client => { client.resetAndDestroy() }]
]

t.test('a client that leaves frees the upstream within a second, at every stage', async t => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
  const answerStarted = async (client: RawClient): Promise<void> => {
    await client.send(get('/'))
    await waitFor(() => client.responses.length === 1, 2000)
  }
  const bodyStarted = async (client: RawClient): Promise<void> => {
    await client.send(get('/'))
    await waitFor(() => (client.responses[0]?.pieces.length ?? 0) > 0, 2000)
  }
  const stages: Array<[string, Step[], (client: RawClient) => Promise<void>]> = [
    ['before the answer', [], async client => { await client.send(get('/')) }],
    ['before the answer to a POST', [], async client => { await client.send(post('/', 'hello')) }],
    ['before the answer to a HEAD', [], async client => { await client.send(requestBytes('HEAD', '/')) }],
    ['before the answer, HTTP/1.0', [], async client => { await client.send(requestBytes('GET', '/', { version: '1.0' })) }],
    ['within the answer\'s head', ['HTTP/1.1 200 OK\r\nX-A'], async client => { await client.send(get('/')) }],
    ['after 103', ['HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'], async client => { await client.send(get('/')); await waitFor(() => client.informational.length > 0, 1000) }],
    ['after the headers', [respond(200, { 'Content-Length': '100' }, null)], answerStarted],
    ['within a body of known length', [respond(200, { 'Content-Length': '100' }, null), 'half'], bodyStarted],
    ['within a body of chunks', [head, chunk('half')], bodyStarted],
    ['within a body until the end', [respond(200, {}, null), 'half'], bodyStarted],
    ['within an event stream', ['HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n', 'data: 1\n\n'], bodyStarted],
    ['while much is coming', [respond(200, { 'Content-Length': String(20 * MB) }, null), seededBytes(5 * MB)], bodyStarted],
    ['while a backed-up answer is coming', [respond(200, { 'Content-Length': String(50 * MB) }, null), Buffer.alloc(40 * MB)], async client => { client.socket.pause(); await client.send(get('/')); await sleep(60) }]
  ]
  for (const [stage, steps, start] of stages) {
    const pair = await startPair(t, steps)
    for (const [manner, leave] of LEAVING) await checkLeaving(t, pair, `${stage}, ${manner}`, start, leave)
    pair.upstream.answer(OK)
    await checkHealthy(t, pair)
  }
})

t.test('a client that leaves while uploading frees the upstream within a second', async t => {
  const uploads: Array<[string, Step[]]> = [
    ['with a length', [requestBytes('POST', '/', { headers: { 'Content-Length': '1000000' } }), 'half of it']],
    ['in chunks', [requestBytes('POST', '/', { headers: { 'Transfer-Encoding': 'chunked' } }), chunk('half of it')]],
    ['within a chunk', [requestBytes('POST', '/', { headers: { 'Transfer-Encoding': 'chunked' } }), '10\r\nhalf']],
    ['much', [requestBytes('POST', '/', { headers: { 'Content-Length': String(100 * MB) } }), seededBytes(3 * MB)]]
  ]
  for (const [name, steps] of uploads) {
    const pair = await startPair(t, [])
    for (const [manner, leave] of LEAVING) {
      await checkLeaving(t, pair, `${name}, ${manner}`, async client => { await client.send(steps, ['POST']); await sleep(20) }, leave)
    }
    t.notOk(pair.upstream.requests.some(request => request.complete), `${name}: the upstream never takes the half for the whole`)
    pair.upstream.answer(OK)
    await checkHealthy(t, pair)
    const busy = await startPair(t, respond(200, { 'Content-Length': '100' }, null), { at: 'head' })
    await checkLeaving(t, busy, `${name}, the answer has begun`, async client => { await client.send(steps, ['POST']); await waitFor(() => client.responses.length > 0, 1000) }, client => { client.destroy() })
  }
  const stuck = await startPair(t, [], { paused: false, onConnection: socket => { socket.once('data', () => { socket.pause() }) } })
  await checkLeaving(t, stuck, 'while the upstream does not read', async client => { await client.send([requestBytes('POST', '/', { headers: { 'Content-Length': String(100 * MB) } }), Buffer.alloc(30 * MB)], ['POST']); await sleep(50) }, client => {
    client.resetAndDestroy()
    // a paused socket cannot notice; the upstream looks again
    setTimeout(() => { for (const socket of stuck.upstream.sockets) socket.resume() }, 100)
  })
})

t.test('leaving at any moment of a download leaves nothing behind', async t => {
  const random = seededRandom(42)
  const pair = await startPair(t, async ({ play }) => {
    await play(respond(200, { 'Content-Length': '200000' }, null))
    for (let n = 0; n < 10; n++) await play([Buffer.alloc(20_000), wait(1)])
  })
  for (let round = 0; round < 10; round++) {
    const clients = await Promise.all(Array.from({ length: 10 }, async () => await rawClient(t, pair.port)))
    await Promise.all(clients.map(async client => {
      await client.send(get('/'))
      await sleep(random() * 25)
      if (random() < 0.5) client.destroy()
      else client.resetAndDestroy()
    }))
  }
  t.ok(await waitFor(() => pair.upstream.open <= 20, 2000), 'hardly any connection stays', { open: pair.upstream.open })
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
})

async function abandon (t: Test, pair: Pair, count: number, enough: (client: RawClient) => boolean): Promise<void> {
  for (let round = 0; round < count / 100; round++) {
    await Promise.all(Array.from({ length: 100 }, async (_, n) => {
      const client = await rawClient(t, pair.port)
      await client.send(get('/'))
      await waitFor(() => enough(client), 2000)
      if (n % 2 === 0) client.destroy()
      else client.resetAndDestroy()
    }))
  }
}

t.test('1,000 clients that leave before the answer leave the pool free', async t => {
  const pair = await startPair(t, [])
  let waited = 0
  await abandon(t, pair, 1000, () => waited++ % 7 === 6)
  const abandoned = [...pair.upstream.requests]
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
  t.ok(await pair.upstream.dropped(abandoned, 3000), 'the connections they used are closed')
  const results = await Promise.all(Array.from({ length: 150 }, async () => await rawRequest(pair.port, get('/'))))
  t.ok(results.every(result => result.status === 200), 'a full house is served at once')
})

t.test('1,000 clients that leave within a large answer leave the pool free', async t => {
  const pair = await startPair(t, [respond(200, { 'Content-Length': '1000000' }, null), Buffer.alloc(200_000)])
  await abandon(t, pair, 1000, client => (client.responses[0]?.pieces.length ?? 0) > 0)
  const abandoned = [...pair.upstream.requests]
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
  t.ok(await pair.upstream.dropped(abandoned, 3000), 'the connections they used are closed')
  const results = await Promise.all(Array.from({ length: 150 }, async () => await rawRequest(pair.port, get('/'))))
  t.ok(results.every(result => result.status === 200), 'a full house is served at once')
})

t.test('clients that leave while they wait for a connection never reach the upstream', async t => {
  const pair = await startPair(t, [], { backend: { pool: { connections: 2 } } })
  const clients = await Promise.all(Array.from({ length: 12 }, async () => await rawClient(t, pair.port)))
  for (const client of clients) await client.send(get('/'))
  t.ok(await seen(pair, 2), 'two are with the upstream')
  await sleep(30)
  const reached = pair.upstream.requests.length
  for (const client of clients.slice(2).concat(clients.slice(0, 2))) client.destroy()
  pair.upstream.answer(OK)
  await sleep(100)
  t.ok(pair.upstream.requests.length <= reached + 2, 'the waiting ones are forgotten', { reached, now: pair.upstream.requests.length })
  await checkHealthy(t, pair)
})

t.test('clients that left count nothing against the upstream', async t => {
  const pair = await startPair(t, [])
  for (let n = 0; n < 30; n++) {
    const client = await rawClient(t, pair.port)
    await client.send(get('/'))
    await seen(pair, n + 1, 500)
    client.destroy()
  }
  pair.upstream.answer(OK)
  for (let n = 0; n < 3; n++) await checkHealthy(t, pair)
})

// ---------------------------------------------------------------- first bytes

/** The middle one, so that one slow moment of a shared machine does not decide. */
function median (figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Infinity
}

t.test('each piece of a dripping answer reaches the client within 50 ms of the upstream\'s', async t => {
  const heads: Array<[string, string, (piece: string) => Buffer, Buffer]> = [
    ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', chunk, lastChunk()],
    ['events', 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n', chunk, lastChunk()],
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\n', piece => Buffer.from(piece), Buffer.alloc(0)],
    ['the end of the connection', 'HTTP/1.1 200 OK\r\n\r\n', piece => Buffer.from(piece), Buffer.alloc(0)]
  ]
  for (const [name, head, frame, end] of heads) {
    const times: number[] = []
    let headAt = 0
    const pair = await startPair(t, async ({ socket, play }) => {
      headAt = performance.now()
      await play(head)
      for (let n = 0; n < 11; n++) {
        await sleep(25)
        times.push(performance.now())
        await play(frame('data\n'))
      }
      if (end.length > 0) await play(end)
      else socket.end()
    })
    await checkHealthyDrip(t, pair)
    times.length = 0
    const client = await rawClient(t, pair.port)
    const response = await client.exchange(get('/'))
    t.strictSame([response.text.length, response.complete], [55, true], `${name}: whole`)
    t.ok(response.headAt - headAt < 500 && response.headAt < (times[3] ?? 0), `${name}: the headers do not wait for the body`, { after: response.headAt - headAt })
    t.ok(response.pieces.length >= 6, `${name}: not gathered`, { pieces: response.pieces.length })
    const delays = times.map(sent => Math.min(...response.pieces.map(piece => piece.at - sent).filter(delay => delay >= 0)))
    t.ok(median(delays) <= 50, `${name}: within 50 ms`, { delays })
  }
})

/** The first exchange of a process pays for compiling; it is not measured. */
async function checkHealthyDrip (t: Test, pair: Pair): Promise<void> {
  t.equal((await rawRequest(pair.port, get('/'))).status, 200, 'warm')
}

t.test('the headers of an answer do not wait for its first byte', async t => {
  const pair = await startPair(t, ['HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n', wait(400), 'data: 1\n\n', FIN])
  const client = await rawClient(t, pair.port)
  await client.send(get('/'))
  const started = performance.now()
  t.ok(await waitFor(() => client.responses.length === 1, 2000), 'the headers come')
  t.ok(performance.now() - started < 350, 'before the body')
  t.equal((await client.response(0)).text, 'data: 1\n\n', 'which follows')
})

t.test('each piece of a dripping upload reaches the upstream at once', async t => {
  const pair = await startPair(t, OK)
  for (const framing of ['length', 'chunked'] as const) {
    const before = pair.upstream.requests.length
    const client = await rawClient(t, pair.port)
    await client.send(requestBytes('POST', '/', { headers: framing === 'length' ? { 'Content-Length': '50' } : { 'Transfer-Encoding': 'chunked' } }))
    const delays: number[] = []
    for (let n = 1; n <= 10; n++) {
      const sent = performance.now()
      await client.send(framing === 'length' ? 'data\n' : chunk('data\n'), [])
      t.ok(await waitFor(() => (pair.upstream.requests[before]?.size ?? 0) === n * 5, 2000), `${framing}: piece ${n} arrives`)
      delays.push(performance.now() - sent)
    }
    if (framing === 'chunked') await client.send(lastChunk(), [])
    t.equal((await client.response(0)).status, 200, `${framing}: answered`)
    t.ok(median(delays) <= 50, `${framing}: within 50 ms`, { delays })
  }
})
