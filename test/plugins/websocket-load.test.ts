/** Many WebSockets at once. */
import t from 'tap'
import { createHash } from 'node:crypto'
import { sleep, startGateway, waitFor, wsBackend } from '../helper.ts'
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
