/**
 * Fifty tenants, their backends, and clients who ask for all of them at once over the same connections.
 */
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { WebSocket, WebSocketServer } from 'ws'
import { httpUpstream } from '../helper.ts'
import type { GatewayOptions, TestLike } from '../helper.ts'

const TENANTS = 50
/** At once. */
const CLIENTS = 24
/** Connections of the clients, which all tenants share. */
const CONNECTIONS = 12

/** Whose requests there are: fifty tenants, somebody nobody knows, and nobody in particular. */
export const WHO: ReadonlyArray<string | undefined> = [...Array.from({ length: TENANTS }, (_, index) => `tenant-${index}`), 'stranger', undefined]

/** Every fifth tenant uses the backend of everybody. */
const hasOwn = (who: string | undefined): who is string => who?.startsWith('tenant-') === true && Number(who.slice(7)) % 5 !== 4
export const isKnown = (who: string | undefined): boolean => who?.startsWith('tenant-') === true
const backendOf = (who: string | undefined): string => hasOwn(who) ? who : 'everybody'
const planOf = (who: string | undefined): string | undefined => isKnown(who) ? `plan of ${who}` : undefined

// ---- backends

/** What a backend says of a request. */
export interface Said {
  readonly backend: string
  readonly tenant: string | undefined
  readonly plan: string | undefined
  readonly hook: string | undefined
  readonly n: string | null
  readonly path: string
  readonly body: string
}

export interface Scene {
  /** URL by name. */
  readonly urls: ReadonlyMap<string, string>
  /** What backends got that was not for them. */
  readonly wrong: string[]
  /** Requests that were torn down or refused the first time. */
  readonly faults: () => number
}

/**
 * A backend for each tenant that has one, and one for everybody. They take their time. `fault=reset` and `fault=503` fail a request the
 * first time; `fault=always` always.
 */
export async function startScene (t: TestLike, random: () => number): Promise<Scene> {
  const urls = new Map<string, string>()
  const wrong: string[] = []
  const failed = new Set<string>()
  for (const backend of new Set([...WHO.map(backendOf), 'orders'])) {
    const { url, server } = await httpUpstream(t, (request, response) => { answer(backend, request, response) })
    urls.set(backend, url)
    takeSockets(t, backend, server)
  }
  return { urls, wrong, faults: () => failed.size }

  /** Says of the handshake what it says of requests, and then of each message. */
  function takeSockets (t: TestLike, backend: string, server: Server): void {
    const sockets = new WebSocketServer({ server })
    t.teardown(() => {
      for (const socket of sockets.clients) socket.terminate()
      sockets.close()
    })
    sockets.on('connection', (socket, request) => {
      const { pathname, searchParams } = new URL(request.url!, 'http://x')
      const { 'x-tenant-id': tenant, 'x-plan': plan, 'x-hook': hook } = request.headers as IncomingHttpHeaders & Record<string, string | undefined>
      const n = searchParams.get('n')
      check(backend, { tenant, plan, n }, request)
      socket.on('error', () => {})
      socket.on('message', data => { socket.send(JSON.stringify({ backend, tenant, plan, hook, n, path: pathname, body: String(data) } satisfies Said)) })
    })
  }

  async function answer (backend: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url!, 'http://x')
    const { 'x-tenant-id': tenant, 'x-plan': plan, 'x-hook': hook } = request.headers as IncomingHttpHeaders & Record<string, string | undefined>
    const n = searchParams.get('n')
    check(backend, { tenant, plan, n }, request)
    let body = ''
    for await (const piece of request.setEncoding('utf8')) body += piece as string
    const pause = random()
    if (pause < 0.3) await sleep(pause < 0.004 ? 180 : Math.ceil(pause * 12))
    const fault = searchParams.get('fault')
    const key = `${backend} ${request.url}`
    if (fault !== null && (fault === 'always' || !failed.has(key))) {
      failed.add(key)
      if (fault === 'reset') {
        request.socket.destroy()
        return
      }
      response.statusCode = 503
    }
    const said: Said = { backend, tenant, plan, hook, n, path: pathname, body }
    response.setHeader('content-type', 'application/json').setHeader('x-backend', backend).end(JSON.stringify(said))
  }

  function check (backend: string, { tenant, plan, n }: Partial<Said>, request: IncomingMessage): void {
    const whose = [tenant, request.headers['x-was']].join(' ')
    if (request.headers['x-was'] !== (tenant ?? 'nobody')) wrong.push(`${backend}: ${whose} (${n})`)
    if (plan !== planOf(tenant)) wrong.push(`${backend}: the plan of ${whose} is ${plan} (${n})`)
    if (backend !== 'orders' && backend !== backendOf(tenant)) wrong.push(`${backend}: a request of ${whose} (${n})`)
    if (request.rawHeaders.filter(name => name.toLowerCase() === 'x-tenant-id').length > 1) wrong.push(`${backend}: two tenants (${n})`)
  }
}

// ---- clients

interface Told {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly value: unknown
}

export interface Send {
  (who: string | undefined, method: 'GET' | 'POST' | 'HEAD', path: string, body?: string): Promise<Told>
  /** Opens a WebSocket, sends the messages one after the other, and tells what came back. */
  talk (who: string | undefined, path: string, messages: readonly string[]): Promise<unknown[]>
}

/** `identity`: headers that say who it is. */
export function createClient (t: TestLike, url: string, identity: (who: string) => Record<string, string>): Send {
  const pool = new Pool(url, { connections: CONNECTIONS, pipelining: 1 })
  t.teardown(async () => { await pool.destroy() })
  const said = (who: string | undefined) => ({ 'x-was': who ?? 'nobody', ...who === undefined ? {} : identity(who) })

  async function talk (who: string | undefined, path: string, messages: readonly string[]): Promise<unknown[]> {
    const socket = new WebSocket(`${url.replace('http', 'ws')}${path}`, { headers: said(who) })
    const told: unknown[] = []
    try {
      await once(socket, 'open')
      for (const message of messages) {
        const answered = once(socket, 'message') as Promise<[Buffer]>
        socket.send(message)
        const [data] = await answered
        told.push(JSON.parse(String(data)))
      }
      socket.close()
      await once(socket, 'close')
    } finally {
      socket.terminate()
    }
    return told
  }

  return Object.assign(async function send (who: string | undefined, method: 'GET' | 'POST' | 'HEAD', path: string, body?: string): Promise<Told> {
    const headers = { ...said(who), ...body === undefined ? {} : { 'content-type': 'text/plain' } }
    const answer = await pool.request({ method, path, headers, body: body ?? null })
    const text = await answer.body.text()
    return { status: answer.statusCode, headers: answer.headers, value: text === '' ? undefined : JSON.parse(text) }
  }, { talk })
}

/** What is wrong with an answer to request `n` of somebody; nothing, if all is well. */
type Kind = (send: Send, who: string | undefined, n: number, random: () => number) => Promise<string[]>

const faultOf = (random: () => number): string => {
  const chance = random()
  return chance < 0.02 ? '&fault=reset' : chance < 0.05 ? '&fault=503' : ''
}

/** The expected against what came, as texts. */
function differences (what: string, got: Record<string, unknown>, wanted: Record<string, unknown>): string[] {
  return Object.entries(wanted).filter(([name, value]) => got[name] !== value).map(([name, value]) => `${what}: ${name} is ${String(got[name])}, not ${String(value)}`)
}

function ofEverybody ({ status, headers }: Told, who: string | undefined, what: string, expected = 200): string[] {
  return differences(what, { status, answer: headers['x-answer-of'] }, { status: expected, answer: isKnown(who) ? who : undefined })
}

const saidBy = (who: string | undefined, n: number, backend = backendOf(who)) => ({ backend, tenant: who, plan: planOf(who), n: String(n) })

const plain: Kind = async (send, who, n, random) => {
  const told = await send(who, 'GET', `/plain/x?n=${n}${faultOf(random)}`)
  return [...ofEverybody(told, who, `plain ${n} of ${who}`), ...differences(`plain ${n} of ${who}`, told.value as never, { ...saidBy(who, n), path: isKnown(who) ? `/of/${who}/x` : '/x' })]
}

const failing: Kind = async (send, who, n) => {
  const told = await send(who, 'GET', `/plain/x?n=${n}&fault=always`)
  return [...ofEverybody(told, who, `failing ${n} of ${who}`, 503), ...differences(`failing ${n} of ${who}`, told.value as never, saidBy(who, n))]
}

const upload: Kind = async (send, who, n) => {
  const body = `${who} ${n} `.repeat(20)
  const told = await send(who, 'POST', `/plain/upload?n=${n}`, body)
  return [...ofEverybody(told, who, `upload ${n} of ${who}`), ...differences(`upload ${n} of ${who}`, told.value as never, { ...saidBy(who, n), body })]
}

const head: Kind = async (send, who, n) => {
  const told = await send(who, 'HEAD', `/plain/x?n=${n}`)
  return [...ofEverybody(told, who, `head ${n} of ${who}`), ...differences(`head ${n} of ${who}`, told.headers, { 'x-backend': backendOf(who) })]
}

const composite: Kind = async (send, who, n, random) => {
  const told = await send(who, 'GET', `/composite?n=${n}${faultOf(random)}`)
  const { user, orders, more } = told.value as Record<string, Said | undefined>
  const what = `composite ${n} of ${who}`
  return [
    ...ofEverybody(told, who, what),
    ...differences(`${what}, user`, { ...user }, { ...saidBy(who, n), path: '/user' }),
    ...differences(`${what}, orders`, { ...orders }, { ...saidBy(who, n, 'orders'), path: `/orders/${backendOf(who)}` }),
    // only those with a backend of their own have this part
    ...differences(`${what}, more`, { ...more }, hasOwn(who) ? { ...saidBy(who, n), path: '/more' } : { backend: undefined })
  ]
}

const socket: Kind = async (send, who, n) => {
  const bodies = [`${who} ${n} a`, `${who} ${n} b`]
  const told = await send.talk(who, `/socket?n=${n}`, bodies)
  return bodies.flatMap((body, index) => differences(`socket ${n} of ${who}`, told[index] as never, { ...saidBy(who, n), path: '/socket', body }))
}

/** What is sent, by how often. */
const KINDS: readonly Kind[] = [plain, plain, plain, plain, plain, plain, plain, plain, composite, composite, composite, upload, upload, head, failing, socket]

/** So many requests, `CLIENTS` at a time, in no order of tenants. Tells everything that was wrong. */
export async function interleave (send: Send, count: number, random: () => number): Promise<string[]> {
  const wrong: string[] = []
  let next = 0
  async function drive (): Promise<void> {
    while (next < count && wrong.length < 20) {
      const n = next++
      const [who, kind] = [WHO[Math.floor(random() * WHO.length)], KINDS[Math.floor(random() * KINDS.length)]!]
      wrong.push(...await kind(send, who, n, random).catch((error: Error) => [`${n} of ${who}: ${error.message}`]))
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, drive))
  return wrong
}

// ---- the gateway

const RETRY = { attempts: 3, budget: false, backoff: { initial: 1, max: 3 }, hedge: { after: 120 } }

export function optionsOf (who: string, urls: ReadonlyMap<string, string>) {
  return {
    ...hasOwn(who) ? { backends: { users: urls.get(who) } } : undefined,
    headers: { request: { set: { 'x-plan': planOf(who) } }, response: { set: { 'x-answer-of': who } } },
    routes: {
      plain: { proxy: { rewrite: [{ stripPrefix: '/plain' }, { addPrefix: `/of/${who}` }] } },
      ...hasOwn(who) ? { composite: { composite: { parts: { more: { backend: 'users', path: '/more', query: 'client' } } } } } : undefined
    }
  }
}

export function gatewayOptions ({ urls }: Scene, tenancy: Record<string, unknown>): GatewayOptions {
  return {
    circuitBreaker: false,
    retry: RETRY,
    backends: { users: urls.get('everybody'), orders: urls.get('orders') },
    tenancy,
    routes: [
      { name: 'socket', path: '/socket', proxy: { backend: 'users', websocket: true } },
      { name: 'plain', path: '/plain/*', proxy: { backend: 'users', rewrite: { stripPrefix: '/plain' } } },
      {
        name: 'composite',
        path: '/composite',
        composite: { parts: { user: { backend: 'users', path: '/user', query: 'client' }, orders: { backend: 'orders', path: '/orders/{user.body.backend}', query: 'client' } } }
      }
    ]
  } as unknown as GatewayOptions
}

export const known = WHO.filter((who): who is string => isKnown(who))
