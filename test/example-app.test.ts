/** The example: it starts, every curl line it prints does what it says, and it ends when told to. */
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadConfigFile } from '../lib/config-file.ts'
import { startBackends } from '../example-app/backends.ts'
import { buildGateway } from '../example-app/gateway.ts'
import { waitFor } from './helper/time.ts'
import { curl, ROOT, runScript, wordsOf } from './helper-readme.ts'
import type { CurlAnswer } from './helper-readme.ts'

const FREE_PORTS = { PORT: '0', USERS_A_PORT: '0', USERS_B_PORT: '0', ORDERS_PORT: '0', PRODUCTS_PORT: '0', REVIEWS_PORT: '0', USERS_ACME_PORT: '0', LIVE_PORT: '0' }

type Check = (t: Test, answer: CurlAnswer, again: () => Promise<CurlAnswer>, url: string) => void | Promise<void>

const served = ({ headers }: CurlAnswer) => headers['x-served-by']
const json = ({ body }: CurlAnswer) => JSON.parse(body) as unknown

/** What each printed line must come to; the address stands as URL. */
const CHECKS: Record<string, Check> = {
  'curl -i URL/api/users': async (t, answer, again) => {
    t.has(json(answer), [{ id: 1, name: 'Ada Lovelace' }, { id: 2 }, { id: 3 }])
    t.has(answer.headers, { 'x-gateway': 'example', 'x-powered-by': undefined }, 'the file\'s header rules')
    const names = [answer, await again(), await again(), await again(), await again(), await again()].map(served)
    t.equal(names.filter(name => name === 'users-a').length, 4, 'two of three')
    t.equal(names.filter(name => name === 'users-b').length, 2, 'one of three')
  },
  'curl URL/api/users/2': (t, answer) => { t.has(json(answer), { id: 2, name: 'Grace Hopper' }) },
  'curl URL/api/users/1/orders': (t, answer) => {
    t.equal(served(answer), 'orders')
    t.has(json(answer), { items: [{ id: 100, userId: 1 }, { id: 102, userId: 1 }] })
    t.equal((json(answer) as { items: unknown[] }).items.length, 2)
  },
  'curl URL/api/products': (t, answer) => { t.has(json(answer), [{ id: 10 }, { id: 11 }]) },
  "curl -H 'x-api-version: 2' URL/api/products": (t, answer) => { t.has(json(answer), { total: 2, items: [{ id: 10 }, { id: 11 }] }) },
  "curl -H 'host: shop.example.com' URL/products": (t, answer) => { t.equal(served(answer), 'products') },
  "curl -i -X POST -H 'content-type: application/json' -d '{\"userId\":3,\"productId\":11}' URL/api/orders": (t, answer) => {
    t.equal(answer.status, 201)
    t.has(json(answer), { id: 103, userId: 3, productId: 11, status: 'open', source: 'example' })
  },
  'curl -i URL/pages/dashboard/2': (t, answer) => {
    t.same(json(answer), {
      user: { id: 2, name: 'Grace Hopper', email: 'grace@example.com' },
      orders: [{ id: 101, userId: 2, productId: 10, status: 'open' }],
      boss: { id: 1, name: 'Ada Lovelace' }
    })
    t.has(answer.headers, { 'x-composite-complete': 'true', 'cache-control': 'private, max-age=5', 'x-gateway': 'example', 'x-served-by': undefined })
  },
  'curl -i URL/pages/product/10': (t, answer) => {
    const { _meta: meta, ...page } = json(answer) as { _meta: unknown }
    t.same(page, { id: 10, name: 'Keyboard', price: 79, currency: 'EUR', inStock: 3, related: [{ id: 11, name: 'Monitor' }], reviews: [] })
    t.has(meta, {
      complete: false,
      parts: [
        { name: 'product', state: 'ok' },
        { name: 'stock', state: 'ok' },
        { name: 'related', state: 'ok' },
        { name: 'reviews', state: 'fallback', status: 500, code: 'RP_ERR_PART_STATUS' }
      ]
    })
    t.has(answer.headers, { 'x-composite-complete': 'false', 'cache-control': 'no-store' })
  },
  "curl -H 'x-tenant-id: acme' URL/api/users": (t, answer) => {
    t.equal(served(answer), 'users-acme')
    t.has(json(answer), [{ name: 'Wile E. Coyote', tenant: 'acme', plan: 'gold' }])
  },
  "curl -i -X POST -H 'x-tenant-id: globex' -H 'content-type: application/json' -d '{\"userId\":3,\"productId\":11}' URL/api/orders": (t, answer) => {
    t.equal(answer.status, 413, '27 bytes are more than 16')
    t.has(json(answer), { code: 'RP_ERR_BODY_TOO_LARGE' })
  },
  "curl -H 'x-tenant-id: acme, globex' URL/api/users": (t, answer) => {
    t.equal(answer.status, 400)
    t.has(json(answer), { code: 'RP_ERR_TENANT_INVALID' })
  },
  'curl URL/_gateway/tenants': (t, answer) => { t.has(json(answer), { total: 2, tenants: [{ id: 'acme', served: true, active: true, metadata: { plan: 'gold' } }, { id: 'globex', active: true }] }) },
  'curl -N URL/live/clock': (t, answer) => {
    t.equal(served(answer), 'live')
    t.match(answer.body, /^retry: 1000\n\nid: 1\ndata: [^\n]+Z\n\nid: 2\n/)
  },
  "curl -N -H 'last-event-id: 41' URL/live/clock": (t, answer) => { t.match(answer.body, /^retry: 1000\n\nid: 42\n[^]+\n\nid: 43\n/) },
  "curl -X POST 'URL/_demo/orders/fail?seconds=8'": async (t, answer, _again, url) => {
    t.has(json(answer), { brokenFor: 8 })
    const statuses: number[] = []
    for (let i = 0; i < 5; i++) statuses.push((await curl(`curl ${url}/api/orders`)).status)
    t.same(statuses, [500, 500, 500, 503, 503], 'three failures open the circuit')
  },
  'curl URL/_gateway/breakers': (t, answer) => { t.match((json(answer) as { breakers: unknown[] }).breakers[0], { backend: 'orders', state: /open/ }, 'the worst come first') },
  "curl 'URL/_gateway/explain?url=/api/orders'": (t, answer) => { t.has(json(answer), { route: { name: 'orders' }, calls: [{ backend: 'orders', targets: [{ state: 'active' }] }] }) },
  'curl -i URL/health/ready': (t, answer) => { t.same(json(answer), { status: 'ready' }, 'only users are required') },
  'curl URL/_gateway/backends': (t, answer) => {
    t.has(json(answer), { backends: [{ name: 'users', balancer: 'weighted-round-robin', targets: [{ weight: 2 }, { weight: 1 }] }, { name: 'orders' }, { name: 'products' }, { name: 'reviews' }, { name: 'live' }] })
  },
  'curl URL/metrics': (t, answer) => {
    t.match(answer.body, /^reverseproxy_requests_total\{route="users",method="GET",code="200"\} \d+$/m)
    t.match(answer.body, /^reverseproxy_composite_parts_total\{route="product",part="reviews",state="fallback"\} 1$/m)
    t.match(answer.body, /^reverseproxy_breaker_transitions_total\{backend="orders",target="[^"]+",state="open"\} 1$/m)
  },
  "curl -H 'x-user-id: 3' URL/api/me": (t, answer) => { t.has(json(answer), { id: 3, name: 'Alan Turing' }) },
  'curl -i URL/api/cached/products': (t, answer) => {
    t.has(answer.headers, { 'cache-control': 'public, max-age=60', 'x-served-by': 'products' })
  }
}

/** `curl -N`: an answer that does not end by itself, up to its second event. */
async function curlEvents (line: string): Promise<CurlAnswer> {
  const words = wordsOf(line)
  const [name, value] = words.includes('-H') ? words[words.indexOf('-H') + 1]!.split(': ') as [string, string] : []
  const sent = request(words.at(-1)!, { headers: name === undefined ? {} : { [name]: value }, agent: false }).end()
  const [response] = await once(sent, 'response') as [IncomingMessage]
  let body = ''
  for await (const chunk of response.setEncoding('utf8')) {
    body += chunk as string
    if (body.split('\nid: ').length > 2) break
  }
  return { status: response.statusCode!, headers: response.headers, body }
}

/** Lines that show a refusal; their checks say which. */
const REFUSED = new Set(Object.keys(CHECKS).filter(line => line.includes('globex')))

t.test('npm start runs the example', async (t) => {
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  t.equal(scripts['start'], 'tsx example-app/app.ts')
})

t.test('every line it prints does what it says, and SIGTERM ends it', async (t) => {
  const dumps = join(t.testdir(), 'dumps')
  const app = runScript(t, ['example-app/app.ts'], { env: { ...FREE_PORTS, DUMPS: dumps } })
  await app.until(/Ctrl-C ends it/)
  const [, url = ''] = /listens on (\S+)\. Try/.exec(app.output()) ?? []
  const lines = app.output().split('\n').map(line => line.trim()).filter(line => line.startsWith('curl'))
  t.same(lines.map(line => line.replace(url, 'URL')), Object.keys(CHECKS), 'each line has its check')
  for (const line of lines) {
    await t.test(line.replace(url, 'URL'), async (t) => {
      const answer = line.startsWith('curl -N') ? await curlEvents(line) : await curl(line)
      if (!REFUSED.has(line.replace(url, 'URL'))) t.ok(answer.status < 300, `status ${answer.status}`)
      await CHECKS[line.replace(url, 'URL')]?.(t, answer, async () => curl(line), url)
    })
  }
  t.has(await curl(`curl ${url}/api/me`), { status: 401 }, 'without a user')
  t.has(await curl(`curl ${url}/nothing`), { status: 404 }, 'no route')
  t.equal(await app.stop('SIGTERM'), 0)

  const [, names = '', files = ''] = /jq -c '\[(.*)\]' (\S+)/.exec(app.output()) ?? []
  t.equal(files, join(dumps, '*.jsonl'))
  const dumped = await linesOf(dumps)
  for (const name of names.split(', ')) t.ok(dumped.every(line => name.slice(1) in line), `${name} is in each line`)
  t.match(dumped, [{ rule: 'users', status_code: 200, response_body: /Ada Lovelace/ }])
  t.ok(dumped.some(({ rule, backend, attempts }) => rule === 'product' && backend === null && attempts.length > 3), 'composites too')
})

interface DumpLine { rule: string, backend: string | null, attempts: unknown[] }

async function linesOf (folder: string): Promise<DumpLine[]> {
  const texts = await Promise.all((await readdir(folder)).map(name => readFile(join(folder, name), 'utf8')))
  return texts.flatMap(text => text.trim().split('\n')).map(line => JSON.parse(line) as DumpLine)
}

t.test('what it does can be seen', async (t) => {
  const backends = await startBackends(FREE_PORTS)
  t.teardown(() => backends.close())
  const { app } = await buildGateway({ ...backends.urls, PORT: '0', DUMPS: t.testdir() })
  t.teardown(() => app.close())
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  await curl(`curl ${url}/pages/product/10`)

  await t.test('the status page', async (t) => {
    const { status, headers, body } = await curl(`curl ${url}/_gateway`)
    t.equal(status, 200)
    t.match(headers, { 'content-type': /^text\/html/, 'content-security-policy': /default-src 'none'/ })
    t.match(body, /<title>Gateway status<\/title>/)
  })
  await t.test('for this machine only', async (t) => {
    for (const header of ['host: gateway.example.com', 'x-forwarded-for: 192.0.2.1']) {
      t.match(await curl(`curl -H '${header}' ${url}/_gateway/status`), { status: 403, body: /RP_ERR_ADMIN_ACCESS/ }, header)
    }
  })
  await t.test('numbers, lines of the dump', async (t) => {
    t.match((await curl(`curl ${url}/metrics`)).body, /^reverseproxy_requests_total\{route="product",method="GET",code="200"\} 1$/m)
    t.ok(await waitFor(() => app.reverseproxy.trafficDump.stats().written === 1))
  })
  await t.test('the probes; without users it is not ready', async (t) => {
    // the first second, in which all of it is loaded, may be too much for @fastify/under-pressure
    while ((await curl(`curl ${url}/health/live`)).body.includes('FST_UNDER_PRESSURE')) await sleep(100)
    t.has(await curl(`curl ${url}/health/live`), { status: 200 })
    t.has(await curl(`curl ${url}/health/ready`), { status: 200 })
    for (const { url } of app.reverseproxy.backends.get('users')!.targets) app.reverseproxy.backends.updateTarget('users', url, { active: false })
    const answer = await curl(`curl ${url}/health/ready`)
    t.equal(answer.status, 503)
    t.same(json(answer), { status: 'not-ready', reasons: ['backend users: no usable target'] })
  })
})

t.test('a dump that cannot be written keeps nobody waiting', async (t) => {
  const backends = await startBackends(FREE_PORTS)
  t.teardown(() => backends.close())
  const { app } = await buildGateway({ ...backends.urls, PORT: '0', LOG: 'silent', DUMPS: join(t.testdir({ file: '' }), 'file/dumps') })
  t.teardown(() => app.close())
  t.equal((await app.inject('/api/users')).statusCode, 200)
  t.ok(await waitFor(() => app.reverseproxy.trafficDump.stats().failed + app.reverseproxy.trafficDump.stats().queued > 0))
  t.equal((await app.inject('/api/users')).statusCode, 200)
})

t.test('the usual addresses', async (t) => {
  const { server, config } = await loadConfigFile(join(ROOT, 'example-app/gateway.yaml'), {})
  t.equal(server.port, 8080)
  t.same(Object.values(config.backends).flatMap(({ targets }) => targets.map(({ url }) => url)), [4001, 4002, 4003, 4004, 4005, 4007].map(port => `http://127.0.0.1:${port}`))
})

t.test('the gateway can be built without listening', async (t) => {
  const backends = await startBackends(FREE_PORTS)
  t.teardown(() => backends.close())
  const { app, address } = await buildGateway({ ...backends.urls, PORT: '0', DUMPS: t.testdir() })
  t.teardown(() => app.close())
  t.equal(address.port, 0)
  t.has((await app.inject('/api/users/3')).json(), { name: 'Alan Turing' })
  t.has((await app.inject('/api/users/9')).json(), { message: 'no such user' }, 'a backend\'s own 404')
})

t.test('the pages, when something is missing', async (t) => {
  const backends = await startBackends(FREE_PORTS)
  t.teardown(() => backends.close())
  const { app } = await buildGateway({ ...backends.urls, PORT: '0', DUMPS: t.testdir() })
  t.teardown(() => app.close())
  const url = await app.listen({ host: '127.0.0.1', port: 0 })

  await t.test('a user without a boss has a complete dashboard', async (t) => {
    const answer = await curl(`curl ${url}/pages/dashboard/1`)
    t.same(Object.keys(json(answer) as object), ['user', 'orders'])
    t.has(json(answer), { user: { id: 1 }, orders: [{ id: 100 }, { id: 102 }] })
    t.has(answer.headers, { 'x-composite-complete': 'true', 'cache-control': 'private, max-age=5' })
  })

  for (const [page, message] of [['/pages/dashboard/9', 'no such user'], ['/pages/product/99', 'no such product']] as const) {
    await t.test(`${page}: the required part's own 404 is the answer`, async (t) => {
      const answer = await curl(`curl ${url}${page}`)
      t.equal(answer.status, 404)
      t.same(json(answer), { message })
      t.equal(answer.headers['x-composite-complete'], 'false')
    })
  }

  await t.test('reviews that cannot be reached are missed in the same way', async (t) => {
    const { app } = await buildGateway({ ...backends.urls, PORT: '0', REVIEWS: 'http://127.0.0.1:1', DUMPS: t.testdir() })
    t.teardown(() => app.close())
    const answer = await curl(`curl ${await app.listen({ host: '127.0.0.1', port: 0 })}/pages/product/11`)
    t.has(json(answer), { id: 11, inStock: 0, related: [{ id: 10 }], reviews: [], _meta: { complete: false } })
    t.has(answer.headers, { 'x-composite-complete': 'false', 'cache-control': 'no-store' })
  })
})
