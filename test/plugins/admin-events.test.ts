/** The admin interface's server-sent events: what comes, when it ends, and who is too slow. */
import t from 'tap'
import { PassThrough } from 'node:stream'
import type { Test } from 'tap'
import { createEvents } from '../../lib/admin/events.ts'
import type { Events } from '../../lib/admin/events.ts'
import type { AdminStatus, BackendStatus } from '../../lib/admin/types.ts'
import type { Recent, RecentEvent } from '../../lib/recent/types.ts'
import { httpUpstream, rawClient, requestBytes, startGateway, virtualClock, waitFor } from '../helper.ts'
import type { GatewayOptions, RawClient } from '../helper.ts'

interface Told { readonly event: string, readonly data: unknown }

function toldIn (text: string): Told[] {
  return text.split('\n\n').flatMap(block => {
    const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? []
    return event === undefined ? [] : [{ event, data: JSON.parse(data!) as unknown }]
  })
}

const TICK = 1_000

/** Events of a gateway that is none, on a clock that moves when it is told to. */
function scene () {
  const clock = virtualClock()
  /** How long looks have taken. */
  let late = 0
  const errors: unknown[] = []
  const listeners = new Set<(event: RecentEvent) => void>()
  const counts = { looks: 0 }
  const seen = { size: 1, failing: false, takes: 0 }
  const events: Events = createEvents({
    look () {
      counts.looks++
      late += seen.takes
      if (seen.failing) throw new Error('no look')
      return { status: { pid: counts.looks } as AdminStatus, backends: [{ name: 'x'.repeat(seen.size) } as BackendStatus] }
    },
    recent: () => ({
      history: () => ({ interval: 1_000, points: [], transitions: [], samples: [] }),
      subscribe (listener) {
        listeners.add(listener)
        return () => { listeners.delete(listener) }
      }
    } satisfies Recent),
    clock: { ...clock, now: () => clock.now() + late } as never,
    onError (error) { errors.push(error) }
  })
  return { clock, errors, events, listeners, counts, seen }
}

/** Reads all that comes. */
function reader (events: Events) {
  const output = new PassThrough()
  const read = { text: '', output, ended: false }
  output.setEncoding('utf8').on('data', (text: string) => { read.text += text })
  output.once('end', () => { read.ended = true })
  events.open(output)
  return read
}

t.test('first all that is known, then each second the gateway, and the rest as it comes', async t => {
  const { clock, events, listeners } = scene()
  const read = reader(events)
  t.ok(await waitFor(() => toldIn(read.text).length === 3))
  t.match(read.text, /^retry: 1000\n\n/)
  t.same(toldIn(read.text).map(({ event }) => event), ['status', 'backends', 'history'])
  clock.advance(TICK)
  for (const listener of listeners) {
    listener({ kind: 'transition', transition: { id: 1, at: 2, kind: 'breaker', scope: '', backend: 'up', target: 'x', to: 'open' } })
    listener({ kind: 'point', point: { at: 3, requests: { count: 0, failures: 0, p50: 0, p95: 0, inFlight: 0 }, backends: {} } })
  }
  t.ok(await waitFor(() => toldIn(read.text).length === 7))
  t.same(toldIn(read.text).slice(3).map(({ event }) => event), ['status', 'backends', 'transition', 'point'])
  t.match(toldIn(read.text)[5]!.data, { id: 1, to: 'open' })
  read.output.destroy()
})

t.test('it is looked once for all, and not at all where nobody listens', async t => {
  const { clock, events, counts, listeners } = scene()
  clock.advance(10 * TICK)
  t.equal(counts.looks, 0)
  t.equal(clock.pending, 0)
  const readers = [reader(events), reader(events), reader(events)]
  t.equal(counts.looks, 1, 'those who come together begin with the same')
  clock.advance(5 * TICK)
  t.equal(counts.looks, 6)
  t.equal(listeners.size, 1)
  for (const { output } of readers) output.destroy()
  t.ok(await waitFor(() => events.size === 0))
  t.equal(clock.pending, 0)
  t.equal(listeners.size, 0)
  clock.advance(5 * TICK)
  t.equal(counts.looks, 6)
})

t.test('where a look takes long there are fewer of them', t => {
  const { clock, events, counts, seen } = scene()
  const { output } = reader(events)
  seen.takes = 100
  clock.advance(TICK)
  t.equal(counts.looks, 2)
  clock.advance(1_990)
  t.equal(counts.looks, 2)
  clock.advance(20)
  t.equal(counts.looks, 3)
  output.destroy()
  t.end()
})

t.test('a look that fails is told to the log, and the next one comes', t => {
  const { clock, errors, events, seen, counts } = scene()
  const { output } = reader(events)
  seen.failing = true
  clock.advance(TICK)
  seen.failing = false
  clock.advance(TICK)
  t.equal(errors.length, 1)
  t.equal(counts.looks, 3)
  output.destroy()
  t.end()
})

t.test('who does not read gets no pile', async t => {
  const { clock, events, seen } = scene()
  seen.size = 100_000
  const slow = new PassThrough()
  const quick = reader(events)
  events.open(slow)
  for (let second = 0; second < 40 && events.size > 1; second++) {
    clock.advance(TICK)
    await new Promise(resolve => { setImmediate(resolve) })
  }
  t.ok(slow.destroyed)
  t.equal(events.size, 1)
  t.notOk(quick.output.destroyed)
  quick.output.destroy()
})

t.test('who reads slowly misses what comes meanwhile, and then has the whole history again', async t => {
  const { clock, events, listeners, seen } = scene()
  seen.size = 100_000
  // nothing of the second look, which is more than a pipe takes at once, is read for now
  const slow = new PassThrough()
  events.open(slow)
  await new Promise(resolve => { setImmediate(resolve) })
  clock.advance(TICK)
  for (const listener of listeners) listener({ kind: 'transition', transition: { id: 1 } } as RecentEvent)
  clock.advance(TICK)
  let text = ''
  slow.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  t.ok(await waitFor(() => slow.readableLength === 0 && toldIn(text).length >= 5))
  seen.size = 1
  clock.advance(TICK)
  t.ok(await waitFor(() => toldIn(text).length >= 8))
  t.same(toldIn(text).map(({ event }) => event), ['status', 'backends', 'history', 'status', 'backends', 'status', 'backends', 'history'])
  slow.destroy()
})

t.test('the end: with what was told, for good, and by force for who does not take it in', async t => {
  const { clock, events, seen, counts } = scene()
  seen.size = 100_000
  const quick = reader(events)
  const slow = new PassThrough()
  events.open(slow)
  events.end()
  t.ok(await waitFor(() => quick.ended))
  t.ok(events.isFull)
  t.notOk(slow.destroyed)
  const { looks } = counts
  clock.advance(2_000)
  t.ok(slow.destroyed)
  t.equal(counts.looks, looks)
  t.equal(clock.pending, 0)
})

// ---- over the wire

async function follow (t: Test, port: number, path = '/_gateway/events'): Promise<RawClient> {
  const client = await rawClient(t, port)
  await client.send(requestBytes('GET', path, { host: 'localhost' }))
  return client
}

const textOf = (client: RawClient): string => client.responses[0]?.text ?? ''
const has = (client: RawClient, event: string, fits: (data: never) => boolean = () => true): boolean => {
  // the last one may not be there in full
  const whole = textOf(client).slice(0, textOf(client).lastIndexOf('\n\n') + 2)
  return toldIn(whole).some(told => told.event === event && fits(told.data as never))
}

t.test('they come as an event stream, and show what happens to the gateway', async t => {
  const { url } = await httpUpstream(t, (_request, response) => { response.end() })
  const { app, port } = await startGateway(t, { backends: { up: url }, defaultBackend: 'up', admin: true } as GatewayOptions, app => {
    app.addHook('onRequest', async (_request, reply) => { reply.header('x-app', 'yes') })
  })
  const client = await follow(t, port)
  t.ok(await waitFor(() => has(client, 'history')))
  const [response] = client.responses
  t.equal(response!.status, 200)
  t.match(response!.header('content-type'), /^text\/event-stream/)
  t.equal(response!.header('cache-control'), 'no-store')
  t.equal(response!.header('x-accel-buffering'), 'no')
  t.equal(response!.header('x-app'), 'yes')
  await app.inject('/x')
  app.reverseproxy.breakers.open('up')
  t.ok(await waitFor(() => has(client, 'transition', ({ to }: { to: string }) => to === 'open'), 10_000))
  t.ok(await waitFor(() => has(client, 'status', ({ requests }: AdminStatus) => requests.total === 1), 10_000))
  t.ok(await waitFor(() => has(client, 'backends', ([up]: BackendStatus[]) => up!.state === 'down'), 10_000))
  t.ok(await waitFor(() => has(client, 'point'), 10_000))
})

t.test('at most 32 at once', async t => {
  const { port } = await startGateway(t, { backends: { up: 'http://127.0.0.1:1' }, admin: true }, () => {})
  const clients: RawClient[] = []
  for (let index = 0; index < 32; index++) clients.push(await follow(t, port))
  t.ok(await waitFor(() => clients.every(client => client.responses[0]?.status === 200)))
  const late = await follow(t, port)
  t.ok(await waitFor(() => late.responses[0]?.complete === true))
  t.equal(late.responses[0]!.status, 503)
  t.match(JSON.parse(textOf(late)), { code: 'RP_ERR_ADMIN_BUSY' })
  clients[0]!.socket.destroy()
  t.ok(await (async () => {
    for (let tries = 0; tries < 50; tries++) {
      const next = await follow(t, port)
      if (await waitFor(() => next.responses.length > 0) && next.responses[0]!.status === 200) return true
      next.socket.destroy()
    }
    return false
  })(), 'a place is free again')
})

t.test('one whose turn on its connection never comes leaves with the connection', async t => {
  const { app, port } = await startGateway(t, { backends: { up: 'http://127.0.0.1:1' }, admin: true }, () => {})
  const client = await rawClient(t, port)
  const request = requestBytes('GET', '/_gateway/events', { host: 'localhost' })
  await client.send(Buffer.concat([request, request]))
  const { events } = app.reverseproxy.adminParts!
  t.ok(await waitFor(() => events.size === 2))
  client.socket.destroy()
  t.ok(await waitFor(() => events.size === 0))
})

t.test('a gateway that closes shows that it drains, ends them, and is not held up', async t => {
  const { app, port } = await startGateway(t, { backends: { up: 'http://127.0.0.1:1' }, admin: true, shutdown: { delay: 1_500, timeout: '20s' } } as GatewayOptions, () => {})
  const client = await follow(t, port)
  t.ok(await waitFor(() => has(client, 'history')))
  const closing = app.close()
  t.ok(await waitFor(() => has(client, 'status', ({ state }: AdminStatus) => state === 'draining'), 10_000))
  await closing
  t.ok(await waitFor(() => client.closed))
  t.ok(client.responses[0]!.complete, 'to its end')
})
