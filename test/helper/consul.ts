/**
 * Consul for tests: an HTTP double that keeps the semantics of Consul's blocking queries, and the few controls that tests need, with
 * two implementations: the double, and any agent through its HTTP API.
 *
 * Source: Consul's documentation (blocking queries, consistency modes, health and agent endpoints) and the behaviour of its
 * servers: which write wakes which question, what a restored snapshot does, what is said in which words.
 */
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { ServerOptions } from 'node:https'
import type { ConsulDiscoveryConfig, DiscoveredTarget, DiscoveryProvider, ProviderTools } from '../../lib/discovery/types.ts'
import type { TestLike } from './time.ts'

export type CheckStatus = 'passing' | 'warning' | 'critical'

export interface ConsulInstance {
  readonly service: string
  readonly id: string
  /** Default: that of the node. */
  readonly address?: string
  /** Default 0: none. */
  readonly port?: number
  readonly tags?: readonly string[]
  readonly meta?: Readonly<Record<string, string>>
  readonly weights?: { readonly Passing: number, readonly Warning: number }
  /** Of its only check. Default `passing`. */
  readonly status?: CheckStatus
  /** Changes nothing that anybody looks at. Default false. */
  readonly enableTagOverride?: boolean
}

/** What tests do to Consul. */
export interface ConsulControl {
  readonly address: string
  readonly token: string | undefined
  node (): Promise<{ readonly name: string, readonly address: string, readonly datacenter: string }>
  register (instance: ConsulInstance): Promise<void>
  deregister (id: string): Promise<void>
  check (id: string, status: CheckStatus): Promise<void>
  maintenance (id: string, enable: boolean): Promise<void>
  nodeMaintenance (enable: boolean): Promise<void>
}

// ---------------------------------------------------------------- an agent over HTTP

/** Any agent, a real one or the double. `address` as in `CONSUL_HTTP_ADDR`: without a scheme it is http. */
export function agentControl (address: string, token?: string): ConsulControl {
  const base = /^https?:/.test(address) ? address : `http://${address}`

  async function call (method: string, path: string, body?: unknown): Promise<unknown> {
    const headers = { 'content-type': 'application/json', ...(token === undefined ? undefined : { 'x-consul-token': token }) }
    const response = await fetch(`${base}/v1/agent/${path}`, { method, headers, ...(body === undefined ? undefined : { body: JSON.stringify(body) }) })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }

  const id = encodeURIComponent
  return {
    address: base,
    token,
    async node () {
      const { Config, Member } = await call('GET', 'self') as { Config: { NodeName: string, Datacenter: string }, Member: { Addr: string } }
      return { name: Config.NodeName, address: Member.Addr, datacenter: Config.Datacenter }
    },
    async register ({ service, id, address, port, tags, meta, weights, status = 'passing', enableTagOverride }) {
      const Check = { CheckID: `check:${id}`, TTL: '30m', Status: status }
      await call('PUT', 'service/register', { Name: service, ID: id, Address: address, Port: port, Tags: tags, Meta: meta, Weights: weights, EnableTagOverride: enableTagOverride, Check })
    },
    async deregister (of) { await call('PUT', `service/deregister/${id(of)}`) },
    async check (of, status) { await call('PUT', `check/update/${id(`check:${of}`)}`, { Status: status }) },
    async maintenance (of, enable) { await call('PUT', `service/maintenance/${id(of)}?enable=${enable}`) },
    async nodeMaintenance (enable) { await call('PUT', `maintenance?enable=${enable}`) }
  }
}

// ---------------------------------------------------------------- the double

/** What the double does in place of answering. */
export type Outage =
  | { readonly kind: 'refuse' }
  /** Takes the request and closes the connection. */
  | { readonly kind: 'drop' }
  | { readonly kind: 'hang' }
  | { readonly kind: 'answer', readonly status?: number, readonly body?: string | Buffer, readonly headers?: Readonly<Record<string, string>> }
  /** Headers at once, then a byte at a time, ms between them. */
  | { readonly kind: 'drip', readonly every: number }

export interface ConsulQuestion {
  readonly method: string
  /** As it stood in the request line. */
  readonly url: string
  readonly query: URLSearchParams
  readonly token: string | undefined
  /** Held open now. */
  held: boolean
}

export interface ConsulOptions {
  /** Put before `/v1`. */
  readonly prefix?: string
  readonly tls?: ServerOptions
  /** File of a unix socket, in place of a port. */
  readonly socketPath?: string
  /** Rights by token. When there are any: others are unknown (403), and without one nothing is seen. */
  readonly tokens?: Readonly<Record<string, 'read' | 'nothing'>>
  /** Share of the sixteenth that a wait is longer, in [0, 1). */
  readonly jitter?: () => number
  readonly node?: { readonly name?: string, readonly address?: string, readonly meta?: Readonly<Record<string, string>> }
}

export interface ConsulDouble extends ConsulControl {
  readonly questions: readonly ConsulQuestion[]
  /** Connections open now. */
  readonly connections: number
  /** Begins a fault; what is held open now stays so, except with `refuse` and `drop`. undefined: ends it. */
  outage (outage: Outage | undefined): Promise<void>
  /** The state as it is, for `restore`. */
  snapshot (): unknown
  /** A raft snapshot is restored: the index may go backwards, and held questions are answered at once. */
  restore (snapshot: unknown): void
  /** A write to the service that changes nothing of it: questions wake up with a higher index. */
  touch (service: string): void
  /** Every held question is answered at once, whatever its index. */
  wakeAll (): void
  /** Changes answers: headers (undefined leaves one out) and the entries. */
  twist: {
    headers: Record<string, string | undefined>
    entries: ((entries: unknown[]) => unknown) | undefined
    /** Before 1.3 only the first tag counted. */
    oneTagOnly: boolean
  }
}

interface Stored extends ConsulInstance { readonly inMaintenance: boolean }
interface State { raft: number, extinction: number, nodeMaintenance: boolean, services: Map<string, { index: number, instances: Map<string, Stored> }> }

const DEFAULT_WAIT = 300_000
const LONGEST_WAIT = 600_000
const UNITS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Go's `time.ParseDuration`, ms; undefined: it is none. */
function parseDuration (text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+$/.test(text)) return undefined
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)].reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit!]!, 0)
}

export async function startConsul (t: TestLike, options: ConsulOptions = {}): Promise<ConsulDouble> {
  const { prefix = '', tls, socketPath, tokens, jitter = Math.random } = options
  const node = { name: 'node-1', address: '10.9.9.9', meta: {}, ...options.node }
  let state: State = { raft: 10, extinction: 0, nodeMaintenance: false, services: new Map() }
  let fault: Outage | undefined
  const questions: ConsulQuestion[] = []
  const sockets = new Set<Socket>()
  /** Held questions: told that something was written, or that the state is another one. */
  const held = new Set<(why: 'wake' | 'abandon') => void>()
  const twist: ConsulDouble['twist'] = { headers: {}, entries: undefined, oneTagOnly: false }

  // ---- state

  const wake = (why: 'wake' | 'abandon') => { for (const tell of [...held]) tell(why) }
  /** Consul never says 0, for that would not be waited with. */
  const indexOf = (service: string) => state.services.get(service)?.index ?? Math.max(1, state.extinction)

  function find (id: string): Stored {
    for (const { instances } of state.services.values()) {
      const found = instances.get(id)
      if (found !== undefined) return found
    }
    throw new Error(`Unknown service ID "${id}". Ensure that the service ID is passed, not the service name.`)
  }

  function store (instance: Stored): void {
    state.raft++
    const service = state.services.get(instance.service) ?? { index: 0, instances: new Map<string, Stored>() }
    state.services.set(instance.service, service)
    service.instances.set(instance.id, instance)
    service.index = state.raft
    wake('wake')
  }

  function remove (id: string): void {
    const { service } = find(id)
    const { instances } = state.services.get(service)!
    state.raft++
    instances.delete(id)
    state.services.get(service)!.index = state.raft
    if (instances.size === 0) {
      state.services.delete(service)
      state.extinction = state.raft
    }
    wake('wake')
  }

  function setNodeMaintenance (enable: boolean): void {
    state.raft++
    state.nodeMaintenance = enable
    for (const service of state.services.values()) service.index = state.raft
    wake('wake')
  }

  function checksOf ({ id, service, status = 'passing', tags = [], inMaintenance }: Stored): Array<{ CheckID: string, Status: CheckStatus }> {
    const check = (CheckID: string, Status: CheckStatus, ServiceID = id) => ({ Node: node.name, CheckID, Name: CheckID, Status, Notes: '', Output: '', ServiceID, ServiceName: ServiceID === '' ? '' : service, ServiceTags: ServiceID === '' ? [] : tags })
    return [
      check('serfHealth', 'passing', ''),
      check(`check:${id}`, status),
      ...(inMaintenance ? [check(`_service_maintenance:${id}`, 'critical')] : []),
      ...(state.nodeMaintenance ? [check('_node_maintenance', 'critical', '')] : [])
    ]
  }

  function entriesOf (service: string, query: URLSearchParams): unknown[] {
    const wanted = (twist.oneTagOnly ? query.getAll('tag').slice(0, 1) : query.getAll('tag')).map(tag => tag.toLowerCase())
    return [...state.services.get(service)?.instances.values() ?? []]
      .filter(({ tags = [] }) => wanted.every(tag => tags.some(own => own.toLowerCase() === tag)))
      .map(instance => ({ instance, checks: checksOf(instance) }))
      .filter(({ checks }) => !isTrue(query.get('passing')) || checks.every(({ Status }) => Status === 'passing'))
      .map(({ instance: { id, address = '', port = 0, tags = [], meta = {}, weights = { Passing: 1, Warning: 1 }, enableTagOverride = false }, checks }) => ({
        Node: { ID: '40e4a748-2192-161a-0510-9bf59fe950b5', Node: node.name, Address: node.address, Datacenter: 'dc1', TaggedAddresses: { lan: node.address, wan: '198.18.0.1' }, Meta: node.meta, CreateIndex: 8, ModifyIndex: 9 },
        Service: { ID: id, Service: service, Tags: tags, Address: address, TaggedAddresses: { wan: { address: '198.18.0.2', port: 1 } }, Meta: meta, Port: port, Weights: weights, EnableTagOverride: enableTagOverride, CreateIndex: 10, ModifyIndex: 11 },
        Checks: checks
      }))
  }

  // ---- the health endpoint

  /** Resolves when the question is to be answered; false: its client has gone. */
  async function hold (service: string, index: number, ms: number, response: ServerResponse): Promise<boolean> {
    let min = index
    let wasMissing = false
    let tell: (why: 'wake' | 'abandon' | 'timeout' | 'gone') => void = () => {}
    const told = (why: 'wake' | 'abandon') => { tell(why) }
    const timer = setTimeout(() => { tell('timeout') }, ms)
    const gone = () => { tell('gone') }
    response.on('close', gone)
    held.add(told)
    try {
      for (;;) {
        const isMissing = !state.services.has(service)
        // that another service has gone is no news for one that is not there
        if (isMissing && wasMissing) min = indexOf(service)
        wasMissing = isMissing
        if (indexOf(service) > min) return true
        const why = await new Promise<'wake' | 'abandon' | 'timeout' | 'gone'>(resolve => { tell = resolve })
        if (why !== 'wake') return why !== 'gone'
      }
    } finally {
      clearTimeout(timer)
      response.off('close', gone)
      held.delete(told)
    }
  }

  async function health (question: ConsulQuestion, service: string, response: ServerResponse): Promise<void> {
    const { query, token } = question
    const index = query.get('index') ?? ''
    const wait = query.get('wait') ?? ''
    const ms = wait === '' ? 0 : parseDuration(wait)
    if (service === '') return fail(response, 400, 'Missing service name')
    if (ms === undefined) return fail(response, 400, 'Invalid wait time')
    if (!/^\d*$/.test(index)) return fail(response, 400, 'Invalid index')
    if (query.has('stale') && query.has('consistent')) return fail(response, 400, 'Cannot specify ?stale with ?consistent, conflicting semantics.')
    if (isTrue(query.get('passing')) === undefined) return fail(response, 400, 'Invalid value for ?passing')
    if (tokens !== undefined && token !== undefined && !(token in tokens)) return fail(response, 403, 'ACL not found')
    if (Number(index) > 0) {
      const longest = ms <= 0 ? DEFAULT_WAIT : Math.min(ms, LONGEST_WAIT)
      question.held = true
      const wanted = await hold(service, Number(index), longest + jitter() * longest / 16, response)
      question.held = false
      if (!wanted) return
    }
    const all = entriesOf(service, query)
    const maySee = tokens === undefined || (token !== undefined && tokens[token] === 'read')
    const entries = maySee ? all : []
    const headers = {
      'X-Consul-Index': String(indexOf(service)),
      'X-Consul-Knownleader': 'true',
      'X-Consul-Lastcontact': '0',
      'X-Consul-Effective-Consistency': query.has('stale') ? 'stale' : query.has('consistent') ? 'consistent' : 'leader',
      // whoever has no token is not told that there is something to hide
      'X-Consul-Results-Filtered-By-Acls': entries.length < all.length && token !== undefined ? 'true' : undefined,
      ...twist.headers
    }
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) response.setHeader(name, value)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(twist.entries === undefined ? entries : twist.entries(entries)))
  }

  // ---- the agent's endpoints

  async function agent (path: string, question: ConsulQuestion, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, what = '', of = ''] = /^(self|maintenance|service\/(?:register|deregister|maintenance)|check\/update)(?:\/(.+))?$/.exec(path) ?? []
    const enable = question.query.get('enable') === 'true'
    const body = await bodyOf(request)
    const id = decodeURIComponent(of)
    switch (`${question.method} ${what}`) {
      case 'GET self':
        response.end(JSON.stringify({ Config: { NodeName: node.name, Datacenter: 'dc1' }, Member: { Addr: node.address } }))
        return
      case 'PUT service/register': {
        const { Name, ID, Address, Port, Tags, Meta, Weights, EnableTagOverride, Check } = body as { Name: string, ID: string, Address?: string, Port?: number, Tags?: string[], Meta?: Record<string, string>, Weights?: { Passing: number, Warning: number }, EnableTagOverride?: boolean, Check: { Status: CheckStatus } }
        await control.register({ service: Name, id: ID, status: Check.Status, ...compact({ address: Address, port: Port, tags: Tags, meta: Meta, weights: Weights, enableTagOverride: EnableTagOverride }) } as ConsulInstance)
        break
      }
      case 'PUT service/deregister': await control.deregister(id); break
      case 'PUT service/maintenance': await control.maintenance(id, enable); break
      case 'PUT maintenance': await control.nodeMaintenance(enable); break
      case 'PUT check/update': await control.check(id.replace(/^check:/, ''), (body as { Status: CheckStatus }).Status); break
      default: return fail(response, 404, 'Invalid URL path: not a recognized HTTP API endpoint\n')
    }
    response.end()
  }

  // ---- the server

  const listener: RequestListener = (request, response) => {
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://consul')
    const token = request.headers['x-consul-token'] as string | undefined ?? query.get('token') ?? undefined
    const question: ConsulQuestion = { method: request.method ?? '', url: request.url ?? '', query, token, held: false }
    const asks = pathname.startsWith(`${prefix}/v1/health/`)
    if (asks) questions.push(question)
    if (asks && fault !== undefined) {
      play(fault, response)
      return
    }
    const name = pathname.startsWith(`${prefix}/v1/health/service/`) ? decodeURIComponent(pathname.slice(prefix.length + 19)) : undefined
    const done = name !== undefined && question.method === 'GET'
      ? health(question, name, response)
      : name !== undefined
        ? fail(response, 405, `method ${question.method} not allowed`)
        : agent(pathname.startsWith(`${prefix}/v1/agent/`) ? pathname.slice(prefix.length + 10) : '', question, request, response)
    Promise.resolve(done).catch((error: Error) => { fail(response, 500, error.message) })
  }

  function play (outage: Outage, response: ServerResponse): void {
    if (outage.kind === 'answer') response.writeHead(outage.status ?? 200, outage.headers).end(outage.body)
    if (outage.kind === 'drop' || outage.kind === 'refuse') response.socket?.destroy()
    if (outage.kind !== 'drip') return
    response.writeHead(200, { 'content-type': 'application/json', 'X-Consul-Index': String(state.raft) }).write('[')
    const timer = setInterval(() => { response.write(' ') }, outage.every)
    response.on('close', () => { clearInterval(timer) })
  }

  const server = tls === undefined ? createHttpServer(listener) : createHttpsServer(tls, listener)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => { sockets.delete(socket) })
  })
  // the client looks at certificates, not we
  server.on('tlsClientError', () => {})
  const listen = (port: number) => new Promise<void>(resolve => {
    if (socketPath === undefined) server.listen(port, '127.0.0.1', resolve)
    else server.listen(socketPath, resolve)
  })
  const stop = () => new Promise<void>(resolve => {
    server.close(() => { resolve() })
    for (const socket of sockets) socket.destroy()
  })
  await listen(0)
  const { port } = socketPath === undefined ? server.address() as AddressInfo : { port: 0 }
  t.teardown(async () => { if (server.listening) await stop() })

  const control: ConsulControl = {
    address: socketPath === undefined ? `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}${prefix}` : `unix://${socketPath}`,
    token: undefined,
    async node () { return { name: node.name, address: node.address, datacenter: 'dc1' } },
    async register (instance) { store({ ...instance, inMaintenance: false }) },
    async deregister (id) { remove(id) },
    async check (id, status) {
      // the agent sends no news where there is none
      if ((find(id).status ?? 'passing') !== status) store({ ...find(id), status })
    },
    async maintenance (id, enable) { store({ ...find(id), inMaintenance: enable }) },
    async nodeMaintenance (enable) { setNodeMaintenance(enable) }
  }

  return {
    ...control,
    questions,
    twist,
    get connections () { return sockets.size },
    async outage (outage) {
      fault = outage
      if (outage?.kind === 'refuse' && server.listening) await stop()
      if (outage?.kind === 'drop') for (const socket of sockets) socket.destroy()
      if (outage?.kind !== 'refuse' && !server.listening) await listen(port)
    },
    snapshot: () => structuredClone(state),
    restore (snapshot) {
      state = structuredClone(snapshot as State)
      wake('abandon')
    },
    touch (service) {
      state.raft++
      const known = state.services.get(service)
      if (known !== undefined) known.index = state.raft
      wake('wake')
    },
    wakeAll () { wake('abandon') }
  }
}

/** Go's `strconv.ParseBool`, where no value is true; null: not said. */
function isTrue (value: string | null): boolean | undefined {
  if (value === null) return false
  if (/^(?:|1|t|T|TRUE|true|True)$/.test(value)) return true
  return /^(?:0|f|F|FALSE|false|False)$/.test(value) ? false : undefined
}

/** Consul's errors are text. */
function fail (response: ServerResponse, status: number, text: string): void {
  if (response.headersSent) return
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text)
}

async function bodyOf (request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString())
}

function compact (values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== null))
}

// ---------------------------------------------------------------- the provider under test

/** A configuration with its defaults. */
export function consulConfig (said: Partial<ConsulDiscoveryConfig> & Pick<ConsulDiscoveryConfig, 'address'>): ConsulDiscoveryConfig {
  return {
    service: 'web',
    datacenter: undefined,
    tags: [],
    namespace: undefined,
    partition: undefined,
    token: undefined,
    passing: true,
    scheme: 'http',
    wait: 300_000,
    timeout: 10_000,
    consistency: 'default',
    tls: {},
    ...said
  }
}

export interface TestTools extends ProviderTools {
  /** Every sleep, ms. */
  readonly slept: number[]
  readonly warnings: Array<{ readonly message: string, readonly details: Readonly<Record<string, unknown>> | undefined }>
}

/** Time that passes only in sleeps, each of which is over at once. */
export function fastTools (): TestTools {
  let time = 0
  const slept: number[] = []
  const warnings: TestTools['warnings'] = []
  return {
    slept,
    warnings,
    random: () => 0.5,
    now: () => time,
    warn (message, details) { warnings.push({ message, details }) },
    async sleep (ms, signal) {
      signal.throwIfAborted()
      slept.push(ms)
      time += ms
    }
  }
}

export interface Follower {
  /** What was yielded so far. */
  readonly lists: ReadonlyArray<readonly DiscoveredTarget[]>
  readonly last: readonly DiscoveredTarget[] | undefined
  /** URLs of the last list, in its order. */
  readonly urls: readonly string[]
  /** What ended it, if anything has. */
  readonly error: Error | undefined
  readonly ended: boolean
  /** Aborts, and resolves when the watch has ended. */
  stop (): Promise<void>
}

/** Takes what a watch yields, until the test is over. */
export function follow (t: TestLike, provider: DiscoveryProvider): Follower {
  const controller = new AbortController()
  const lists: Array<readonly DiscoveredTarget[]> = []
  let error: Error | undefined
  let ended = false
  const running = (async () => {
    try {
      for await (const list of provider.watch!(controller.signal)) lists.push(list)
    } catch (thrown) {
      error = thrown as Error
    }
    ended = true
  })()
  const stop = () => {
    controller.abort()
    return running
  }
  t.teardown(stop)
  return {
    lists,
    get last () { return lists.at(-1) },
    get urls () { return lists.at(-1)?.map(({ url }) => url) ?? [] },
    get error () { return error },
    get ended () { return ended },
    stop
  }
}
