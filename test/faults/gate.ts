/** A backend that holds what it is asked until the test opens it. */
import type { ServerResponse } from 'node:http'
import { httpUpstream, sleep } from '../helper.ts'
import type { TestLike } from '../helper.ts'
import type { GatewayProcess } from './children.ts'

export const BODY = 'a whole answer '.repeat(100)

/** Holds every request until it is opened, and answers at once from then on. `/events` never ends, `/hang` never begins. */
export async function gate (t: TestLike) {
  const held: ServerResponse[] = []
  let isOpen = false
  let hits = 0
  const upstream = await httpUpstream(t, ({ url = '' }, response) => {
    hits++
    if (url.endsWith('/hang')) return
    if (url.endsWith('/events')) response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    else if (url.endsWith('/unavailable')) response.writeHead(503).end()
    else if (isOpen || url.endsWith('/now')) response.end(BODY)
    else held.push(response)
  })
  return {
    ...upstream,
    get hits () { return hits },
    open () {
      isOpen = true
      for (const response of held.splice(0)) response.end(BODY)
    }
  }
}

/** Waits until the gateway has that many attempts under way; how many it has. */
export async function inFlight (gateway: GatewayProcess, n: number): Promise<number> {
  for (let tries = 0; tries < 400; tries++) {
    const { inflight } = await gateway.state()
    if (inflight >= n) return inflight
    await sleep(20)
  }
  return (await gateway.state()).inflight
}
