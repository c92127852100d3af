/** Readers of WebSockets that are too slow: the sender waits, and nothing piles up between them. */
import t from 'tap'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { forkGateway, handshake, rawUpstream, rssGrowth, seededBytes, sleep, startGateway, switching, waitFor, wsFrame } from '../helper.ts'

/** V8 of Node 22 and later collects 64 KB buffers only after about 64 MB of them: there it has to before each look at what is held. */
const LAZY_COLLECTOR = Number(process.versions.node.split('.')[0]) >= 22

/** Until more may be written, or never will be. */
function drained (socket: Socket): Promise<void> {
  return new Promise(resolve => {
    const go = (): void => {
      socket.off('drain', go).off('close', go)
      resolve()
    }
    socket.on('drain', go).on('close', go)
  })
}

for (const [name, websocket, total] of [['tunnel', true, 1024], ['tunnel with maxPayload', { maxPayload: '100kb' }, 256]] as const) {
  t.test(`a flood of ${total} MB to a reader that stops and starts, ${name}`, { timeout: 60_000 }, async (t) => {
    const message = wsFrame(2, seededBytes(65_536))
    const upstream = await rawUpstream(t, async ({ socket, request }) => {
      socket.write(switching())
      for (let left = Number(request.target.slice(1)); left > 0 && !socket.destroyed; left -= 65_536) {
        if (!socket.write(message)) await drained(socket)
      }
    })
    const gateway = await forkGateway(t, { backends: { up: upstream.url }, routes: [{ path: '/:bytes', proxy: { backend: 'up', websocket } }] })

    async function read (megabytes: number): Promise<number> {
      const socket = connect(gateway.port, '127.0.0.1')
      t.teardown(() => { socket.destroy() })
      const count = megabytes * 16
      let received = 0
      socket.on('data', piece => { received += piece.length }).pause()
      socket.write(handshake(`/${megabytes * 1024 * 1024}`))
      await sleep(300)
      while (received < count * message.length && !socket.destroyed) {
        socket.resume()
        await sleep(200)
        socket.pause()
        await sleep(20)
      }
      return received - count * message.length
    }

    await read(16)
    await gateway.rss(true)
    let over = -1
    const growth = await rssGrowth(async () => { over = await read(total) }, async () => await gateway.rss(LAZY_COLLECTOR))
    t.ok(over > 0 && over < 1000, 'all of it, and the head')
    t.ok(growth < 50_000_000, `${Math.round(growth / 1e6)} MB more`)
  })
}

for (const [name, websocket] of [['tunnel', true], ['relay', { onMessage: async () => { await sleep(0) } }]] as const) {
  t.test(`a reader that stops stops the sender, ${name}`, async (t) => {
    const message = wsFrame(2, seededBytes(65_536))
    let written = 0
    const upstream = await rawUpstream(t, async ({ socket }) => {
      socket.write(switching())
      for (; written < 100_000_000 && !socket.destroyed; written += message.length) {
        if (!socket.write(message)) await drained(socket)
      }
    })
    const { port } = await startGateway(t, { shutdown: { timeout: 100 }, backends: { up: upstream.url } }, app => {
      app.get('/ws', { proxy: { backend: 'up', websocket } }, app.reverseproxy.handler)
    })
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    socket.pause()
    socket.write(handshake('/ws'))
    await waitFor(() => written > 0)
    for (let last = -1; last !== written;) {
      last = written
      await sleep(300)
    }
    t.ok(written < 30_000_000, `${written} bytes have left: the buffers of two kernels`)
    let received = 0
    socket.on('data', piece => { received += piece.length }).resume()
    t.ok(await waitFor(() => received > 60_000_000, 20_000), 'and it goes on')
  })
}
