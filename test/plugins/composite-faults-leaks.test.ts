/** A thousand requests with every fault there is, and clients that leave: nothing stays behind. */
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { DESTROY, FIN, RESET, chunk, closedPort, get, rawClient, rawUpstream, respond, seededRandom, sleep, waitFor } from '../helper.ts'
import { ask, jsonAnswer, startComposites } from '../helper-composite-faults.ts'
import type { RawUpstream, Script } from '../helper.ts'
import type { CompositeOptions } from '../helper-composite-faults.ts'

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
const endless: Script = async ({ socket, play }) => {
  await play(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`)
  for (let i = 0; i < 200 && !socket.destroyed; i++) await play([chunk(Buffer.alloc(16_384, 0x20)), { wait: 1 }])
}

const faults: Readonly<Record<string, Script>> = {
  ok: jsonAnswer('{"fine":1}'),
  packed: jsonAnswer(gzipSync('{"fine":1}'), [['Content-Encoding', 'gzip']]),
  reset: RESET,
  resetLate: [`${HEAD}Content-Length: 10\r\n\r\n{"a"`, RESET],
  gone: FIN,
  destroyed: DESTROY,
  silent: [],
  stalled: `${HEAD}Content-Length: 10\r\n\r\n{"a"`,
  half: [`${HEAD}Content-Length: 10\r\n\r\n{"a"`, FIN],
  garbage: 'SSH-2.0-x\r\n',
  lies: `${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`,
  huge: `${HEAD}X: ${'x'.repeat(40_000)}\r\nContent-Length: 2\r\n\r\n{}`,
  500: respond(500, [], 'x'.repeat(1_000)),
  503: respond(503, [['Retry-After', '1']], 'busy'),
  404: respond(404, [], 'no'),
  unending500: ['HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n'],
  304: respond(304, [], null),
  redirect: respond(302, [['Location', 'http://elsewhere.invalid/']], 'there'),
  loop: respond(302, [['Location', '/loop']], ''),
  html: respond(200, [['Content-Type', 'text/html']], '<html>'),
  empty: respond(204, [], null),
  bomb: jsonAnswer(gzipSync(Buffer.alloc(3_000_000, 0x20)), [['Content-Encoding', 'gzip']]),
  corrupt: jsonAnswer('nonsense', [['Content-Encoding', 'gzip']]),
  large: `${HEAD}Content-Length: 100000000\r\n\r\n${' '.repeat(10_000)}`,
  endless,
  deep: jsonAnswer('['.repeat(10_000)),
  switching: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
  trailers: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n'
}
const names = Object.keys(faults)

t.test('after 1,000 requests with faults nothing is left over', { timeout: 120_000 }, async t => {
  const random = seededRandom(7)
  const pick = (): string => names[Math.floor(random() * names.length)]!
  const byName: Script = exchange => {
    const script = faults[/^\/(\w+)/.exec(exchange.request.target)![1]!]!
    return typeof script === 'function' ? script(exchange) : script
  }
  const upstreams: RawUpstream[] = []
  for (let i = 0; i < 3; i++) upstreams.push(await rawUpstream(t, byName))
  const backends: Record<string, string> = Object.fromEntries(upstreams.map(({ url }, index) => [`b${index}`, url]))
  backends.dead = `http://127.0.0.1:${await closedPort()}`
  backends.nameless = 'http://name.invalid'

  const part = (index: number) => ({ backend: `b${index}`, path: `/{request.query.p${index}}`, timeout: 100, maxBytes: 100_000 })
  const three = { p0: part(0), p1: { ...part(1), fallback: { fallback: 1 } }, p2: part(2) }
  const routes: Record<string, CompositeOptions> = {
    '/object': { parts: three, timeout: 1_000 },
    '/merge': { parts: three, strategy: 'merge', timeout: 1_000 },
    '/append': { parts: three, strategy: 'append', onMismatch: 'wrap', timeout: 1_000 },
    '/race': { parts: three, strategy: 'select', race: true, timeout: 1_000 },
    '/select': { parts: three, strategy: 'select', timeout: 1_000 },
    '/sequential': { parts: three, strategy: 'sequential', timeout: 1_000 },
    '/required': { parts: { ...three, p1: { ...part(1), required: true } }, timeout: 1_000 },
    '/needs': { parts: { ...three, p2: { ...part(2), needs: ['p0'] } }, timeout: 1_000 },
    '/each': { parts: { p0: part(0), each: { ...part(1), path: '/{item}', forEach: { in: () => ['ok', 'reset', 'silent', '500'], concurrency: 2 } } }, timeout: 1_000 },
    '/dead': { parts: { p0: part(0), dead: { backend: 'dead', path: '/' }, nameless: { backend: 'nameless', path: '/' } }, timeout: '10s' },
    '/small': { parts: { p0: { ...part(0), maxBytes: 40 }, p1: { ...part(1), maxBytes: 40 }, p2: { ...part(2), maxBytes: 40 } }, maxBytes: 50, timeout: 1_000 },
    '/calls': { parts: three, maxCalls: 2, timeout: 1_000 }
  }
  const paths = Object.keys(routes)
  const gateway = await startComposites(t, backends, routes)
  const failures: string[] = []
  const onRejection = (error: unknown): void => { failures.push(`unhandled: ${String(error)}`) }
  process.on('unhandledRejection', onRejection)
  t.teardown(() => { process.off('unhandledRejection', onRejection) })

  const statuses = new Map<number, number>()
  let left = 1_000
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const path = `${paths[left % paths.length]}?p0=${pick()}&p1=${pick()}&p2=${pick()}`
      if (random() < 0.15) {
        const client = await rawClient(t, gateway.port)
        client.send(get(path))
        await sleep(random() * 60)
        client[random() < 0.5 ? 'destroy' : 'resetAndDestroy']()
        continue
      }
      try {
        const { status, ms } = await ask(gateway.url + path)
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        if (![200, 204, 404, 502, 504].includes(status)) failures.push(`${path}: ${status}`)
        if (ms > (path.startsWith('/dead') ? 8_000 : 3_000)) failures.push(`${path}: ${Math.round(ms)} ms`)
      } catch (error) {
        failures.push(`${path}: ${String(error)}`)
      }
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  t.same(failures, [], 'every answer is one of those that are documented, in time')
  t.ok((statuses.get(200) ?? 0) > 100 && (statuses.get(502) ?? 0) > 50, JSON.stringify([...statuses]))

  t.ok(await waitFor(() => gateway.inflight() === 0), 'no target has anything under way')
  for (const path of ['/object', '/merge', '/append', '/race', '/select', '/sequential', '/required', '/needs']) {
    const answer = await ask(`${gateway.url}${path}?p0=ok&p1=ok&p2=ok`)
    t.same([answer.status, answer.headers.get('x-composite-complete')], [200, 'true'], `${path} is well`)
    t.ok(answer.ms < 1_000)
  }
  // what is open is idle, and few: requests that went wrong took their connections with them
  const broken = ['silent', 'stalled', 'large', 'garbage', 'lies', 'huge', 'unending500']
  for (const upstream of upstreams) {
    const requests = upstream.requests.filter(({ target }) => broken.includes(target.slice(1)))
    t.ok(requests.length > 10)
    t.ok(await upstream.dropped(requests), 'connections with a broken answer are closed')
    t.ok(upstream.open <= 40, `idle connections: ${upstream.open}`)
  }
  t.same(gateway.log.lines.filter(({ level, msg }) => level >= 50 && !/^(?:A part|No part|The backend|The answer)/.test(msg)).map(({ msg }) => msg), [], 'errors in the log are the answers that were errors')

  const closing = performance.now()
  gateway.app.server.closeIdleConnections()
  await gateway.app.close()
  t.ok(performance.now() - closing < 2_000, `closed within 2 s (${Math.round(performance.now() - closing)})`)
  t.ok(await waitFor(() => upstreams.every(({ open }) => open === 0)), 'and every connection with it')
})
