/**
 * Which word counts: the table of docs/tenancy.md over the wire. Every level speaks or is silent, in every combination, and what
 * the backend gets or the client sees is what the last level that speaks has said.
 */
import t, { type Test } from 'tap'
import { ask, echoUpstream, startGateway } from '../helper.ts'
import type { EchoUpstream, GatewayOptions } from '../helper.ts'

// ---- the levels, as the table numbers them

const SHARED = [2, 4, 6] as const
const TENANTS = [3, 5, 7] as const
type Level = 2 | 3 | 4 | 5 | 6 | 7

/** Short and long forms say the same. */
const timeout = (level: Level) => level % 3 === 0 ? `${level * 100}s` : level % 3 === 1 ? level * 100_000 : { total: `${level * 100}s` }
const retry = (level: Level) => ({ attempts: level, budget: false as const, backoff: { initial: 1, max: 1 } })
const headers = (level: Level) => ({ request: { set: { 'x-level': String(level), [`x-of-${level}`]: 'said' } }, response: { set: { 'x-level': String(level) } } })
const threshold = (level: number) => ({ failureThreshold: 10 + level })
const bytes = (level: Level) => level * 100
const host = (level: Level) => `level-${level}.example`

/** What a gateway, a backend and a tenant may say alike. */
const shared = (level: Level) => ({ timeout: timeout(level), retry: retry(level), headers: headers(level), circuitBreaker: threshold(level), host: host(level) })
const proxy = (level: Level) => ({ timeout: timeout(level), retry: retry(level), headers: headers(level), bodyLimit: bytes(level), host: host(level) })
const composite = (level: Level, part = {}) => ({
  bodyLimit: bytes(level),
  headers: { response: headers(level).response },
  parts: { only: { ...part, timeout: timeout(level), retry: retry(level), headers: { set: headers(level).request.set } } }
})

function optionsOf (url: string, speaks: (level: Level) => boolean): GatewayOptions {
  const at = <T> (level: Level, said: T): T | undefined => speaks(level) ? said : undefined
  const part = { backend: 'up', path: '/:status/:code', body: 'client' }
  return {
    ...at(2, { ...shared(2), limits: { body: bytes(2) } }),
    deadlineHeader: 'x-left',
    backends: { up: { url, ...at(4, shared(4)) } },
    tenancy: { tenants: Object.fromEntries(subsets(TENANTS).map(tenant => [nameOf(tenant), tenantOf(tenant)])) },
    routes: [
      { name: 'plain', path: '/plain/*', proxy: { backend: 'up', ...at(6, proxy(6)) } },
      // it makes more calls that fail than the breaker of those who say nothing of one would bear
      { name: 'retried', path: '/retried/*', methods: 'GET', proxy: { backend: 'up', circuitBreaker: false, ...at(6, { retry: retry(6) }) } },
      {
        name: 'composite',
        path: '/composite/:status/:code',
        methods: ['GET', 'POST'],
        composite: { timeout: '1h', circuitBreaker: false, ...speaks(6) ? composite(6, part) : { parts: { only: part } } }
      }
    ]
  } as GatewayOptions
}

function tenantOf (levels: readonly Level[]) {
  const at = <T> (level: Level, said: T): T | undefined => levels.includes(level) ? said : undefined
  return {
    ...at(3, { ...shared(3), limits: { body: bytes(3) } }),
    ...at(5, { backends: { up: shared(5) } }),
    ...at(7, { routes: { plain: { proxy: proxy(7) }, retried: { proxy: { retry: retry(7) } }, composite: { composite: composite(7) } } })
  }
}

const nameOf = (levels: readonly Level[]) => `t${levels.join('')}`

function subsets<T> (all: readonly T[]): T[][] {
  return all.reduce<T[][]>((found, one) => [...found, ...found.map(some => [...some, one])], [[]])
}

// ---- what comes of it

/** The last of the levels that speaks, of those that may speak of something. */
const last = (said: readonly Level[], may: readonly Level[] = [2, 3, 4, 5, 6, 7]): Level | undefined => said.filter(level => may.includes(level)).sort().at(-1)

async function check (t: Test, gateway: { readonly url: string }, up: EchoUpstream, tenant: string | undefined, said: readonly Level[]): Promise<void> {
  const identity: Record<string, string> = tenant === undefined ? {} : { 'x-tenant-id': tenant }
  /** The answer, and what the backend got of it. */
  const send = async (path: string, init: RequestInit = {}) => {
    const from = up.seen.length
    const answer = await ask(gateway.url + path, { ...init, headers: identity })
    return { answer, got: up.seen.slice(from) }
  }

  for (const [kind, ofAnswers] of [['plain', [2, 3, 4, 5, 6, 7]], ['composite', [2, 3, 6, 7]]] as const) {
    const { answer, got } = await send(`/${kind}/status/200`)
    const level = last(said)
    const [echo] = got
    t.equal(answer.status, 200, `${kind}: an answer`)
    t.equal(echo?.headers['x-level'], level?.toString(), `${kind}: request header`)
    for (const other of [2, 3, 4, 5, 6, 7] as const) t.equal(echo?.headers[`x-of-${other}`], said.includes(other) ? 'said' : undefined, `${kind}: the request header of level ${other}`)
    t.equal(answer.headers.get('x-level') ?? undefined, last(said, ofAnswers)?.toString(), `${kind}: response header`)
    const left = Number(echo?.headers['x-left'] ?? NaN)
    if (level !== undefined) t.ok(left > level * 100_000 - 60_000 && left <= level * 100_000, `${kind}: timeout (${left} ms left)`)
    else if (kind === 'plain') t.equal(echo?.headers['x-left'], undefined, 'no timeout')
    if (kind === 'plain') t.equal(echo?.headers.host, level === undefined ? up.url.slice(7) : host(level), 'host')
  }

  for (const kind of ['retried', 'composite']) t.equal((await send(`/${kind}/status/503`)).got.length, last(said) ?? 1, `${kind}: attempts`)

  for (const kind of ['plain', 'composite']) {
    const most = last(said, [2, 3, 6, 7])
    const post = async (size: number) => (await send(`/${kind}/status/200`, { method: 'POST', body: 'x'.repeat(size) })).answer.status
    t.equal(await post(most === undefined ? 10_000 : bytes(most)), 200, `${kind}: a body within the limit`)
    if (most !== undefined) t.equal(await post(bytes(most) + 1), 413, `${kind}: a body over the limit`)
  }

  let failures = 0
  while (failures < 50 && (await send('/plain/status/500', { method: 'POST' })).answer.status === 500) failures++
  const breaker = last(said, [2, 3, 4, 5])
  t.equal(failures, breaker === undefined ? 5 : threshold(breaker).failureThreshold, 'breaker')
}

for (const common of subsets(SHARED)) {
  t.test(`the levels ${common.join(', ') || 'of tenants alone'} speak`, async t => {
    const up = await echoUpstream(t, 'up')
    const gateway = await startGateway(t, optionsOf(up.url, level => (common as readonly Level[]).includes(level)), () => {})
    await t.test('for nobody in particular', async t => { await check(t, gateway, up, undefined, common) })
    for (const own of subsets(TENANTS)) {
      await t.test(`with ${own.join(', ') || 'none'} of a tenant`, async t => { await check(t, gateway, up, nameOf(own), [...common, ...own]) })
    }
  })
}
