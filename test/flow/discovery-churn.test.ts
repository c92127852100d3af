/**
 * Membership that never rests: requests all the while, targets with real listeners that come and go, and not one request that
 * fails.
 */
import t from 'tap'
import { Agent, createServer, request } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { seededRandom, startGateway, waitFor } from '../helper.ts'
import { engine } from '../helper/discovery.ts'
import type { GatewayOptions, TestLike } from '../helper.ts'
import type { DiscoveredTarget } from '../../lib/discovery/types.ts'
import type { Target } from '../../lib/types.ts'

t.setTimeout(120_000)

interface Member {
  readonly url: string
  readonly server: Server
  /** Requests it is answering. */
  open: number
}

async function member (): Promise<Member> {
  const server = createServer((request, response) => {
    self.open++
    response.once('close', () => { self.open-- })
    request.resume().on('end', () => { response.end('ok') })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const self: Member = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, open: 0 }
  return self
}

/** Stops listening at once and cuts what is open. */
async function kill ({ server }: Pick<Member, 'server'>): Promise<void> {
  const closed = new Promise(resolve => { server.close(resolve) })
  server.closeAllConnections()
  await closed
}

function get (port: number, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ port, host: '127.0.0.1', path: '/x', agent }, response => {
      response.resume().on('end', () => { resolve(response.statusCode!) }).on('error', reject)
    }).on('error', reject).end()
  })
}

interface Churn {
  readonly requests: number
  readonly changes: number
  readonly seed: number
  readonly retry: number | false
  /** What becomes of a member that has left the list. */
  leave (member: Member, target: Target): Promise<void>
}

async function churn (t: TestLike, { requests, changes, seed, retry, leave }: Churn) {
  const random = seededRandom(seed)
  const members = [await member(), await member()]
  const leaving: Array<Promise<void>> = []
  t.teardown(async () => {
    await Promise.all(leaving)
    await Promise.all(members.map(kill))
  })
  const list = (): DiscoveredTarget[] => members.map(({ url }) => ({ url, weight: 1 + Math.floor(random() * 4) }))
  const from = engine(list())
  const { app, port } = await startGateway(t, { backends: { up: { discovery: { provider: from.provider }, balancer: 'weighted-round-robin', ...(retry === false ? undefined : { retry }) } }, random } as GatewayOptions)
  const { registry } = app.reverseproxy
  const targetOf = (url: string) => registry.resolve('up')!.targets.find(({ id }) => id === url)

  let sent = 0
  const statuses: Record<string, number> = {}
  const clients = Array.from({ length: 4 }, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (sent < requests) {
      sent++
      const status = await get(port, agent).catch((error: Error) => error.message)
      statuses[status] = (statuses[status] ?? 0) + 1
    }
    agent.destroy()
  })

  let told = 0
  for (let change = 0; change < changes; change++) {
    // spread over the whole run
    if (!await waitFor(() => sent >= change * requests / changes, 20_000)) throw new Error(`only ${sent} requests after ${change} changes`)
    const draw = random()
    if (members.length < 2 || (draw < 0.45 && members.length < 8)) members.push(await member())
    else if (draw < 0.9) {
      const [gone] = members.splice(Math.floor(random() * members.length), 1)
      // it may have come and gone before the gateway heard of it
      const target = targetOf(gone!.url)
      from.tell(list())
      told++
      leaving.push(target === undefined ? kill(gone!) : waitFor(() => targetOf(gone!.url) === undefined, 5000).then(() => leave(gone!, target)))
      continue
    }
    from.tell(list())
    told++
  }
  await Promise.all(clients)
  await Promise.all(leaving)
  return { statuses, told, app }
}

t.test('10,000 requests while 500 changes arrive: none fails', { timeout: 60_000 }, async t => {
  const { statuses, told, app } = await churn(t, {
    requests: 10_000,
    changes: 500,
    seed: 7,
    retry: 3,
    // no matter what runs there
    leave: kill
  })
  t.same(statuses, { 200: 10_000 })
  t.equal(told, 500)
  t.ok(await waitFor(() => app.reverseproxy.registry.resolve('up')!.targets.length > 0))
})

t.test('without retries too, where listeners close after their last request', { timeout: 60_000 }, async t => {
  const { statuses, told } = await churn(t, {
    requests: 2_000,
    changes: 100,
    seed: 8,
    retry: false,
    async leave (gone, target) {
      if (!await waitFor(() => target.inflight === 0, 5000)) throw new Error('it has not drained')
      t.equal(gone.open, 0)
      await kill(gone)
    }
  })
  t.same(statuses, { 200: 2_000 })
  t.equal(told, 100)
})
