/**
 * WIRE-CONTRACT, backpressure: a slow peer pauses the other side, and a body of any size costs little memory.
 *
 * The gateway runs in a process of its own, whose memory is what counts. The larger sizes are the benchmark's.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { forkGateway, get, respond, rssGrowth, sleep, waitFor } from '../helper.ts'

const MB = 1024 * 1024
/** What kernel buffers of two loopback connections and the gateway's own may hold while the reader sleeps. */
const BUFFERS = 64 * MB
/** Memory the gateway may take for a body of any size (the contract's figure). */
const MEMORY = 64 * MB
const TOTAL = 256 * MB
/**
 * V8 of Node 22 and later collects 64 KB buffers only after about 64 MB of them, whatever the size of the body: there
 * it has to before each look at what is held. The bound is that from a cold start.
 */
const LAZY_COLLECTOR = Number(process.versions.node.split('.')[0]) >= 22
const PIECE = Buffer.alloc(64 * 1024, 0x61)

// ---------------------------------------------------------------- backpressure

/** Writes pieces as fast as the peer takes them; says how many bytes have been handed over. */
function pour (socket: Socket, total: number, end: Buffer = Buffer.alloc(0)): { readonly written: number } {
  let written = 0
  const more = (): void => {
    while (written < total && !socket.destroyed) {
      written += PIECE.length
      if (!socket.write(PIECE)) {
        socket.once('drain', more)
        return
      }
    }
    if (!socket.destroyed && end.length > 0) socket.write(end)
  }
  more()
  return { get written () { return written - socket.writableLength } }
}

/** A bare server: hands out its sockets once the head of a request has come. */
async function bareServer (t: Test, onHead: (socket: Socket, rest: Buffer) => void): Promise<number> {
  const sockets: Socket[] = []
  const server = createServer({ noDelay: true }, socket => {
    sockets.push(socket)
    socket.on('error', () => {})
    let head = Buffer.alloc(0)
    const read = (piece: Buffer): void => {
      head = Buffer.concat([head, piece])
      const at = head.indexOf('\r\n\r\n')
      if (at < 0) return
      socket.off('data', read)
      onHead(socket, head.subarray(at + 4))
    }
    socket.on('data', read)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => { server.close(resolve) })
  })
  return (server.address() as AddressInfo).port
}

async function bareClient (t: Test, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => { socket.destroy() })
  await new Promise(resolve => { socket.once('connect', resolve) })
  return socket
}

/** The figure has stopped growing. */
async function settled (read: () => number, ms = 5000): Promise<number> {
  const end = performance.now() + ms
  let last = -1
  let since = performance.now()
  while (performance.now() < end && performance.now() - since < 200) {
    if (read() !== last) {
      last = read()
      since = performance.now()
    }
    await sleep(10)
  }
  return last
}

for (const framing of ['length', 'chunked', 'close'] as const) {
  t.test(`a slow reader of an answer (${framing}) pauses the upstream, and memory stays bounded`, async t => {
    let poured: { readonly written: number } | undefined
    const upstream = await bareServer(t, socket => {
      if (framing === 'chunked') {
        // one chunk as large as the body: the bytes within are the same to pour
        socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${TOTAL.toString(16)}\r\n`)
        poured = pour(socket, TOTAL, Buffer.from('\r\n0\r\n\r\n'))
      } else {
        socket.write(framing === 'length' ? `HTTP/1.1 200 OK\r\nContent-Length: ${TOTAL}\r\n\r\n` : 'HTTP/1.1 200 OK\r\n\r\n')
        poured = pour(socket, TOTAL)
        if (framing === 'close') {
          const timer = setInterval(() => { if ((poured?.written ?? 0) >= TOTAL) { clearInterval(timer); socket.end() } }, 20)
          timer.unref()
        }
      }
    })
    const gateway = await forkGateway(t, { backends: { up: `http://127.0.0.1:${upstream}` } })
    await gateway.rss(true)
    const client = await bareClient(t, gateway.port)
    client.pause()
    client.write(get('/', { Connection: 'close' }))
    const growth = await rssGrowth(async () => {
      const stuck = await settled(() => poured?.written ?? 0)
      t.ok(stuck > 0 && stuck < BUFFERS, 'while the client does not read, the upstream cannot write', { stuck })
      let received = 0
      client.on('data', piece => { received += piece.length })
      client.resume()
      t.ok(await waitFor(() => received >= TOTAL, 20_000), 'then everything arrives', { received })
    }, async () => await gateway.rss(LAZY_COLLECTOR))
    t.ok(growth < MEMORY, `within 64 MB of extra memory: ${Math.round(growth / MB)}`)
  })
}

for (const framing of ['length', 'chunked'] as const) {
  t.test(`a slow upstream pauses an upload (${framing}), and memory stays bounded`, async t => {
    let received = 0
    let upstreamSocket: Socket | undefined
    const upstream = await bareServer(t, (socket, rest) => {
      upstreamSocket = socket
      received += rest.length
      socket.on('data', piece => {
        received += piece.length
        if (received >= TOTAL && !socket.writableEnded) socket.end(respond(200, { Connection: 'close' }, 'ok'))
      })
      socket.pause()
    })
    const gateway = await forkGateway(t, { backends: { up: `http://127.0.0.1:${upstream}` } })
    await gateway.rss(true)
    const client = await bareClient(t, gateway.port)
    let answer = ''
    client.on('data', piece => { answer += piece.toString('latin1') })
    client.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing === 'length' ? `Content-Length: ${TOTAL}` : 'Transfer-Encoding: chunked'}\r\n\r\n`)
    if (framing === 'chunked') client.write(`${TOTAL.toString(16)}\r\n`)
    const poured = pour(client, TOTAL, Buffer.from(framing === 'length' ? '' : '\r\n0\r\n\r\n'))
    const growth = await rssGrowth(async () => {
      const stuck = await settled(() => poured.written)
      t.ok(stuck > 0 && stuck < BUFFERS, 'while the upstream does not read, the client cannot write', { stuck })
      upstreamSocket?.resume()
      t.ok(await waitFor(() => answer.includes('ok'), 20_000), 'then everything arrives and is answered', { received, answer })
    }, async () => await gateway.rss(LAZY_COLLECTOR))
    t.ok(growth < MEMORY, `within 64 MB of extra memory: ${Math.round(growth / MB)}`)
  })
}
