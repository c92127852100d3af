/** An admin interface with invented answers, for the status page: what it says, when its streams end and what it refuses is up to the test. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { statusPage } from '../lib/admin/page.ts'
import type { AdminEventName, AdminStatus, BackendStatus, RouteStatus, TargetStatus } from '../lib/admin/types.ts'
import type { Explanation } from '../lib/explain/types.ts'
import type { Point, RecentHistory, Sample, Transition } from '../lib/recent/types.ts'

// ---- invented things

const LATENCY = { averageMs: 14.2, p50: 11.4, p90: 28, p95: 42.3, p99: 120 }

export function aTarget (url: string, more: Partial<TargetStatus> = {}): TargetStatus {
  return {
    url,
    state: 'active',
    weight: 1,
    maxConnections: null,
    metadata: {},
    inflight: 2,
    started: 4000,
    excluded: null,
    health: { healthy: true, reason: null, ejectedFor: null, check: { ok: true, detail: '200', agoMs: 2400, checks: 120, failures: 0 } },
    breaker: { state: 'closed', retryAfter: 0, stats: { consecutive: 0, window: undefined, openedAt: null, opened: 0 } },
    pool: { connected: 4, free: 2, pending: 0, queued: 0, running: 2 },
    attempts: 3990,
    failures: 4,
    latency: LATENCY,
    ...more
  }
}

/** One that gets no requests, in the ways there are. */
export function aBadTarget (url: string, how: 'open' | 'unhealthy' | 'draining'): TargetStatus {
  if (how === 'open') return aTarget(url, { excluded: 'circuit-open: a trial in 12 s', inflight: 0, breaker: { state: 'open', retryAfter: 11_600, stats: { consecutive: 5, window: { failures: 9, total: 12 }, openedAt: '2026-01-01T00:00:00.000Z', opened: 3 } }, failures: 311 })
  if (how === 'draining') return aTarget(url, { state: 'draining', excluded: 'draining', inflight: 1 })
  return aTarget(url, { excluded: 'unhealthy', inflight: 0, pool: null, health: { healthy: false, reason: '3 checks failed', ejectedFor: null, check: { ok: false, detail: 'connect ECONNREFUSED', agoMs: 900, checks: 88, failures: 5 } } })
}

export function aBackend (name: string, targets: readonly TargetStatus[], more: Partial<BackendStatus> = {}): BackendStatus {
  const wanted = targets.filter(({ state, weight }) => state === 'active' && weight > 0)
  const usable = wanted.filter(({ excluded }) => excluded === null).length
  return {
    name,
    state: usable === 0 ? 'down' : usable === wanted.length ? 'ok' : 'degraded',
    isDefault: false,
    balancer: 'round-robin',
    attempts: targets.reduce((sum, { attempts }) => sum + attempts, 0),
    failures: targets.reduce((sum, { failures }) => sum + failures, 0),
    retries: 12,
    rejected: 0,
    latency: LATENCY,
    concurrency: null,
    discovery: null,
    targets,
    ...more
  }
}

export function aPoint (at: number, count: number, failures: number, backends: Record<string, number> = {}): Point {
  const of = (count: number, failures: number) => ({ count, failures, p50: count === 0 ? 0 : 9 + count / 20, p95: count === 0 ? 0 : 30 + count / 4 + failures * 9 })
  return { at, requests: { ...of(count, failures), inFlight: 3 }, backends: Object.fromEntries(Object.entries(backends).filter(([, share]) => count * share >= 1).map(([name, share]) => [name, of(Math.round(count * share), Math.round(failures * share))])) }
}

export function aSample (id: number, more: Partial<Sample> = {}): Sample {
  return {
    id,
    at: Date.now() - 3_000,
    requestId: `req-${id}`,
    method: 'GET',
    url: `/api/orders/${id}?expand=items`,
    route: 'orders',
    tenant: null,
    status: 200,
    outcome: 'ok',
    duration: 23.4,
    queued: 0,
    parts: [],
    attempts: [{ backend: 'orders', target: 'http://10.0.0.2:4002', part: null, start: 0.6, duration: 21.9, outcome: 'ok', status: 200 }],
    ...more
  }
}

/** A composite that had to wait, to try again, and to make do without a part. */
export function aComposite (id: number): Sample {
  return aSample(id, {
    url: '/api/dashboard/7',
    route: 'dashboard',
    tenant: 'acme',
    duration: 412.6,
    queued: 38,
    parts: [
      { name: 'user', state: 'ok', status: 200, start: 0.7, duration: 96 },
      { name: 'orders', state: 'ok', status: 200, start: 0.9, duration: 311 },
      { name: 'boss', state: 'fallback', status: 504, start: 97, duration: 314 },
      { name: 'audit', state: 'skipped', status: null, start: null, duration: 0 }
    ],
    attempts: [
      { backend: 'users', target: 'http://10.0.0.1:4001', part: 'user', start: 39, duration: 57, outcome: 'ok', status: 200 },
      { backend: 'orders', target: 'http://10.0.0.2:4002', part: 'orders', start: 1.2, duration: 102, outcome: 'server-error', status: 503 },
      { backend: 'orders', target: 'http://10.0.0.3:4002', part: 'orders', start: 130, duration: 181, outcome: 'ok', status: 200 },
      { backend: 'users', target: 'http://10.0.0.1:4001', part: 'boss', start: 98, duration: 313, outcome: 'timeout', status: null }
    ]
  })
}

export function aStatus (more: Partial<AdminStatus> = {}): AdminStatus {
  return {
    version: '0.1.0',
    node: 'v22.11.0',
    pid: 4711,
    worker: null,
    startedAt: new Date(Date.now() - 7_265_000).toISOString(),
    state: 'serving',
    ready: true,
    notReady: [],
    since: new Date(Date.now() - 7_265_000).toISOString(),
    requests: { total: 812_345, success: 812_000, failures: 301, aborted: 44, inFlight: 3, ...LATENCY },
    websockets: 17,
    eventStreams: 5,
    backends: { total: 2, usable: 2 },
    targets: { total: 3, usable: 3 },
    trafficDump: null,
    ...more
  }
}

const ROUTES: readonly RouteStatus[] = [
  { name: 'orders', path: '/api/orders/*', methods: ['GET', 'POST'], kind: 'proxy', backend: 'orders', parts: [], hosts: [], websocket: false },
  { name: 'dashboard', path: '/api/dashboard/:id', methods: ['GET'], kind: 'composite', backend: null, parts: [{ name: 'user', backend: 'users', required: true }, { name: 'orders', backend: 'orders', required: false }], hosts: ['shop.example.com'], websocket: false }
]

const EXPLANATION: Explanation = {
  route: { name: 'orders', path: '/api/orders/*', kind: 'proxy' },
  tenant: { id: 'acme', known: true },
  calls: [{
    backend: 'orders',
    method: 'GET',
    path: '/v1/orders/7',
    balancer: 'round-robin',
    targets: [
      { url: 'http://10.0.0.2:4002', state: 'active', weight: 1, inflight: 0, chosen: true },
      { url: 'http://10.0.0.3:4002', state: 'active', weight: 1, inflight: 0, chosen: false, excluded: 'circuit-open: a trial in 12 s' },
      { url: 'http://10.0.0.4:4002', state: 'draining', weight: 1, inflight: 0, chosen: false, excluded: 'draining' }
    ],
    chosen: 'http://10.0.0.2:4002'
  }]
}

// ---- the server

export interface Scene {
  status: AdminStatus
  backends: readonly BackendStatus[]
  points: Point[]
  transitions: Transition[]
  samples: Sample[]
}

export function aScene (more: Partial<Scene> = {}): Scene {
  return {
    status: aStatus(),
    backends: [
      aBackend('users', [aTarget('http://10.0.0.1:4001')], { isDefault: true, concurrency: { max: 200, taken: 46, waiting: 0 } }),
      aBackend('orders', [aTarget('http://10.0.0.2:4002'), aTarget('http://10.0.0.3:4002', { weight: 2, metadata: { zone: 'b' }, maxConnections: 50 })], { balancer: 'least-connections', discovery: { source: 'consul', lists: 4, lastSuccess: new Date().toISOString(), fault: null } })
    ],
    points: Array.from({ length: 120 }, (_, index) => aPoint(Date.now() - (119 - index) * 1000, 80 + Math.round(20 * Math.sin(index / 9)), index % 40 === 0 ? 3 : 0, { users: 0.4, orders: 0.6 })),
    transitions: [],
    samples: [aSample(1), aSample(2, { status: 503, outcome: 'rejected', duration: 1.2, attempts: [] }), aComposite(3)],
    ...more
  }
}

export interface Action { readonly path: string, readonly body: unknown }

export interface FakeAdmin {
  readonly url: string
  scene: Scene
  /** What the next actions are answered with; undefined: they succeed. */
  refusal: { readonly statusCode: number, readonly code: string, readonly message: string } | undefined
  readonly actions: Action[]
  /** Streams that are open. */
  readonly streams: ReadonlySet<ServerResponse>
  /** Sends an event on all streams. */
  send (name: AdminEventName, data: unknown): void
  /** `status` and `backends` as they are. */
  tick (): void
  endStreams (): void
  /** Whether it answers at all. */
  away: boolean
  close (): Promise<void>
}

/** At `/_gateway`. */
export async function startFakeAdmin (token?: string): Promise<FakeAdmin> {
  const page = statusPage()
  const streams = new Set<ServerResponse>()
  const actions: Action[] = []
  const server = createServer(answer)

  async function answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (admin.away) {
      request.socket.destroy()
      return
    }
    const { pathname } = new URL(request.url!, 'http://localhost')
    const path = pathname.replace(/^\/_gateway/, '')
    const refused = token !== undefined && request.headers.authorization !== `Bearer ${token}`
    if (path === '' || path === '/') {
      response.writeHead(refused ? 401 : 200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': page.csp, ...refused && { 'www-authenticate': 'Bearer realm="reverseproxy"' } }).end(page.html)
    } else if (refused) json(response, 401, { statusCode: 401, code: 'RP_ERR_ADMIN_TOKEN', error: 'Unauthorized', message: 'the admin interface asks for a token' })
    else if (path === '/events') stream(response)
    else if (request.method === 'POST') act(path, JSON.parse(await bodyOf(request)), response)
    else read(path, response)
  }

  function read (path: string, response: ServerResponse): void {
    const answers: Record<string, unknown> = {
      '/routes': { routes: ROUTES },
      '/tenants': { tenants: [{ id: 'acme', served: true, source: 'options', active: true, metadata: { plan: 'gold' } }], total: 1, next: null },
      '/config': { backends: { users: { tls: { key: '***' } } } }
    }
    if (answers[path] === undefined) json(response, 404, { statusCode: 404, message: 'not found' })
    else json(response, 200, answers[path])
  }

  function act (path: string, body: unknown, response: ServerResponse): void {
    if (path === '/explain') {
      actions.push({ path, body })
      json(response, 200, EXPLANATION)
      return
    }
    actions.push({ path, body })
    if (admin.refusal !== undefined) {
      json(response, admin.refusal.statusCode, admin.refusal)
      return
    }
    const [, , name, action] = path.split('/')
    const { target: url } = body as { target?: string }
    const drained = (one: TargetStatus): TargetStatus => action === 'drain' ? { ...one, state: 'draining', excluded: 'draining' } : action === 'undrain' ? { ...one, state: 'active', excluded: null } : one
    admin.scene.backends = admin.scene.backends.map(backend => backend.name === decodeURIComponent(name!) ? aBackend(backend.name, backend.targets.map(one => one.url === url ? drained(one) : one)) : backend)
    json(response, 200, { done: true, backend: admin.scene.backends.find(backend => backend.name === decodeURIComponent(name!)), ...action === 'check' && { healthy: true } })
  }

  function stream (response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    streams.add(response)
    response.on('close', () => { streams.delete(response) })
    const { status, backends, points, transitions, samples } = admin.scene
    const history: RecentHistory = { interval: 1_000, points, transitions, samples }
    write(response, 'status', status)
    write(response, 'backends', backends)
    write(response, 'history', history)
  }

  const admin: FakeAdmin = {
    url: '',
    scene: aScene(),
    refusal: undefined,
    actions,
    streams,
    send (name, data) { for (const response of streams) write(response, name, data) },
    tick () {
      admin.send('status', admin.scene.status)
      admin.send('backends', admin.scene.backends)
    },
    endStreams () { for (const response of streams) response.end() },
    away: false,
    async close () {
      clearInterval(ticking)
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    }
  }
  // what is silent for seconds is taken for dead
  const ticking = setInterval(() => { admin.tick() }, 1_000)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(admin, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/_gateway` })
}

const write = (response: ServerResponse, name: AdminEventName, data: unknown) => response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)

function json (response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function bodyOf (request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}
