/** Secrets that pass a gateway which logs, counts, traces and dumps everything are in nothing that it tells anybody. */
import t from 'tap'
import type { Test } from 'tap'
import { SpanKind } from '@opentelemetry/api'
import { join } from 'node:path'
import { closedPort, handshake, httpProxy, httpUpstream, rawClient, rawRequest, rawUpstream, requestBytes, RESET, startGateway, switching, waitFor } from '../helper.ts'
import type { GatewayOptions, HeaderLine } from '../helper.ts'
import { dumpText } from '../helper/dump.ts'
import { startTraces } from '../helper/traces.ts'

// ---- the corpus

/** What may be nowhere, by where it was put. */
const secrets = new Map<string, string>()

function secret (where: string): string {
  const value = `zq${secrets.size}x${where.replaceAll(/\W+/g, '')}`
  secrets.set(where, value)
  return value
}

const basic = (user: string, password: string): string => Buffer.from(`${user}:${password}`).toString('base64')
function basicSecret (where: string): string {
  const text = basic('user', secret(where))
  secrets.set(`${where}, encoded`, text)
  return text
}

const JWT = `eyJhbGciOiJIUzI1NiJ9.${Buffer.from('{"sub":"1"}').toString('base64url')}.${secret('JWT').padEnd(43, 'x')}`

const HEADERS: readonly HeaderLine[] = [
  ['Authorization', `Bearer ${secret('authorization')}`],
  ['Proxy-Authorization', `Basic ${basicSecret('proxy-authorization')}`],
  ['X-Api-Key', secret('x-api-key')],
  ['X-Auth-Token', secret('x-auth-token')],
  ['X-CSRF-Token', secret('x-csrf-token')],
  ['X-Amz-Security-Token', secret('x-amz-security-token')],
  ['Cookie', `sid=${secret('cookie')}; theme=dark; other=${secret('second cookie')}`],
  ['Referer', `https://user:${secret('referer userinfo')}@app.example/page?access_token=${secret('referer query')}`],
  ['X-Forwarded-Access-Token', JWT],
  ['X-Tenant-Id', secret('tenant')]
]
const TENANT = secrets.get('tenant')!
const UNKNOWN_TENANT = secret('unknown tenant')

const QUERY = ['token', 'access_token', 'api_key', 'password', 'sig', 'X-Amz-Signature', 'client_secret', 'code'].map(name => `${name}=${secret(`query ${name}`)}`).join('&') +
  `&page=2&next=${encodeURIComponent(`https://u:${secret('userinfo in a query')}@x.example/?token=${secret('query in a query')}`)}`

const JSON_BODY = JSON.stringify({ user: 'ann', password: secret('json password'), login: { tokens: [{ refresh_token: secret('json nested') }], apiKey: secret('json camel case') }, note: `Bearer ${secret('json bearer in a text')}` })
const FORM_BODY = `user=ann&password=${secret('form password')}&client_secret=${secret('form secret')}`
const TEXT_BODY = `the answer: password=${secret('text password')}; Authorization: Bearer ${secret('text bearer')}`

const ANSWER_HEADERS: readonly HeaderLine[] = [
  ['Set-Cookie', `sid=${secret('set-cookie')}; HttpOnly`],
  ['Set-Cookie', `second=${secret('second set-cookie')}; Secure`],
  ['X-Session-Token', secret('answer token')],
  ['Location', `https://user:${secret('location userinfo')}@a.example/?code=${secret('location query')}`],
  ['WWW-Authenticate', `Bearer realm="a", token="${secret('www-authenticate')}"`]
]
const ANSWER_BODY = JSON.stringify({ access_token: secret('answer json'), user: 'ann' })
const ERROR_BODY = JSON.stringify({ error: `password=${secret('error message')} is wrong`, secret: secret('error json') })
const SUBPROTOCOL = `bearer.${secret('websocket subprotocol')}`
const MALFORMED = secret('malformed answer')
const PROBE = secret('query of a health check')
const PROXY = secret('password of a proxy')
secrets.set('password of a proxy, encoded', basic('user', PROXY))
const CONSUL = secret('token of Consul')
const HASHED = secret('text that is mixed into hashes')

// ---- the scene

const answer = (status: number, body: string, more: readonly HeaderLine[] = ANSWER_HEADERS): Buffer => Buffer.from(
  `HTTP/1.1 ${status} Told\r\n${[...more, ['Content-Type', 'application/json'], ['Content-Length', String(body.length)]].map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`)

async function startScene (t: Test) {
  const traces = startTraces()
  const directory = join(t.testdir(), 'dumps')
  const raw: string[] = []
  let flaky = 0
  const up = await rawUpstream(t, ({ request: { target } }) => {
    if (target.includes('/fails')) return answer(500, ERROR_BODY)
    if (target.includes('/denied')) return answer(403, ERROR_BODY)
    if (target.includes('/flaky') && flaky++ === 0) return RESET
    if (target.includes('/away')) return answer(302, '', [['Location', `/ok?token=${secrets.get('location query')!}`]])
    if (target.includes('/cut')) return [answer(200, ANSWER_BODY).subarray(0, -9), RESET]
    return target.includes('/ws') ? switching({ 'Set-Cookie': `sid=${secrets.get('set-cookie')!}`, 'Sec-WebSocket-Protocol': SUBPROTOCOL }) : answer(200, ANSWER_BODY)
  })
  const malformed = await rawUpstream(t, `HTTP/1.1 200 OK\r\nset-cookie: sid=${MALFORMED}\r\nnot a header ${MALFORMED}\r\n\r\n`)
  const consul = await httpUpstream(t, (request, response) => { response.writeHead(403).end(`Permission denied: ${String(request.headers['x-consul-token'])}`) })
  const proxy = await httpProxy(t, { answer: () => 407 })
  const refused = `http://127.0.0.1:${await closedPort()}`
  const off = { circuitBreaker: false }
  const options = {
    backends: {
      up: { url: up.url, retry: { attempts: 2, backoff: { initial: 1, max: 1 } }, ...off },
      refused: { url: refused, ...off },
      checked: { url: refused, health: { path: `/health?token=${PROBE}`, interval: 50, timeout: 50 }, ...off },
      malformed: { url: malformed.url, ...off },
      proxied: { url: up.url, httpProxy: { url: proxy.url, username: 'user', password: PROXY }, ...off },
      found: { discovery: { consul: { address: consul.url, service: 'x', token: CONSUL }, bootTimeout: 100 }, ...off },
      follows: { url: up.url, redirects: 'follow', ...off },
      broken: { url: refused, circuitBreaker: { failureThreshold: 1 } }
    },
    admin: true,
    tenancy: { header: 'x-tenant-id', unknown: 'reject', hashIds: HASHED, tenants: { [TENANT]: { metadata: { password: HASHED } } } },
    log: { requests: 'trace', failures: 'warn', query: true, clientAddress: true },
    metrics: { allRoutes: true },
    tracing: { query: true, clientAddress: true, probes: true },
    trafficDump: { directory, sampleRate: 1 },
    routes: [
      ...['up', 'refused', 'malformed', 'proxied', 'found', 'follows', 'broken'].map(backend => ({ path: `/${backend}/*`, methods: ['GET', 'POST'], proxy: { backend, websocket: backend !== 'follows' } })),
      { path: '/page', composite: { meta: true, parts: { good: { backend: 'up', path: '/ok' }, bad: { backend: 'up', path: '/fails' }, gone: { backend: 'refused', path: `/x?token=${secrets.get('query token')!}` }, odd: { backend: 'malformed' } } } },
      { path: '/needs', composite: { parts: { odd: { backend: 'malformed', required: true }, gone: { backend: 'refused' } } } },
      { path: '/merged', composite: { backends: ['up', 'refused'], strategy: 'merge' } }
    ]
  }
  const stream = { write (line: string) { raw.push(line) } }
  const started = await startGateway(t, options as unknown as GatewayOptions, () => {}, { logger: { level: 'trace', stream }, disableRequestLogging: true })

  /** What the gateway itself has answered; what backends say to their clients is theirs. */
  const told: string[] = []
  /** `more` takes the place of headers of the same name. */
  async function ask (status: number, target: string, { method = 'GET', headers = [], body }: { method?: string, headers?: readonly HeaderLine[], body?: string } = {}, isOurs = true): Promise<void> {
    const replaced = HEADERS.filter(([name]) => !headers.some(([other]) => other.toLowerCase() === name.toLowerCase()))
    const { response } = await rawRequest(started.port, requestBytes(method, target, { headers: [...replaced, ...headers], ...body === undefined ? undefined : { body } }))
    if (response.status !== status) throw new Error(`${method} ${target.split('?')[0]!}: ${response.status}`)
    if (isOurs) told.push(JSON.stringify(response.headers), response.text)
  }

  return { ...started, ask, traces, directory, raw, told, up, malformed }
}

type Scene = Awaited<ReturnType<typeof startScene>>

/** Everything that tells somebody something: each is searched for every secret. */
const SINKS: Readonly<Record<string, (scene: Scene) => string | Promise<string>>> = {
  'the log': ({ raw }) => raw.map(ours).join(''),
  'the traffic dump': ({ directory }) => dumpText(directory),
  'the metrics': async ({ url }) => await (await fetch(`${url}/metrics`)).text(),
  'the spans': ({ traces }) => JSON.stringify(traces.spans().map(({ name, attributes, events, status, links }) => ({ name, attributes, events, status, links }))),
  'the answers': ({ told }) => told.join('\n'),
  'the snapshot': ({ app }) => JSON.stringify(app.reverseproxy.metrics.snapshot()),
  'the state of discovery': ({ app }) => JSON.stringify(app.reverseproxy.discovery.status()),
  'the admin interface': async ({ url }) => {
    const paths = ['status', 'routes', 'backends', 'breakers', 'tenants', 'config', 'recent', 'explain?url=/', 'openapi.json']
    return (await Promise.all(paths.map(async path => {
      const answer = await fetch(`${url}/_gateway/${path}`)
      const text = `${answer.status} ${await answer.text()}`
      // operators are told whose they are
      return ['tenants', 'config', 'breakers', 'recent'].includes(path) ? text.replaceAll(TENANT, '') : text
    }))).join('\n')
  },
  'the state of checks': ({ app }) => JSON.stringify(app.reverseproxy.health.status('checked'))
}

/** Fastify's own lines show the URL of the request. */
function ours (line: string): string {
  const { req, ...rest } = JSON.parse(line) as { req?: unknown }
  return `${JSON.stringify(rest)}\n`
}

/** Plain, retried, failing, refused, composite and upgraded requests with all that is secret in them. */
async function passAll ({ ask }: Scene): Promise<number> {
  const json = { method: 'POST', headers: [['Content-Type', 'application/json']] as HeaderLine[], body: JSON_BODY }
  const form = { method: 'POST', headers: [['Content-Type', 'application/x-www-form-urlencoded']] as HeaderLine[], body: FORM_BODY }
  const text = { method: 'POST', headers: [['Content-Type', 'text/plain']] as HeaderLine[], body: TEXT_BODY }
  const theirs = false
  for (const body of [undefined, json, form, text]) await ask(200, `/up/ok?${QUERY}`, body, theirs)
  await ask(200, `/up/flaky?${QUERY}`, undefined, theirs)
  await ask(500, `/up/fails?${QUERY}`, json, theirs)
  await ask(403, `/up/denied?${QUERY}`, form, theirs)
  await ask(200, `/follows/away?${QUERY}`, undefined, theirs)
  await ask(400, `http://user:${secret('userinfo of the request target')}@gateway.example/up/ok?${QUERY}`)
  await ask(502, '/broken/x')
  for (const [status, backend] of [[502, 'refused'], [502, 'malformed'], [502, 'proxied'], [503, 'found'], [503, 'broken']] as const) {
    for (const body of [undefined, json]) await ask(status, `/${backend}/x?${QUERY}`, body)
  }
  await ask(403, `/up/ok?${QUERY}`, { headers: [['X-Tenant-Id', UNKNOWN_TENANT]] })
  await ask(502, `/needs?${QUERY}`)
  for (const path of ['/page', '/merged']) await ask(200, `${path}?${QUERY}`, undefined, theirs)
  return 24
}

/** The handshakes of WebSockets: one that is taken, and one that cannot be. */
async function upgrade (t: Test, { port }: Scene): Promise<number> {
  const headers = [...HEADERS, ['Sec-WebSocket-Protocol', SUBPROTOCOL] as const]
  const taken = await rawClient(t, port)
  await taken.send(handshake(`/up/ws?${QUERY}`, {}, headers))
  await waitFor(() => taken.responses.length > 0)
  const failed = await rawRequest(port, handshake(`/refused/ws?${QUERY}`, {}, headers))
  t.same([taken.responses[0]?.status, failed.status], [101, 502])
  taken.destroy()
  return 2
}

t.test('no secret is in anything that is told', async t => {
  const scene = await startScene(t)
  const { app, raw, up, malformed, traces } = scene
  const count = await passAll(scene) + await upgrade(t, scene)
  const lines = () => raw.map(line => JSON.parse(line) as { msg: string, backend?: string })
  t.ok(await waitFor(() => app.reverseproxy.trafficDump.stats().written >= count), 'all have been dumped')
  t.ok(await waitFor(() => lines().filter(({ msg }) => msg === 'request').length >= count), 'and logged')
  t.ok(await waitFor(() => traces.spans().filter(({ kind }) => kind === SpanKind.SERVER).length >= count), 'and traced')
  t.ok(await waitFor(() => lines().some(({ msg }) => msg === 'a target is unhealthy') && lines().some(({ msg }) => msg.startsWith('discovery failed'))), 'faults were told')

  const seen = up.requests.map(({ head, body }) => `${head}${body.toString()}`).join('')
  for (const where of ['authorization', 'cookie', 'query token', 'json nested', 'form password', 'websocket subprotocol']) t.ok(seen.includes(secrets.get(where)!), `the backend was told: ${where}`)
  t.ok(malformed.requests.length > 0)

  for (const [sink, read] of Object.entries(SINKS)) {
    t.test(sink, async t => {
      const text = await read(scene)
      t.ok(text.length > 50, 'there is something')
      t.same([...secrets].filter(([, value]) => text.includes(value)).map(([where]) => where), [])
    })
  }
})
