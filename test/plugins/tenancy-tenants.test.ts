/** Tenants come, change and go while requests run: by hand, by `load`, by idleness; and backends change beneath them. */
import t from 'tap'
import { get, rawClient, sleep } from '../helper.ts'
import { TENANT, tenantGateway, tenantUpstream, until } from './tenancy-upstream.ts'
import type { FastifyInstance } from 'fastify'
import type { TestLike } from '../helper.ts'

const OPEN = '503 RP_ERR_CIRCUIT_OPEN'
const UNKNOWN = '403 RP_ERR_TENANT_UNKNOWN'
const REFUSED = '403 RP_ERR_TENANT_REFUSED'
const FAILED = '503 RP_ERR_TENANT_LOAD'
const breaker = { failureThreshold: 2, resetTimeout: '1m' }

/** Backends that tenants have of their own, as `scope/name`. */
function owned (app: FastifyInstance): string[] {
  return app.reverseproxy.registry.all().filter(({ scope }) => scope !== '').map(({ scope, name }) => `${scope}/${name}`).sort()
}

t.test('tenants.set', async t => {
  t.test('makes a tenant known from the next request on', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { unknown: 'reject' } })
    const { tenants } = app.reverseproxy
    t.equal(await ask('acme'), UNKNOWN)
    t.equal(tenants.get('acme'), undefined)
    tenants.set('acme', { backends: { up: own.url }, metadata: { plan: 'gold' } })
    t.same(tenants.get('acme'), { id: 'acme', served: true, source: 'set', active: false, metadata: { plan: 'gold' } })
    t.equal(await ask('acme'), '200 own')
    t.equal(tenants.get('acme')!.active, true)
    t.same(tenants.list().map(({ id }) => id), ['acme'])
  })

  t.test('false refuses, at once and until it is set again', async t => {
    const up = await tenantUpstream(t)
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { tenants: { acme: {}, hooli: false } } })
    const { tenants } = app.reverseproxy
    t.equal(await ask('hooli'), REFUSED)
    t.equal(await ask('acme'), '200 up')
    tenants.set('acme', false)
    t.equal(await ask('acme'), REFUSED)
    t.same(tenants.get('acme'), { id: 'acme', served: false, source: 'set', active: false, metadata: {} })
    t.same(owned(app), [])
    tenants.set('acme', {})
    t.equal(await ask('acme'), '200 up')
  })

  t.test('wrong options change nothing, and say where they are wrong', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { tenants: { acme: { backends: { up: own.url }, metadata: { a: 1 } } } } })
    const { tenants } = app.reverseproxy
    await ask('acme')
    const before = app.reverseproxy.registry.existing('up', 'acme')
    const paths = (id: string, options: unknown): string[] => {
      try {
        tenants.set(id, options)
      } catch (error) {
        t.equal((error as { code: string }).code, 'RP_ERR_OPTIONS')
        return (error as { problems: Array<{ path: string }> }).problems.map(({ path }) => path).sort()
      }
      return ['none']
    }
    t.same(paths('acme', { timeout: 'soon', backends: { up: { retry: { attempts: 0 } } } }), ['tenancy.tenants.acme.backends.up.retry.attempts', 'tenancy.tenants.acme.timeout'])
    t.same(paths('acme', { backends: { other: { timeout: '1s' } } }), ['tenancy.tenants.acme.backends.other'])
    t.same(paths('acme', { routes: { nowhere: false } }), ['tenancy.tenants.acme.routes.nowhere'])
    t.same(paths('not an id', {}).length, 1)
    t.same(paths('acme', { nonsense: 1 }), ['tenancy.tenants.acme.nonsense'])
    for (const nothing of [undefined, null, 'x', 5, true, []]) t.not(paths('acme', nothing)[0], 'none', String(nothing))
    t.not(paths('__proto__', {})[0], 'none')
    t.same(tenants.list().map(({ id, metadata }) => [id, metadata]), [['acme', { a: 1 }]])
    t.equal(await ask('acme'), '200 own')
    t.equal(app.reverseproxy.registry.existing('up', 'acme'), before)
  })

  t.test('does not see what happens to the options later', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url } })
    const options = { backends: { up: own.url } }
    app.reverseproxy.tenants.set('acme', options)
    options.backends.up = up.url
    t.equal(await ask('acme'), '200 own')
  })

  t.test('with what means the same keeps circuits and connections', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    own.failing.add('acme')
    const options = { backends: { up: { url: own.url } } }
    const { app, ask, askTimes } = await tenantGateway(t, { backends: { up: up.url }, circuitBreaker: breaker, tenancy: { tenants: { acme: options, globex: {} } } })
    const { tenants, breakers } = app.reverseproxy
    await askTimes(2, 'acme')
    t.equal(await ask('acme'), OPEN)
    tenants.set('acme', { ...options, metadata: { plan: 'gold' } })
    t.equal(await ask('acme'), OPEN)
    tenants.set('acme', { backends: { up: { url: own.url, timeout: '9s' } } })
    t.equal(await ask('acme'), OPEN, 'nor is another timeout a reason to forget')
    tenants.set('acme', { backends: { up: { url: own.url, circuitBreaker: { failureThreshold: 3 } } } })
    t.equal(await ask('acme'), '500 own', 'other options of the circuit are')
    t.equal(breakers.get('up', undefined, 'acme')?.state, 'closed')
    t.equal(own.connections.length, 1)
  })

  t.test('lets what runs finish, whatever becomes of the tenant', async t => {
    const [up, own, other] = [await tenantUpstream(t), await tenantUpstream(t, 'own'), await tenantUpstream(t, 'other')]
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { unknown: 'reject', tenants: { acme: { backends: { up: own.url } } } } })
    const { tenants } = app.reverseproxy
    const first = ask('acme', '/wait/1')
    await until('it is there', () => own.waiting.length === 1)
    tenants.set('acme', { backends: { up: other.url } })
    t.equal(await ask('acme'), '200 other')
    const second = ask('acme', '/wait/2')
    await until('so is the next', () => other.waiting.length === 1)
    tenants.set('acme', false)
    t.equal(await ask('acme'), REFUSED)
    own.release()
    other.release()
    t.same([await first, await second], ['200 own', '200 other'])
    await until('nothing of it is left', () => own.open() === 0 && other.open() === 0)
    t.same(owned(app), [])
  })

  t.test('leaves answers that are on their way alone', async t => {
    const up = await tenantUpstream(t)
    const { app, port } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { tenants: { acme: { backends: { up: up.url } } } } })
    const client = await rawClient(t, port)
    client.send(get('/wait', { [TENANT]: 'acme' }))
    await until('it is there', () => up.waiting.length === 1)
    const { response } = up.waiting[0]!
    response.write('one,')
    await until('the head is there', () => client.responses.length === 1)
    const removing = app.reverseproxy.tenants.remove('acme')
    let removed = false
    removing.then(() => { removed = true })
    await sleep(30)
    t.equal(removed, false, 'its own connection is still open')
    response.end('two')
    t.equal((await client.response(0)).text.replace(/[^a-z,]/g, ''), 'one,two')
    await removing
    await until('and then it is closed', () => up.open() === 0)
  })
})

t.test('tenants.remove', async t => {
  t.test('makes a tenant unknown, and closes what was its own', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { tenants: { acme: { backends: { up: own.url } }, globex: {} } } })
    t.equal(await ask('acme'), '200 own')
    t.equal(await ask('globex'), '200 up')
    t.equal(own.open(), 1)
    await app.reverseproxy.tenants.remove('acme')
    await until('its connection is closed', () => own.open() === 0)
    t.equal(up.open(), 1, 'that of all is not')
    t.same(app.reverseproxy.tenants.list().map(({ id }) => id), ['globex'])
    t.equal(await ask('acme'), '200 up', 'served as everybody is')
    t.same(owned(app), ['globex/up'])
    await app.reverseproxy.tenants.remove('nobody')
  })

  t.test('waits for the requests that run on its own connections', async t => {
    const own = await tenantUpstream(t, 'own')
    const { app, ask } = await tenantGateway(t, { backends: { up: own.url }, tenancy: { isolation: 'pool', tenants: { acme: { backends: { up: own.url } }, globex: {} } } })
    for (const id of ['acme', 'globex']) {
      const running = ask(id, '/wait')
      await until('it is there', () => own.waiting.length === 1)
      let done = false
      const removing = app.reverseproxy.tenants.remove(id).then(() => { done = true })
      await sleep(30)
      t.equal(done, false)
      own.release()
      t.equal(await running, '200 own')
      await removing
      await until('closed', () => own.open() === 0)
    }
  })
})

t.test('backends of everybody that change', async t => {
  async function start (t: TestLike, more: Record<string, unknown> = {}) {
    const [one, two] = [await tenantUpstream(t, 'one'), await tenantUpstream(t, 'two')]
    const gateway = await tenantGateway(t, { backends: { up: { targets: [one.url], ...more } }, circuitBreaker: breaker, tenancy: { tenants: { acme: {}, slow: { timeout: '9s' }, apart: { pool: { connections: 7 } } } } })
    const ids = [undefined, 'acme', 'slow', 'apart', 'unknown']
    return {
      one,
      two,
      ids,
      ...gateway,
      /** What each of them gets, without regard to turns. */
      async all (): Promise<Record<string, string[]>> {
        const found: Record<string, string[]> = {}
        for (const id of ids) found[id ?? ''] = [...new Set(await gateway.askTimes(4, id))].sort()
        return found
      }
    }
  }

  const everyone = (answers: string[]) => ({ '': answers, acme: answers, slow: answers, apart: answers, unknown: answers })

  t.test('are followed by all tenants at the next request', async t => {
    const { app, one, two, all } = await start(t)
    const { backends } = app.reverseproxy
    t.same(await all(), everyone(['200 one']))
    backends.addTarget('up', two.url)
    t.same(await all(), everyone(['200 one', '200 two']), 'addTarget')
    await backends.drain('up', one.url)
    t.same(await all(), everyone(['200 two']), 'drain')
    backends.updateTarget('up', one.url, { active: true })
    t.same(await all(), everyone(['200 one', '200 two']), 'active')
    backends.updateTarget('up', two.url, { weight: 0 })
    t.same(await all(), everyone(['200 one']), 'weight')
    backends.updateTarget('up', two.url, { weight: 1 })
    await backends.removeTarget('up', one.url)
    t.same(await all(), everyone(['200 two']), 'removeTarget')
    backends.update('up', one.url)
    t.same(await all(), everyone(['200 one']), 'update')
    backends.update('up', { url: two.url, pool: { connections: 3 } })
    t.same(await all(), everyone(['200 two']), 'update of what lives in pools')
    await backends.remove('up')
    t.match((await all())['acme']![0], /^500 /)
    backends.add('up', one.url)
    t.same(await all(), everyone(['200 one']), 'remove and add')
    t.same(owned(app), ['acme/up', 'apart/up', 'slow/up'])
  })

  t.test('keep the circuits of targets that stay', async t => {
    const { app, one, two, ask, askTimes } = await start(t)
    const { backends, breakers } = app.reverseproxy
    for (const id of ['acme', 'slow', 'apart']) {
      one.failing.add(id)
      t.same(await askTimes(3, id), ['500 one', '500 one', OPEN])
    }
    const states = () => ['acme', 'slow', 'apart'].map(id => breakers.get('up', one.url, id)?.state)
    for (const [what, change] of [
      ['addTarget', () => { backends.addTarget('up', two.url) }],
      ['weight', () => { backends.updateTarget('up', two.url, { weight: 0 }) }],
      ['removeTarget', () => backends.removeTarget('up', two.url)],
      ['update', () => { backends.update('up', { targets: [one.url], timeout: { headers: '8s' } }) }]
    ] as const) {
      await change()
      for (const id of ['acme', 'slow', 'apart']) await ask(id)
      t.same(states(), ['open', 'open', 'open'], what)
    }
    t.equal(await ask(), '200 one')
  })

  t.test('drain waits for the requests of all tenants', async t => {
    const { app, one, two, ask, ids } = await start(t)
    app.reverseproxy.backends.addTarget('up', two.url)
    await app.reverseproxy.backends.drain('up', two.url)
    const running = ids.map(id => ask(id, '/wait'))
    await until('all are there', () => one.waiting.length === ids.length)
    app.reverseproxy.backends.updateTarget('up', two.url, { active: true })
    let drained = false
    const draining = app.reverseproxy.backends.drain('up', one.url).then(() => { drained = true })
    for (const id of ids) t.equal(await ask(id), '200 two')
    for (const { response } of one.waiting.splice(1)) response.end('one')
    await sleep(30)
    t.equal(drained, false, 'one still runs')
    one.waiting[0]!.response.end('one')
    await draining
    t.same(await Promise.all(running), ids.map(() => '200 one'))
    await until('no connection is left, the tenants\' own neither', () => one.open() === 0)
  })

  t.test('are no reason for a tenant\'s own targets to be let go', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    own.failing.add('acme')
    const { app, askTimes, ask } = await tenantGateway(t, { backends: { up: up.url }, circuitBreaker: breaker, tenancy: { tenants: { acme: { backends: { up: own.url, mine: own.url } } } } })
    await askTimes(2, 'acme')
    app.reverseproxy.backends.update('up', { url: up.url, timeout: { headers: '8s' } })
    t.equal(await ask('acme'), OPEN)
    await app.reverseproxy.backends.drain('up')
    t.equal(await ask('acme'), OPEN)
    await app.reverseproxy.backends.remove('up')
    t.equal(await ask('acme'), OPEN)
  })
})

t.test('scopes', async t => {
  t.test('come with the first request and go with idleness, circuits and connections with them', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    const tenants = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`t${n}`, n % 2 === 0 ? {} : { backends: { up: own.url } }]))
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { scopes: { idle: 100 }, tenants } })
    t.same(owned(app), [])
    for (const id of Object.keys(tenants)) await ask(id)
    t.equal(owned(app).length, 30)
    t.equal(app.reverseproxy.breakers.list().length, 30)
    await until('all are idle', () => owned(app).length === 0, 10_000)
    t.same(app.reverseproxy.breakers.list(), [])
    await until('and their connections closed', () => own.open() === 0)
    t.same(app.reverseproxy.tenants.list().filter(({ active }) => active), [])
    t.equal(await ask('t1'), '200 own', 'and come again')
  })

  t.test('are never more than there may be', async t => {
    const up = await tenantUpstream(t)
    const tenants = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`t${n}`, {}]))
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { isolation: 'pool', scopes: { max: 3 }, tenants } })
    for (const id of Object.keys(tenants)) t.equal(await ask(id), '200 up')
    t.same(owned(app), ['t10/up', 't11/up', 't9/up'])
    await until('those of others are closed', () => up.open() === 3)
  })

  t.test('of all sizes serve at once more tenants than there may be', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    const ids = Array.from({ length: 12 }, (_, n) => `t${n}`)
    const tenants = Object.fromEntries(ids.map((id, n) => [id, n % 2 === 0 ? { backends: { up: own.url } } : { pool: { connections: 2 } }]))
    const { app, ask } = await tenantGateway(t, { backends: { up: { url: up.url, retry: { attempts: 3, statuses: [500], backoff: { initial: 20, max: 20 } } } }, circuitBreaker: false, tenancy: { scopes: { max: 2 }, tenants } })
    for (const id of ids) own.failing.add(id)
    const heal = setTimeout(() => { own.failing.clear() }, 15)
    const answers = await Promise.all([...ids, ...ids, ...ids].map(id => ask(id)))
    clearTimeout(heal)
    t.same(new Set(answers.filter((_, n) => n % 2 === 1)), new Set(['200 up']))
    t.ok(answers.every(answer => answer === '200 up' || answer === '200 own' || answer === '500 own'), 'tries again find the backend that was let go meanwhile')
    await until('all but two are closed', () => own.open() + up.open() <= 2 * 3, 10_000)
    t.ok(owned(app).length <= 2)
  })

  t.test('that go while a composite runs leave its later parts their backends', async t => {
    const [up, first, own] = [await tenantUpstream(t), await tenantUpstream(t, '{"next":"y"}'), await tenantUpstream(t, '"own"')]
    const parts = { one: { backend: 'first', path: '/wait' }, two: { backend: 'up', needs: ['one'], path: '/{one.body.next}', required: true } }
    const options = { backends: { up: own.url } }
    const ids = ['changed', 'removed', 'refused', 'pushed', 'still']
    const { app, ask } = await tenantGateway(t, {
      backends: { up: up.url, first: first.url },
      tenancy: { scopes: { max: 10 }, tenants: { ...Object.fromEntries(ids.map(id => [id, options])), other: {} } },
      routes: [{ name: 'both', path: '/both', composite: { strategy: 'object', parts } }]
    } as Record<string, unknown>)
    const { tenants } = app.reverseproxy
    for (const [id, act] of [
      ['changed', () => { tenants.set('changed', { ...options, timeout: '8s' }) }],
      ['removed', () => tenants.remove('removed')],
      ['refused', () => { tenants.set('refused', false) }],
      ['pushed', async () => { for (let n = 0; n < 10; n++) { tenants.set(`x${n}`, {}); await ask(`x${n}`) } }],
      ['still', () => {}]
    ] as const) {
      // so that the scope knows both backends before
      const warm = ask(id, '/both')
      await until('the first part is there', () => first.waiting.length === 1)
      first.release()
      t.equal(await warm, '200 {"one":{"next":"y"},"two":"own"}')
      const running = ask(id, '/both')
      await until('the first part is there', () => first.waiting.length === 1)
      await act()
      first.release()
      t.equal(await running, '200 {"one":{"next":"y"},"two":"own"}', id)
    }
    t.equal(up.seen['changed'], undefined)
  })

  t.test('that changed while a request ran are not brought back by it', async t => {
    const [up, first, own] = [await tenantUpstream(t), await tenantUpstream(t, '{}'), await tenantUpstream(t, '"own"')]
    own.failing.add('acme')
    const parts = { one: { backend: 'first', path: '/wait' }, two: { backend: 'up', needs: ['one'], path: '/y' } }
    const { app, ask, askTimes } = await tenantGateway(t, {
      backends: { up: up.url, first: first.url },
      circuitBreaker: breaker,
      tenancy: { tenants: { acme: {} } },
      routes: [{ name: 'both', path: '/both', composite: { strategy: 'object', parts } }, { name: 'all', path: '/*', proxy: { backend: 'up' } }]
    } as Record<string, unknown>, () => {})
    const running = ask('acme', '/both')
    await until('the first part is there', () => first.waiting.length === 1)
    app.reverseproxy.tenants.set('acme', { backends: { up: own.url } })
    t.same(await askTimes(3, 'acme'), ['500 "own"', '500 "own"', OPEN])
    first.release()
    await running
    t.equal(await ask('acme'), OPEN, 'its circuit is as it was')
  })
})

t.test('load', async t => {
  const log: Array<{ msg: string, level: number }> = []

  /** A store whose tenants and failings the test decides. */
  function store () {
    const asked: string[] = []
    return {
      asked,
      tenants: {} as Record<string, unknown>,
      fails: false,
      hangs: false,
      async load (this: void, id: string): Promise<unknown> {
        asked.push(id)
        await sleep(2)
        if (self.hangs) await new Promise(() => {})
        if (self.fails) throw new Error('the store is down')
        return Object.hasOwn(self.tenants, id) ? self.tenants[id] : undefined
      }
    }
  }
  let self: ReturnType<typeof store>

  async function start (t: TestLike, cache: Record<string, unknown>, more: Record<string, unknown> = {}) {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    self = store()
    const { load } = self
    const gateway = await tenantGateway(t, { backends: { up: up.url, mine: { targets: [] } }, circuitBreaker: breaker, tenancy: { load, cache, unknown: 'reject', ...more } })
    log.length = 0
    const lines = ['info', 'warn', 'error'] as const
    for (const level of lines) gateway.app.log[level] = ((_data: unknown, msg: string) => { log.push({ msg, level: lines.indexOf(level) }) }) as never
    return { up, own, store: self, ...gateway }
  }

  // beside them each failed request has a line, as all have
  const lookups = () => log.filter(({ msg }) => msg === 'a tenant could not be looked up' || msg === 'a tenant can be looked up again')

  t.test('is asked once for many, and kept', async t => {
    const { store, own, ask } = await start(t, { ttl: '1m' })
    store.tenants['acme'] = { backends: { up: own.url } }
    t.same(await Promise.all(Array.from({ length: 20 }, () => ask('acme'))), Array(20).fill('200 own'))
    t.equal(await ask('acme'), '200 own')
    t.same(store.asked, ['acme'])
  })

  t.test('is not asked for what is in the options or set', async t => {
    const { store, app, ask } = await start(t, {}, { tenants: { acme: {}, hooli: false } })
    app.reverseproxy.tenants.set('globex', {})
    t.same([await ask('acme'), await ask('globex'), await ask('hooli')], ['200 up', '200 up', REFUSED])
    t.same(store.asked, [])
  })

  t.test('that there is nobody is kept as well', async t => {
    const { store, ask } = await start(t, { negativeTtl: '1m' })
    t.same(await Promise.all([ask('made-up'), ask('made-up')]), [UNKNOWN, UNKNOWN])
    t.equal(await ask('made-up'), UNKNOWN)
    t.same(store.asked, ['made-up'])
    store.tenants['hooli'] = false
    t.equal(await ask('hooli'), REFUSED)
  })

  t.test('knows nobody whom the store does not know, whatever the name', async t => {
    const { ask } = await start(t, {})
    t.same([await ask('constructor'), await ask('toString'), await ask('hasOwnProperty')], [UNKNOWN, UNKNOWN, UNKNOWN])
  })

  t.test('again with the same answer keeps what there is', async t => {
    const { store, own, app, ask, askTimes } = await start(t, { ttl: 30 })
    store.tenants['acme'] = { backends: { up: { url: own.url } } }
    own.failing.add('acme')
    await askTimes(2, 'acme')
    t.equal(await ask('acme'), OPEN)
    const before = app.reverseproxy.registry.existing('up', 'acme')
    const { length } = store.asked
    store.tenants['acme'] = { backends: { up: { url: own.url } } }
    await sleep(40)
    t.equal(await ask('acme'), OPEN)
    t.ok(store.asked.length > length, 'it was asked')
    t.equal(app.reverseproxy.registry.existing('up', 'acme'), before)
    t.equal(own.connections.length, 1)
  })

  t.test('again with another answer changes the tenant, and a refused one is refused', async t => {
    const { store, own, app, ask } = await start(t, { ttl: 30 })
    store.tenants['acme'] = {}
    t.equal(await ask('acme'), '200 up')
    store.tenants['acme'] = { backends: { up: own.url } }
    await sleep(40)
    t.equal(await ask('acme'), '200 own')
    store.tenants['acme'] = false
    await sleep(40)
    t.equal(await ask('acme'), REFUSED)
    delete store.tenants['acme']
    await sleep(40)
    t.equal(await ask('acme'), UNKNOWN)
    t.equal(app.reverseproxy.tenants.get('acme'), undefined)
  })

  t.test('that fails uses the last good answer, and says so once', async t => {
    const { store, own, ask, askTimes } = await start(t, { ttl: 20, staleIfError: '1m' })
    store.tenants['acme'] = { backends: { up: own.url } }
    t.equal(await ask('acme'), '200 own')
    store.fails = true
    await sleep(30)
    t.same(await askTimes(5, 'acme'), Array(5).fill('200 own'))
    t.same(lookups(), [{ msg: 'a tenant could not be looked up', level: 2 }])
    t.equal(await ask('globex'), FAILED, 'of others there is none')
    store.fails = false
    await until('it is asked again, and says so', () => { ask('acme').catch(() => {}); return lookups().some(({ level }) => level === 0) }, 10_000)
  })

  t.test('that takes too long is a 503, or the last good answer', async t => {
    const { store, ask, askTimes } = await start(t, { ttl: 20, timeout: 50 })
    store.tenants['acme'] = {}
    t.equal(await ask('acme'), '200 up')
    store.hangs = true
    t.equal(await ask('globex'), FAILED)
    await sleep(30)
    t.same(await askTimes(3, 'acme'), Array(3).fill('200 up'))
  })

  t.test('that gives wrong options is a 503 with one line in the log, and changes nothing', async t => {
    const { store, own, ask, askTimes } = await start(t, { ttl: 20, staleIfError: '1m' })
    store.tenants['wrong'] = { timeout: 'soon' }
    store.tenants['lost'] = { routes: { nowhere: false } }
    store.tenants['text'] = 'gold'
    t.same(await askTimes(4, 'wrong'), Array(4).fill(FAILED))
    t.equal(lookups().length, 1)
    t.same([await ask('lost'), await ask('text')], [FAILED, FAILED])
    store.tenants['acme'] = { backends: { up: own.url } }
    t.equal(await ask('acme'), '200 own')
    store.tenants['acme'] = { backends: { up: 'nonsense' } }
    await sleep(30)
    t.equal(await ask('acme'), '200 own', 'the last good answer')
  })

  t.test('is asked again for a tenant that was removed', async t => {
    const { store, own, app, ask } = await start(t, { ttl: '1h' })
    const { tenants } = app.reverseproxy
    store.tenants['acme'] = {}
    t.equal(await ask('acme'), '200 up')
    t.same(tenants.list(), [{ id: 'acme', served: true, source: 'load', active: true, metadata: {} }])
    store.tenants['acme'] = { backends: { up: own.url } }
    t.equal(await ask('acme'), '200 up')
    await tenants.remove('acme')
    t.same(tenants.list(), [])
    t.equal(await ask('acme'), '200 own')
    tenants.set('acme', {})
    t.equal(await ask('acme'), '200 up', 'what was set comes first')
    t.same(tenants.list().map(({ id, source }) => [id, source]), [['acme', 'set']], 'and it is there once')
    await tenants.remove('acme')
    t.equal(await ask('acme'), '200 own')
  })

  t.test('under way when the gateway closes keeps it from nothing', async t => {
    const { store, app, ask } = await start(t, { timeout: '1m' })
    store.hangs = true
    const asked = ask('acme').catch(() => 'cut')
    await until('it is asked', () => store.asked.length === 1)
    app.server.closeAllConnections()
    const before = performance.now()
    await app.close()
    t.ok(performance.now() - before < 4_000)
    t.ok(await asked)
  })

  t.test('forgets of many the oldest', async t => {
    const { store, app, askTimes, ask } = await start(t, { max: 5, ttl: '1m' })
    for (let n = 0; n < 10; n++) {
      store.tenants[`t${n}`] = {}
      await ask(`t${n}`)
    }
    t.equal(app.reverseproxy.tenants.list().length, 5)
    for (let n = 0; n < 10; n++) await askTimes(1, `nobody${n}`)
    t.equal(app.reverseproxy.tenants.list().length, 5, 'and made-up ids push out nobody')
  })
})
