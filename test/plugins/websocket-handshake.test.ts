/** Handshakes that are not right, on both sides: the status says so, nothing crashes, nothing is left open. */
import t from 'tap'
import { KEY, acceptFor, wsFrame, get, handshake, post, rawClient, RESET, startPair, switching, wait, waitFor } from '../helper.ts'
import type { Configure } from '../helper.ts'

const configure: Configure = app => {
  app.route({ method: ['GET', 'POST'], url: '/ws/*', proxy: { backend: 'up', websocket: true }, handler: app.reverseproxy.handler })
  app.get('/local', async () => 'local')
}
const plain = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain'

/** A client's handshake → its status. */
const CLIENT: ReadonlyArray<readonly [name: string, bytes: Buffer, status: number, more?: RegExp]> = [
  ['no key', handshake('/ws/', { 'Sec-WebSocket-Key': undefined }), 400, /Sec-WebSocket-Key/],
  ['an empty key', handshake('/ws/', { 'Sec-WebSocket-Key': '' }), 400],
  ['a short key', handshake('/ws/', { 'Sec-WebSocket-Key': 'YWJj' }), 400],
  ['a long key', handshake('/ws/', { 'Sec-WebSocket-Key': Buffer.alloc(17).toString('base64') }), 400],
  ['a key that is no base64', handshake('/ws/', { 'Sec-WebSocket-Key': '!'.repeat(22) + '==' }), 400],
  ['bits after the 16th byte', handshake('/ws/', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZR==' }), 400],
  ['two keys', handshake('/ws/', {}, [['Sec-WebSocket-Key', KEY]]), 400],
  ['no version', handshake('/ws/', { 'Sec-WebSocket-Version': undefined }), 400],
  ['version 8', handshake('/ws/', { 'Sec-WebSocket-Version': '8' }), 426, /\r\nsec-websocket-version: 13\r\n(?:.*\r\n)*upgrade: websocket\r\n/i],
  ['version 13.0', handshake('/ws/', { 'Sec-WebSocket-Version': '13.0' }), 426],
  ['two versions', handshake('/ws/', { 'Sec-WebSocket-Version': '13, 8' }), 426],
  ['no Connection', handshake('/ws/', { Connection: undefined }), 400],
  ['another Connection', handshake('/ws/', { Connection: 'keep-alive' }), 400],
  ['HTTP/1.0', Buffer.from(handshake('/ws/').toString('latin1').replace('HTTP/1.1', 'HTTP/1.0'), 'latin1'), 400],
  ['POST', Buffer.from(handshake('/ws/').toString('latin1').replace('GET', 'POST'), 'latin1'), 400],
  ['a body', handshake('/ws/', {}, [['Content-Length', '3']]), 400],
  ['a chunked body', handshake('/ws/', {}, [['Transfer-Encoding', 'chunked']]), 400],
  ['an empty subprotocol', handshake('/ws/', { 'Sec-WebSocket-Protocol': 'a,,b' }), 400],
  ['a subprotocol with a space', handshake('/ws/', { 'Sec-WebSocket-Protocol': 'a b' }), 400],
  ['a subprotocol twice', handshake('/ws/', { 'Sec-WebSocket-Protocol': 'a, b, a' }), 400],
  ['a malformed extension', handshake('/ws/', { 'Sec-WebSocket-Extensions': 'permessage-deflate; =1' }), 400],
  ['an empty extension', handshake('/ws/', { 'Sec-WebSocket-Extensions': ',' }), 400],
  ['an open quotation', handshake('/ws/', { 'Sec-WebSocket-Extensions': 'x; a="1' }), 400],
  ['a path that climbs', handshake('/ws/..%2fx'), 400],
  ['a repeated Host', handshake('/ws/', {}, [['Host', 'b']]), 400]
]

t.test('a malformed handshake is refused before the backend hears of it', async (t) => {
  const { port, upstream } = await startPair(t, plain, { configure })
  for (const [name, bytes, status, more] of CLIENT) {
    const client = await rawClient(t, port)
    const response = await client.exchange(bytes)
    t.equal(response.status, status, name)
    if (more !== undefined) t.match(client.raw.toString('latin1'), more, name)
    t.ok(await client.closes(), `${name}: the connection ends`)
  }
  t.equal(upstream.requests.length, 0)
})

t.test('handshakes as browsers and libraries write them pass', async (t) => {
  const { port } = await startPair(t, [switching()], { configure })
  const good = {
    'a Connection with more in it': handshake('/ws/', { Connection: 'keep-alive, UPGRADE' }),
    'Upgrade in another case': handshake('/ws/', { Upgrade: 'WebSocket' }),
    'a body of no length': handshake('/ws/', {}, [['Content-Length', '0']]),
    extensions: handshake('/ws/', { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits, x-a; b="c"; d=1' })
  }
  for (const [name, bytes] of Object.entries(good)) {
    const client = await rawClient(t, port)
    client.send(bytes)
    t.ok(await waitFor(() => client.raw.includes('\r\n\r\n')), name)
    t.match(client.raw.toString('latin1'), /^HTTP\/1\.1 101 /, name)
    client.resetAndDestroy()
  }
})

/** A backend's answer to a handshake that offers the subprotocol `chat` and permessage-deflate. */
const BACKEND: ReadonlyArray<readonly [name: string, steps: string | ReadonlyArray<string | Buffer>]> = [
  ['no Accept', switching({ 'Sec-WebSocket-Accept': undefined })],
  ['the Accept of another key', switching({ 'Sec-WebSocket-Accept': acceptFor('x') })],
  ['another Upgrade', switching({ Upgrade: 'h2c' })],
  ['no Upgrade', switching({ Upgrade: undefined })],
  ['no Connection', switching({ Connection: undefined })],
  ['another Connection', switching({ Connection: 'close' })],
  ['a subprotocol that was not offered', switching({ 'Sec-WebSocket-Protocol': 'other' })],
  ['a subprotocol in another case', switching({ 'Sec-WebSocket-Protocol': 'Chat' })],
  ['two subprotocols', switching({ 'Sec-WebSocket-Protocol': 'chat, chat' })],
  ['an extension that was not offered', switching({ 'Sec-WebSocket-Extensions': 'x-other' })],
  ['an extension twice', switching({ 'Sec-WebSocket-Extensions': 'permessage-deflate, permessage-deflate' })],
  ['a window that was not offered', switching({ 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits=10' })],
  ['a malformed extension', switching({ 'Sec-WebSocket-Extensions': ';' })],
  ['a status line that is none', 'HTTP/1.1 banana\r\n\r\n'],
  ['another protocol', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
  ['half a head', ['HTTP/1.1 101 Switching']]
]

t.test('a backend\'s answer that is no handshake is a 502, and its connection is closed', async (t) => {
  for (const [name, steps] of BACKEND) {
    const { port, upstream } = await startPair(t, name === 'half a head' ? [...steps, { act: 'fin' }] : steps, { configure })
    const client = await rawClient(t, port)
    const response = await client.exchange(handshake('/ws/', { 'Sec-WebSocket-Protocol': 'chat', 'Sec-WebSocket-Extensions': 'permessage-deflate' }))
    t.equal(response.status, 502, name)
    t.ok(await upstream.dropped(), name)
    t.ok(await client.closes(), name)
    client.destroy()
  }
})

t.test('a backend that takes the wish for nothing is an answer like any other', async (t) => {
  const { port } = await startPair(t, plain, { configure })
  const client = await rawClient(t, port)
  const response = await client.exchange(handshake('/ws/'))
  t.equal(response.status, 200)
  t.equal(response.text, 'plain')
})

t.test('a silent backend is a 504, one that hangs up a 502', async (t) => {
  const silent = await startPair(t, [], { configure, backend: { timeout: { headers: 100 } } })
  const client = await rawClient(t, silent.port)
  t.equal((await client.exchange(handshake('/ws/'))).status, 504)
  t.ok(await silent.upstream.dropped())
  const rude = await startPair(t, RESET, { configure })
  const other = await rawClient(t, rude.port)
  t.equal((await other.exchange(handshake('/ws/'))).status, 502)
})

t.test('the total time of a call ends with the handshake', async (t) => {
  const { port } = await startPair(t, [switching(), wait(300), wsFrame(1, 'late')], { configure, backend: { timeout: { total: 150, idle: 100 } } })
  const client = await rawClient(t, port)
  client.send(handshake('/ws/'))
  t.ok(await waitFor(() => client.raw.includes('late')))
})

t.test('clients that go away during the handshake, 100 of each kind', async (t) => {
  const { port, upstream, app } = await startPair(t, [wait(20), switching()], { configure })
  const kinds = {
    'with a reset': async () => { const client = await rawClient(t, port); await client.send(handshake('/ws/')); client.resetAndDestroy() },
    'with a FIN': async () => { const client = await rawClient(t, port); await client.send(handshake('/ws/')); client.destroy() },
    'half-closed': async () => { const client = await rawClient(t, port); await client.send(handshake('/ws/')); client.socket.end() },
    'when it is half sent': async () => { const client = await rawClient(t, port); await client.send(handshake('/ws/').subarray(0, 60)); client.resetAndDestroy() },
    'just as it is answered': async () => { const client = await rawClient(t, port); await client.send([handshake('/ws/'), wait(20)]); client.resetAndDestroy() }
  }
  for (const [name, kind] of Object.entries(kinds)) {
    await Promise.all(Array.from({ length: 100 }, kind))
    t.ok(await waitFor(() => app.reverseproxy.backends.get('up')!.targets[0]!.inflight === 0, 5000), name)
    t.ok(await upstream.dropped(), name)
  }
  t.equal(app.reverseproxy.websockets.size, 0)
  const client = await rawClient(t, port)
  client.send(handshake('/ws/'))
  t.ok(await waitFor(() => client.raw.includes('101'), 10_000), 'and the next one is served')
})

t.test('backends that reset during the handshake, 100 times', async (t) => {
  const { port, app } = await startPair(t, ({ nth }) => nth % 2 === 0 ? RESET : [switching(), RESET], { configure })
  const statuses = await Promise.all(Array.from({ length: 100 }, async () => {
    const client = await rawClient(t, port)
    client.send(handshake('/ws/'))
    await client.closes()
    return client.responses[0]?.status
  }))
  t.ok(statuses.every(status => status === 502 || status === 101), JSON.stringify(statuses))
  t.ok(await waitFor(() => app.reverseproxy.backends.get('up')!.targets[0]!.inflight === 0))
})

t.test('upgrades to other places, 100 times each', async (t) => {
  const { port } = await startPair(t, plain, { configure })
  for (const [bytes, status] of [[handshake('/local'), 200], [handshake('/nowhere'), 404], [post('/ws/', 'x', { Connection: 'Upgrade', Upgrade: 'tls/1.0' }), 200], [get('/ws/', { Connection: 'Upgrade', Upgrade: 'h2c' }), 200]] as const) {
    const statuses = await Promise.all(Array.from({ length: 100 }, async () => {
      const client = await rawClient(t, port)
      const { status } = await client.exchange(bytes)
      client.destroy()
      return status
    }))
    t.same([...new Set(statuses)], [status])
  }
})
