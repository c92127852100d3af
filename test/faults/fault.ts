/** One fault, two hundred times, and what is left of it. */
import t from 'tap'
import { rawUpstream, respond, startGateway, waitFor } from '../helper.ts'
import type { GatewayOptions, Script } from '../helper.ts'
import { createAgent, hammer, shoot } from './load.ts'

export const TIMES = 200
export const AT_ONCE = 20
/** What is promised is a second; a machine that has other things to do gets three. A wedge takes thirty. */
export const A_SECOND = 3_000
export const GOOD = respond(200, [], 'good')

export interface Fault {
  readonly script?: Script
  /** Nothing listens while the fault lasts. */
  readonly down?: true
  readonly backend?: Readonly<Record<string, unknown>>
  /** What clients may get meanwhile; 0: half an answer or none. */
  readonly statuses: readonly number[]
  /** Client patience, ms. */
  readonly ms?: number
}

export const OFF = { circuitBreaker: false }

/** Declares the test of one fault. */
export function testFault (name: string, { script, down, backend, statuses, ms }: Fault): void {
  t.test(`${name}: ${TIMES} times, then the first good request is answered within a second`, async t => {
    const upstream = await rawUpstream(t, script ?? GOOD, { keepBodies: false })
    if (down === true) await upstream.stop()
    const { url, app } = await startGateway(t, { backends: { up: { targets: [upstream.url], ...backend } } } as GatewayOptions)
    const agent = createAgent()
    t.teardown(() => { agent.destroy() })
    const seen = new Set<number>()
    await hammer(TIMES, AT_ONCE, async nth => { seen.add((await shoot(agent, `${url}/${nth}`, ms === undefined ? {} : { ms })).status) })
    t.same([...seen].filter(status => !statuses.includes(status)), [], 'what clients got meanwhile')

    if (down === true) await upstream.listen()
    upstream.answer(GOOD)
    const since = performance.now()
    let status = 0
    // a breaker and an ejection have their own time, within the same second
    while (status !== 200 && performance.now() - since < A_SECOND) {
      ({ status } = await shoot(agent, `${url}/good`))
      if (status !== 200 && !statuses.includes(503)) break
    }
    const took = performance.now() - since
    t.equal(status, 200)
    t.ok(took < A_SECOND, `${Math.round(took)} ms`)

    const inflight = () => app.reverseproxy.backends.get('up')!.targets.reduce((sum, { inflight }) => sum + inflight, 0)
    t.ok(await waitFor(() => inflight() === 0), 'no attempt is left')
    // what is kept alive for the next requests is no leak, as long as those at once (twice with hedges) account for it
    t.ok(await waitFor(() => upstream.open <= 4 * AT_ONCE), `${upstream.open} connections to the backend`)
    agent.destroy()
    t.ok(await waitFor(() => { let open = -1; app.server.getConnections((_error, n) => { open = n }); return open <= 0 }), 'no client connection is left')
    await app.close()
    t.ok(await waitFor(() => upstream.open === 0), 'none to the backend when the gateway has closed')
    t.same(upstream.malformed, [])
  })
}
