/** Gateways as processes of their own that are closed with their hands full: nothing is lost, and the process ends by itself. */
import t from 'tap'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { sleep } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'
import { startChild } from './children.ts'
import { BODY, gate, inFlight } from './gate.ts'
import { count, createAgent, createTally, shoot } from './load.ts'

const FLIGHT = 1_000
/** Long enough for a slow machine to see something within it. */
const DELAY = 1_500

function isRefused (port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(false) })
    socket.once('error', () => { resolve(true) })
  })
}

for (const { name, server, how, backend } of [
  { name: 'app.close(), called twice,', server: 'serverOptions', how: 'close twice', backend: {} },
  { name: 'shutdown() without serverOptions', server: 'bare', how: 'shutdown', backend: { pool: { connections: FLIGHT } } }
] as const) {
  t.test(`${name} with ${FLIGHT} requests in flight loses none, and the process ends by itself`, async t => {
    const up = await gate(t)
    const gateway = await startChild(t, { gateway: { backends: { up: { targets: [up.url], ...backend }, other: { targets: [up.url], pool: { connections: 7 } } }, shutdown: { delay: DELAY, timeout: '20s' } } as GatewayOptions, server })
    const agent = createAgent()
    t.teardown(() => { agent.destroy() })
    const shots = Array.from({ length: FLIGHT }, (_, nth) => shoot(agent, `${gateway.url}/up/${nth}`, { ms: 30_000 }))
    t.equal(await inFlight(gateway, FLIGHT), FLIGHT)
    const ended = gateway.end(how, 30_000)
    const since = performance.now()
    await sleep(20)
    t.match(await shoot(agent, `${gateway.url}/_ready`), { status: 503 }, 'not ready')
    t.match(await shoot(agent, `${gateway.url}/other/now`), { status: 200, connection: 'close' }, 'but still serving')
    t.ok(performance.now() - since < DELAY, 'all this within the delay')
    for (let tries = 0; tries < 200 && !await isRefused(gateway.port); tries++) await sleep(50)
    t.ok(await isRefused(gateway.port), 'the door is shut')
    t.equal((await gateway.state()).inflight, FLIGHT, 'and who is inside stays')
    up.open()
    const tally = createTally()
    const answers = await Promise.all(shots)
    for (const shot of answers) count(tally, shot)
    t.comment(`${tally.total} in flight, lost or failed: ${JSON.stringify(tally.bad)}`)
    t.same(tally, { total: FLIGHT, good: FLIGHT, bad: {} })
    t.ok(answers.every(({ body }) => body === BODY), 'whole answers')
    t.equal(answers.filter(({ connection }) => connection === 'close').length, FLIGHT, 'all say Connection: close')
    const { code, closed, lingered } = await ended
    t.comment(`the close took ${closed} ms, the process ${Math.round(lingered)} ms more`)
    t.equal(code, 0)
    t.ok(lingered < 5_000, 'nothing keeps the process alive')
  })
}

t.test(`HTTP/2: ${FLIGHT} streams in flight lose nothing, and the process ends by itself`, async t => {
  const up = await gate(t)
  const gateway = await startChild(t, { gateway: { backends: { up: up.url }, shutdown: { delay: 100, timeout: '20s' } }, server: 'http2' })
  const sessions = Array.from({ length: 10 }, () => connectHttp2(gateway.url).on('error', () => {}))
  t.teardown(() => { for (const session of sessions) session.destroy() })
  const streams = Array.from({ length: FLIGHT }, (_, nth) => new Promise<boolean>(resolve => {
    const stream = sessions[nth % sessions.length]!.request({ ':path': `/up/${nth}` })
    let body = ''
    stream.on('data', (piece: Buffer) => { body += piece.toString('latin1') })
    stream.on('error', () => {})
    stream.on('close', () => { resolve(body === BODY && stream.rstCode === 0) })
  }))
  t.equal(await inFlight(gateway, FLIGHT), FLIGHT)
  const ended = gateway.end('close', 30_000)
  await sleep(300)
  up.open()
  t.equal((await Promise.all(streams)).filter(whole => whole).length, FLIGHT)
  const { code, lingered } = await ended
  t.equal(code, 0)
  t.ok(lingered < 5_000)
})
