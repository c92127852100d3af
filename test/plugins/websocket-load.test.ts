/** Many WebSockets, and readers that are too slow. */
import t from 'tap'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { forkGateway, wsFrame, handshake, rawUpstream, rssGrowth, seededBytes, sleep, startGateway, switching, waitFor, wsBackend } from '../helper.ts'
import { WebSocket } from 'ws'

const SOCKETS = 1_000
const MESSAGES = 100

t.test('1,000 sockets with 100 messages each way: none lost, none out of order', { timeout: 60_000 }, async (t) => {
  const backend = await wsBackend(t)
  const { port, app } = await startGateway(t, { backends: { up: { url: backend.url, pool: { connections: 2000 } } } }, app => {
    app.get('/ws/:id', { proxy: { backend: 'up', websocket: true } }, app.reverseproxy.handler)
  })

  /** What socket `id` sends as message `n`: of different lengths, text and binary. */
  const messageOf = (id: number, n: number): Buffer => Buffer.from(`${id}:${n}:`.padEnd(8 + ((id * 31 + n * 7) % 300), 'x'))
  const wrong: string[] = []

  function talk (id: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/${id}`, { perMessageDeflate: false })
      const [sent, received] = [createHash('md5'), createHash('md5')]
      let n = 0
      const send = (): void => {
        // five under way at a time
        for (const end = Math.min(MESSAGES, n + 5); n < end; n++) {
          const message = messageOf(id, n)
          sent.update(message)
          socket.send(message, { binary: n % 2 === 0 })
        }
      }
      let back = 0
      socket.on('open', send)
      socket.on('message', (data: Buffer, binary: boolean) => {
        received.update(data)
        if (binary !== (back % 2 === 0) || !data.equals(messageOf(id, back))) wrong.push(`${id}:${back}`)
        if (++back === MESSAGES) socket.close(1000)
        else if (back % 5 === 0) send()
      })
      socket.on('close', code => {
        if (back !== MESSAGES || code !== 1000 || sent.digest('hex') !== received.digest('hex')) wrong.push(`${id} ended with ${code} after ${back}`)
        resolve()
      })
      socket.on('error', reject)
    })
  }

  const startedAt = performance.now()
  const talks: Array<Promise<void>> = []
  for (let from = 0; from < SOCKETS; from += 250) {
    // not a thousand handshakes at once: kernels have short queues
    const some = Array.from({ length: 250 }, (_, i) => talk(from + i))
    if (from < SOCKETS - 250) await sleep(20)
    talks.push(...some)
  }
  await Promise.all(talks)
  t.same(wrong.slice(0, 5), [])
  t.ok(performance.now() - startedAt < 30_000, `${performance.now() - startedAt} ms`)
  t.equal(backend.requests.length, SOCKETS)
  t.ok(await waitFor(() => app.reverseproxy.websockets.size === 0 && app.reverseproxy.backends.get('up')!.targets[0]!.inflight === 0))
})

for (const [name, websocket, total] of [['tunnel', true, 1024], ['tunnel with maxPayload', { maxPayload: '100kb' }, 256]] as const) {
  t.test(`a flood of ${total} MB to a reader that stops and starts, ${name}`, { timeout: 60_000 }, async (t) => {
    const message = wsFrame(2, seededBytes(65_536))
    const count = total * 16
    const upstream = await rawUpstream(t, async ({ socket }) => {
      socket.write(switching())
      for (let i = 0; i < count; i++) if (!socket.write(message)) await new Promise(resolve => { socket.once('drain', resolve) })
    })
    const gateway = await forkGateway(t, { backends: { up: upstream.url }, routes: [{ path: '/ws', proxy: { backend: 'up', websocket } }] })
    const socket = connect(gateway.port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    let received = 0
    const growth = await rssGrowth(async () => {
      socket.write(handshake('/ws'))
      socket.on('data', piece => { received += piece.length })
      socket.pause()
      await sleep(500)
      while (received < count * message.length) {
        socket.resume()
        await sleep(200)
        socket.pause()
        await sleep(20)
        if (socket.destroyed) break
      }
    }, gateway.rss)
    t.ok(received >= count * message.length, `${received} bytes`)
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
        if (!socket.write(message)) await new Promise(resolve => { socket.once('drain', resolve).once('close', resolve) })
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
    socket.on('data', piece => { received += piece.length })
    t.ok(await waitFor(() => received > 60_000_000, 20_000), 'and it goes on')
  })
}
