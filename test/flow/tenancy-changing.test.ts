/**
 * Tenants that are found and loaded in any order, change and go while they are asked for; and nothing of them stays.
 */
import t from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseOptions } from '../../lib/options/index.ts'
import { createSettings } from '../../lib/routes/settings.ts'
import { httpUpstream, seededRandom, startGateway } from '../helper.ts'
import type { Configure, GatewayOptions } from '../helper.ts'
import { createClient, gatewayOptions, interleave, isKnown, known, optionsOf, startScene, WHO } from './tenancy-scene.ts'
import type { Said, Send } from './tenancy-scene.ts'

t.setTimeout(120_000)

const noRoutes: Configure = () => {}

t.test('tenants who are found and loaded by functions that finish in any order', { timeout: 120_000 }, async t => {
  const random = seededRandom(6)
  const scene = await startScene(t, random)
  const late = async (): Promise<void> => { if (random() < 0.5) await sleep(Math.ceil(random() * 6)) }
  const loads: string[] = []
  const { url } = await startGateway(t, gatewayOptions(scene, {
    sources: [async ({ headers }: FastifyRequest) => {
      const key = headers['x-key'] as string | undefined
      await late()
      return key?.replace('key of ', '')
    }],
    async load (id: string) {
      loads.push(id)
      await late()
      return isKnown(id) ? optionsOf(id, scene.urls) : undefined
    },
    cache: { ttl: 300, negativeTtl: 200 },
    async onTenant (request: FastifyRequest, tenant: { id: string }) {
      await late()
      if (request.headers['x-was'] !== tenant.id || request.reverseproxy?.tenant !== tenant.id) throw new Error(`${String(request.headers['x-was'])} was taken for ${tenant.id}`)
    },
    async headers (tenant: { id: string }, request: FastifyRequest) {
      const { url } = request
      await late()
      return { 'x-hook': `${tenant.id} ${url}` }
    }
  }), noRoutes)
  const hooked: string[] = []
  const send = createClient(t, url, who => ({ 'x-key': `key of ${who}` }))
  const watched = async (...[who, method, path, body]: Parameters<Send>): ReturnType<Send> => {
    const told = await send(who, method, path, body)
    const parts = told.value === undefined ? [] : 'backend' in (told.value as object) ? [told.value as Said] : Object.values(told.value as Record<string, Said>)
    for (const { hook } of parts) if (hook !== (who === undefined ? undefined : `${who} ${path}`)) hooked.push(`${who} ${path}: ${hook}`)
    return told
  }
  const wrong = await interleave(Object.assign(watched, { talk: send.talk }), 1_200, random)
  t.same(wrong, [])
  t.same(scene.wrong, [])
  t.same(hooked, [], 'headers of hooks are those of the request')
  t.ok(loads.length > WHO.length, `${loads.length} loads`)
})

t.test('tenants that change and go while they are asked for', { timeout: 120_000 }, async t => {
  const random = seededRandom(7)
  const scene = await startScene(t, random)
  const { app, url } = await startGateway(t, gatewayOptions(scene, { tenants: Object.fromEntries(known.map(who => [who, optionsOf(who, scene.urls)])), scopes: { max: 10 } }), noRoutes)
  const done = new AbortController()
  let version = 0
  const churn = (async () => {
    while (!done.signal.aborted) {
      const who = known[Math.floor(random() * known.length)]!
      // means the same, but is another object, and has more or less of what does not matter here
      app.reverseproxy.tenants.set(who, { ...optionsOf(who, scene.urls), metadata: { version: ++version }, timeout: `${10 + version % 20}s` })
      await sleep(2)
    }
  })()
  const wrong = await interleave(createClient(t, url, who => ({ 'x-tenant-id': who })), 1_000, random)
  done.abort()
  await churn
  t.same(wrong, [])
  t.same(scene.wrong, [])
  t.ok(version > 50, `${version} changes`)
  t.ok(app.reverseproxy.tenants.list().filter(({ active }) => active).length <= 10, 'no more are active than may be')
})

// ---- what is kept

/** Ends what nobody holds. */
async function collectGarbage (): Promise<void> {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  for (let n = 0; n < 5; n++) {
    await sleep(5)
    gc()
  }
}

/** What requests had, without holding it. */
function scopesOf (app: FastifyInstance): Set<WeakRef<object>> {
  const seen = new Set<WeakRef<object>>()
  const known = new WeakSet<object>()
  app.addHook('onResponse', async ({ reverseproxy }: FastifyRequest) => {
    const scope = reverseproxy?.scope as object | undefined
    if (scope === undefined || known.has(scope)) return
    known.add(scope)
    seen.add(new WeakRef(scope))
  })
  return seen
}

t.test('what a tenant had goes with it: its plans, settings and backends', { timeout: 60_000 }, async t => {
  const { url: backend } = await httpUpstream(t, (request, response) => { response.end(request.headers['x-version']) })
  let scopes = new Set<WeakRef<object>>()
  const { app } = await startGateway(t, {
    backends: { users: backend },
    tenancy: { tenants: {}, scopes: { max: 10 } },
    routes: [{ name: 'plain', path: '/plain', proxy: { backend: 'users' } }, { name: 'composite', path: '/composite', composite: { backends: ['users'], strategy: 'select' } }]
  } as GatewayOptions, app => { scopes = scopesOf(app) })
  const ROUNDS = 150
  for (let version = 0; version < ROUNDS; version++) {
    const id = version % 3 === 0 ? 'acme' : `tenant-${version}`
    app.reverseproxy.tenants.set(id, {
      backends: { users: { headers: { request: { set: { 'x-version': String(version) } } } } },
      routes: { plain: { proxy: { headers: { response: { set: { 'x-version': String(version) } } } } }, composite: { composite: { timeout: 1000 + version } } }
    })
    for (const path of ['/plain', '/composite']) t.equal((await app.inject({ url: path, headers: { 'x-tenant-id': id } })).body, String(version))
  }
  t.equal(scopes.size, ROUNDS)
  await collectGarbage()
  const left = [...scopes].filter(scope => scope.deref() !== undefined).length
  t.ok(left <= 20, `${left} of ${ROUNDS} scopes are left`)
  t.ok(app.reverseproxy.breakers.list().length <= 11)
})

t.test('settings that differ are kept up to a number only', async t => {
  const config = parseOptions({ backends: { users: 'http://127.0.0.1:1' } })
  let compiled = 0
  const find = createSettings(config, () => { compiled++; return { request: () => [], response: () => true, added: [] } as never })
  const { users } = config.backends
  const proxy = parseOptions({ backends: { users: 'http://127.0.0.1:1' }, routes: [{ path: '/x', proxy: { backend: 'users' } }] }).routes[0]!.proxy!
  const of = (version: number) => find({ ...proxy, headers: { request: { set: { 'x-version': String(version) } }, response: {} } }, users!)
  const first = of(0)
  t.equal(of(0), first, 'equal ones are shared')
  for (let version = 1; version <= 20_000; version++) of(version)
  t.equal(compiled, 20_001)
  t.not(of(0), first, 'it is long gone')
})
