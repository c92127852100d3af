/**
 * 100 configurations one after the other, under load and with 200 WebSockets open: no request fails, no socket is closed.
 *
 * Each configuration has other targets, other routes and other headers than the one before; one route and its backend stay.
 */
import t from 'tap'
import { Agent, request } from 'undici'
import { startGateway } from '../../cli/serving/gateway.ts'
import { parseConfigText } from '../../lib/config-file.ts'
import { httpUpstream, seededRandom, waitFor, wsBackend, wsClient } from '../helper.ts'

const RELOADS = 100
const SOCKETS = 200
const CLIENTS = 8

t.setTimeout(120_000)

t.test('100 reloads under load, with 200 WebSockets', async t => {
  const sockets = await wsBackend(t)
  const names = ['a', 'b', 'c', 'd']
  const ups = await Promise.all(names.map(async name => await httpUpstream(t, (incoming, response) => {
    incoming.resume().on('end', () => {
      // some are still being answered when the next configuration comes
      setTimeout(() => { response.setHeader('content-type', 'application/json').end(JSON.stringify({ [name]: incoming.url })) }, incoming.url === '/slow' ? 30 : 0)
    })
  })))
  const text = (round: number): string => {
    const [one, other] = [ups[round % 4]!, ups[(round + 1) % 4]!]
    return `server: { host: 127.0.0.1, port: 0, logger: silent }
backends:
  live: ${sockets.url}
  up: { targets: [${one.url}, ${other.url}], timeout: ${5 + round % 2}s }
  extra${round % 3}: ${ups[round % 4]!.url}
headers: { response: { set: { x-round: '${round}' } } }
routes:
  - { path: /ws, proxy: { backend: live, websocket: true } }
  - { path: /up/*, proxy: { backend: up, rewrite: { stripPrefix: /up } } }
  - { path: /extra, proxy: { backend: extra${round % 3}, rewrite: { template: / } } }
  - { path: /both, composite: { parts: { one: { backend: up, path: /one }, two: { backend: extra${round % 3}, path: /two } } } }
  - { path: /round${round}, proxy: up }
`
  }
  let round = 0
  const gateway = await startGateway(async () => parseConfigText(text(round), { path: 'gateway.yaml' }))
  t.teardown(async () => { await gateway.close() })
  const origin = `http://127.0.0.1:${gateway.port}`

  const clients = await Promise.all(Array.from({ length: SOCKETS }, async () => await wsClient(t, `${origin}/ws`)))

  const random = seededRandom(7)
  const agent = new Agent({ connections: CLIENTS, pipelining: 1 })
  t.teardown(async () => { await agent.close() })
  const failures: string[] = []
  let answered = 0
  const done = new AbortController()
  const load = Array.from({ length: CLIENTS }, async () => {
    while (!done.signal.aborted) {
      const path = ['/up/fast', '/up/slow', '/extra', '/both'][Math.floor(random() * 4)]!
      const body = path.startsWith('/up') && random() < 0.3 ? 'x'.repeat(1 + Math.floor(random() * 50_000)) : undefined
      try {
        const answer = await request(`${origin}${path}`, { dispatcher: agent, method: body === undefined ? 'GET' : 'POST', ...body === undefined ? undefined : { body } })
        const said = await answer.body.text()
        if (answer.statusCode !== 200 || answer.headers['x-composite-complete'] === 'false') failures.push(`${path}: ${answer.statusCode} ${said}`)
        answered++
      } catch (error) {
        failures.push(`${path}: ${(error as Error).message}`)
      }
    }
  })

  const outcomes = new Set<string>()
  for (round = 1; round <= RELOADS; round++) {
    outcomes.add((await gateway.reload()).outcome)
    const client = clients[round % SOCKETS]!
    client.socket.send(String(round))
    const before = answered
    await waitFor(() => answered > before + 2)
  }
  done.abort()
  await Promise.all(load)

  t.same([...outcomes], ['applied'])
  t.same(failures, [], 'no request failed')
  t.ok(answered >= RELOADS * 2, 'under load', { answered })
  t.equal(clients.filter(({ close }) => close !== undefined).length, 0, 'no WebSocket was closed')
  clients.forEach(({ socket }, index) => { socket.send(`last ${index}`) })
  const said = await Promise.all(clients.map(async ({ messages }, index) => await waitFor(() => messages.at(-1) === `last ${index}`)))
  t.notOk(said.includes(false), 'and all of them work')
  t.ok(await waitFor(() => gateway.earlier === 1), 'only the configuration that they were opened by is kept')
})
