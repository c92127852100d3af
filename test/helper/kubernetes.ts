/**
 * The API server of Kubernetes as far as EndpointSlices are concerned: list and watch with the semantics of
 * https://kubernetes.io/docs/reference/using-api/api-concepts/ over a real socket, and faults on demand.
 *
 * Kept exactly: one version counter for all objects; a list is one moment, its pages too; continue tokens and versions that were compacted
 * are 410; a watch gets what came after its version, selected by label (an object that no longer has the label is DELETED); bookmarks only
 * for those that asked; `timeoutSeconds` ends a watch between two events; errors are Status objects; no token, no answer.
 *
 * Beside it `SliceControl`: what a test that may also run against a real API server needs.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { TestLike } from './time.ts'

// ---------------------------------------------------------------- objects

/** An EndpointSlice as a test writes it. */
export interface SliceInput {
  readonly name: string
  readonly service?: string
  readonly addressType?: string
  readonly endpoints?: readonly object[] | null
  readonly ports?: readonly object[] | null
}

interface Stored {
  readonly metadata: { readonly name: string, readonly namespace: string, readonly uid: string, readonly resourceVersion: string, readonly labels: Readonly<Record<string, string>> }
  readonly [field: string]: unknown
}

interface Change {
  readonly version: number
  readonly before: Stored | undefined
  readonly after: Stored | undefined
}

export const SERVICE_LABEL = 'kubernetes.io/service-name'

/** `10.0.0.1` as a ready endpoint. */
export const ready = (address: string, more: object = {}): object => ({ addresses: [address], conditions: { ready: true, serving: true, terminating: false }, ...more })

// ---------------------------------------------------------------- the double

export type Verb = 'list' | 'watch'

/** What is done instead of an answer. */
export type Fault =
  | 'hang'
  | 'reset'
  | { readonly status: number, readonly headers?: Readonly<Record<string, string>>, readonly body?: string | object }

export interface Asked {
  readonly verb: Verb
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly namespace: string
  /** The name in the client's certificate. */
  readonly certificate: string | undefined
}

export interface KubernetesOptions {
  /** https with these. */
  readonly tls?: ServerOptions
  /** Path before `/apis`, as of an API server behind another server. */
  readonly prefix?: string
  /** How long a second of `timeoutSeconds` is, ms. Default 1000. */
  readonly second?: number
}

export interface KubernetesDouble {
  readonly url: string
  readonly port: number
  readonly requests: readonly Asked[]
  /** Watches that are open now. */
  readonly watching: number
  /** Connections that are open now. */
  readonly connections: number
  /** Only requests with this bearer token are answered; undefined: all. */
  token: string | undefined
  /** What the account may do. */
  allowed: readonly Verb[]
  /** How a watch from a forgotten version is answered: both occur. */
  goneAs: 'status' | 'event'
  put (slice: SliceInput, namespace?: string): void
  remove (name: string): void
  /** As etcd does every few minutes: versions and continue tokens up to now are forgotten. Open watches go on. */
  compact (): void
  /** Other objects change: the version grows. */
  advance (by?: number): void
  /** Sends the present version to the watches that asked for bookmarks. */
  bookmark (): void
  /** Ends all watches as their `timeoutSeconds` would. */
  endWatches (): void
  /** Cuts all watches' connections. */
  breakWatches (): void
  /** Sends this to all watches as it is. */
  send (bytes: string | Buffer): void
  /** Sends an ERROR event with this Status to all watches, and ends them. */
  error (code: number, reason: string, message: string): void
  /** What the next requests of this kind get, in order. */
  fail (verb: Verb, ...faults: readonly Fault[]): void
  /** Between two pages: called before the second and later pages are answered. */
  onContinue: (() => void) | undefined
  close (): Promise<void>
}

interface Watcher {
  readonly response: ServerResponse
  readonly namespace: string
  readonly selected: (object: Stored) => boolean
  readonly bookmarks: boolean
}

/** Starts it on a free port of 127.0.0.1; the test's teardown stops it. */
export async function startKubernetes (t: TestLike, { tls, prefix = '', second = 1000 }: KubernetesOptions = {}): Promise<KubernetesDouble> {
  const objects = new Map<string, Stored>()
  const history: Change[] = []
  const requests: Asked[] = []
  const watchers = new Set<Watcher>()
  const sockets = new Set<object>()
  const faults: Record<Verb, Fault[]> = { list: [], watch: [] }
  const pages = new Map<string, { version: number, rest: Stored[] }>()
  let version = 1000
  /** Watches may begin here at the earliest. */
  let oldest = version

  const double: KubernetesDouble = {
    url: '',
    port: 0,
    requests,
    get watching () { return watchers.size },
    get connections () { return sockets.size },
    token: undefined,
    allowed: ['list', 'watch'],
    goneAs: 'event',
    onContinue: undefined,
    put (slice, namespace = 'default') { store(slice.name, objectOf(slice, namespace, ++version)) },
    remove (name) { version += 1; store(name, undefined) },
    compact () { oldest = version; history.length = 0; pages.clear() },
    advance (by = 1) { version += by },
    bookmark () { for (const watcher of watchers) if (watcher.bookmarks) write(watcher, 'BOOKMARK', { kind: 'EndpointSlice', apiVersion: API, metadata: { resourceVersion: String(version), creationTimestamp: null }, endpoints: null, ports: null }) },
    endWatches () { for (const { response } of [...watchers]) response.end() },
    breakWatches () { for (const { response } of [...watchers]) response.socket?.destroy() },
    send (bytes) { for (const { response } of watchers) response.write(bytes) },
    error (code, reason, message) {
      for (const watcher of [...watchers]) {
        write(watcher, 'ERROR', statusObject(code, reason, message))
        watcher.response.end()
      }
    },
    fail (verb, ...more) { faults[verb].push(...more) },
    close
  }

  function store (name: string, after: Stored | undefined): void {
    const change: Change = { version, before: objects.get(name), after }
    if (after === undefined) objects.delete(name)
    else objects.set(name, after)
    history.push(change)
    for (const watcher of watchers) tell(watcher, change)
  }

  /** What a change is to those who see only what they selected. */
  function tell (watcher: Watcher, { version, before, after }: Change): void {
    const sees = (object: Stored | undefined): object is Stored => object !== undefined && object.metadata.namespace === watcher.namespace && watcher.selected(object)
    if (sees(after)) write(watcher, sees(before) ? 'MODIFIED' : 'ADDED', after)
    // a deleted object comes as it was, with the version of its deletion
    else if (sees(before)) write(watcher, 'DELETED', { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } })
  }

  function answer (request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams: query } = new URL(request.url ?? '', 'http://localhost')
    const namespace = new RegExp(`^${prefix}/apis/discovery\\.k8s\\.io/v1/namespaces/([^/]+)/endpointslices$`).exec(pathname)?.[1]
    if (namespace === undefined) return refuse(response, 404, 'NotFound', 'the server could not find the requested resource')
    const verb: Verb = query.get('watch') === 'true' ? 'watch' : 'list'
    const certificate = (request.socket as Partial<TLSSocket>).getPeerCertificate?.().subject as { CN?: string } | undefined
    requests.push({ verb, query, headers: request.headers, namespace, certificate: certificate?.CN })
    const fault = faults[verb].shift()
    if (fault !== undefined) return fail(response, fault)
    if (double.token !== undefined && request.headers.authorization !== `Bearer ${double.token}`) return refuse(response, 401, 'Unauthorized', 'Unauthorized')
    if (!double.allowed.includes(verb)) return refuse(response, 403, 'Forbidden', `endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:${namespace}:gateway" cannot ${verb} resource "endpointslices" in API group "discovery.k8s.io" in the namespace "${namespace}"`)
    if (verb === 'list') list(response, namespace, query)
    else watch(response, namespace, query)
  }

  function list (response: ServerResponse, namespace: string, query: URLSearchParams): void {
    const token = query.get('continue')
    const from = Number(query.get('resourceVersion') ?? 0)
    if (token !== null && from > 0) return refuse(response, 400, 'BadRequest', 'specifying resource version is not allowed when using continue')
    if (from > version) return refuse(response, 504, 'Timeout', `Too large resource version: ${from}, current: ${version}`)
    if (token !== null) double.onContinue?.()
    const page = token === null ? { version, rest: select(namespace, query) } : pages.get(token)
    if (page === undefined) return refuse(response, 410, 'Expired', 'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.')
    const limit = Number(query.get('limit') ?? 0) || Infinity
    const items = page.rest.slice(0, limit)
    const rest = page.rest.slice(limit)
    const next = rest.length > 0 ? randomUUID() : ''
    if (next !== '') pages.set(next, { version: page.version, rest })
    const metadata = { resourceVersion: String(page.version), ...(next === '' ? undefined : { continue: next, remainingItemCount: rest.length }) }
    // the items of a list have no kind of their own
    send(response, 200, { kind: 'EndpointSliceList', apiVersion: API, metadata, items })
  }

  function select (namespace: string, query: URLSearchParams): Stored[] {
    const selected = selectorOf(query)
    return [...objects.values()].filter(object => object.metadata.namespace === namespace && selected(object)).sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1)
  }

  function watch (response: ServerResponse, namespace: string, query: URLSearchParams): void {
    const text = query.get('resourceVersion') ?? ''
    if (!/^\d*$/.test(text)) return refuse(response, 400, 'BadRequest', `Invalid value: "${text}": invalid resource version`)
    const from = Number(text)
    if (from > version) return refuse(response, 504, 'Timeout', `Too large resource version: ${from}, current: ${version}`)
    const watcher: Watcher = { response, namespace, selected: selectorOf(query), bookmarks: query.get('allowWatchBookmarks') === 'true' }
    const gone = from !== 0 && from < oldest
    const message = `too old resource version: ${from} (${oldest})`
    if (gone && double.goneAs === 'status') return refuse(response, 410, 'Expired', message)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    if (gone) {
      write(watcher, 'ERROR', statusObject(410, 'Expired', message))
      response.end()
      return
    }
    if (from === 0) for (const object of select(namespace, query)) write(watcher, 'ADDED', object)
    else for (const change of history) if (change.version > from) tell(watcher, change)
    watchers.add(watcher)
    const timer = setTimeout(() => { response.end() }, Number(query.get('timeoutSeconds') ?? 1800) * second)
    const over = (): void => { watchers.delete(watcher); clearTimeout(timer) }
    response.once('close', over).once('finish', over)
  }

  const server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer)
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: TLSSocket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  async function close (): Promise<void> {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  t.teardown(close)
  return Object.defineProperties(double, { port: { value: port }, url: { value: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}${prefix}` } })
}

const API = 'discovery.k8s.io/v1'

function objectOf ({ name, service = 'orders', addressType = 'IPv4', endpoints, ports }: SliceInput, namespace: string, version: number): Stored {
  return {
    metadata: { name, namespace, uid: `uid-${name}`, resourceVersion: String(version), labels: { [SERVICE_LABEL]: service, 'endpointslice.kubernetes.io/managed-by': 'test' } },
    addressType,
    endpoints: endpoints ?? null,
    ports: ports === undefined ? [{ name: 'http', port: 8080, protocol: 'TCP' }] : ports
  }
}

/** `a=b,c=d`; the other forms of selectors are not asked for. */
function selectorOf (query: URLSearchParams): (object: Stored) => boolean {
  const terms = (query.get('labelSelector') ?? '').split(',').filter(term => term !== '').map(term => term.split('=') as [string, string])
  return ({ metadata: { labels } }) => terms.every(([key, value]) => labels[key] === value)
}

function write ({ response }: Pick<Watcher, 'response'>, type: string, object: object): void {
  response.write(`${JSON.stringify({ type, object: { kind: 'EndpointSlice', apiVersion: API, ...object } })}\n`)
}

function statusObject (code: number, reason: string, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code }
}

function refuse (response: ServerResponse, code: number, reason: string, message: string): void {
  send(response, code, statusObject(code, reason, message))
}

function send (response: ServerResponse, status: number, body: string | object, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(typeof body === 'string' ? body : JSON.stringify(body))
}

function fail (response: ServerResponse, fault: Fault): void {
  if (fault === 'hang') return
  if (fault === 'reset') response.socket?.destroy()
  else send(response, fault.status, fault.body ?? statusObject(fault.status, 'InternalError', 'it is out of order'), fault.headers)
}

// ---------------------------------------------------------------- kubeconfig

export interface KubeconfigInput {
  readonly server: string
  /** Of the user; default: a token of "secret-token". */
  readonly user?: object
  /** Of the cluster, over `insecure-skip-tls-verify: true`, without which the client library takes no http. */
  readonly cluster?: object
  readonly namespace?: string
}

/** A kubeconfig with one context each, the first of which is the current one; JSON is YAML. */
export function kubeconfigOf (contexts: Readonly<Record<string, KubeconfigInput>>): string {
  const entries = Object.entries(contexts)
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': entries[0]?.[0],
    clusters: entries.map(([name, { server, cluster }]) => ({ name: `${name}-cluster`, cluster: { server, ...(cluster ?? { 'insecure-skip-tls-verify': true }) } })),
    users: entries.map(([name, { user }]) => ({ name: `${name}-user`, user: user ?? { token: 'secret-token' } })),
    contexts: entries.map(([name, { namespace }]) => ({ name, context: { cluster: `${name}-cluster`, user: `${name}-user`, ...(namespace === undefined ? undefined : { namespace }) } }))
  })
}

/** The same in a file of a temporary folder, which the teardown removes. */
export async function writeKubeconfig (t: TestLike, contexts: Readonly<Record<string, KubeconfigInput>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kubeconfig-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const path = join(folder, 'config')
  await writeFile(path, kubeconfigOf(contexts))
  return path
}

// ---------------------------------------------------------------- one interface to the double and to a real API server

/** Slices of the service `orders` in a namespace of its own. */
export interface SliceControl {
  readonly kubeconfig: string
  readonly namespace: string
  put (slice: SliceInput): Promise<void>
  remove (name: string): Promise<void>
}

export async function controlDouble (t: TestLike): Promise<SliceControl> {
  const double = await startKubernetes(t)
  const kubeconfig = await writeKubeconfig(t, { test: { server: double.url } })
  return {
    kubeconfig,
    namespace: 'shop',
    async put (slice) { double.put(slice, 'shop') },
    async remove (name) { double.remove(name) }
  }
}

/** A namespace of its own on the API server of a kubeconfig; the teardown deletes it. */
export async function controlReal (t: TestLike, kubeconfig: string): Promise<SliceControl> {
  const { CoreV1Api, DiscoveryV1Api, KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  config.loadFromFile(kubeconfig)
  const core = config.makeApiClient(CoreV1Api)
  const discovery = config.makeApiClient(DiscoveryV1Api)
  const namespace = `reverseproxy-test-${randomUUID().slice(0, 8)}`
  await core.createNamespace({ body: { metadata: { name: namespace } } })
  t.teardown(() => core.deleteNamespace({ name: namespace }))
  // without a selector nobody but the test writes its slices
  await core.createNamespacedService({ namespace, body: { metadata: { name: 'orders' }, spec: { ports: [{ name: 'http', port: 80 }] } } })
  const known = new Set<string>()
  return {
    kubeconfig,
    namespace,
    async put (slice) {
      const { metadata, ...rest } = objectOf(slice, namespace, 0)
      // null is what the server sends, not what it takes
      const body = { metadata: { name: metadata.name, labels: { ...metadata.labels } }, ...rest, endpoints: slice.endpoints ?? [] } as unknown as Parameters<typeof discovery.createNamespacedEndpointSlice>[0]['body']
      if (known.has(slice.name)) await discovery.replaceNamespacedEndpointSlice({ namespace, name: slice.name, body })
      else await discovery.createNamespacedEndpointSlice({ namespace, body })
      known.add(slice.name)
    },
    async remove (name) {
      await discovery.deleteNamespacedEndpointSlice({ namespace, name })
      known.delete(name)
    }
  }
}
