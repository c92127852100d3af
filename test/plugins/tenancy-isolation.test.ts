/** What one tenant's backend does is nobody else's business: breakers, health, budgets, places, connections. */
import t from 'tap'
import { closedPort, httpUpstream, sleep, waitFor } from '../helper.ts'
import { TENANT, tenantGateway, tenantUpstream, until } from './tenancy-upstream.ts'

const OPEN = '503 RP_ERR_CIRCUIT_OPEN'
const breaker = { failureThreshold: 2, resetTimeout: '1m' }

t.test('circuits', async t => {
  t.test('a tenant\'s own dead backend opens its own circuit and no other', async t => {
    const up = await tenantUpstream(t)
    const dead = `http://127.0.0.1:${await closedPort()}`
    const { app, ask, askTimes } = await tenantGateway(t, { backends: { up: up.url }, circuitBreaker: breaker, tenancy: { tenants: { acme: { backends: { up: dead } }, globex: {} } } })
    const answers = await askTimes(3, 'acme')
    t.match(answers[0], /^502 /)
    t.equal(answers[2], OPEN)
    t.equal(await ask('globex'), '200 up')
    t.equal(await ask(), '200 up')
    t.same(app.reverseproxy.breakers.list().map(({ scope, state }) => [scope, state]).sort(), [['', 'closed'], ['acme', 'open'], ['globex', 'closed']])
  })

  t.test('a tenant for whom a shared target fails is alone with its open circuit', async t => {
    const up = await tenantUpstream(t)
    up.failing.add('acme')
    const { askTimes, app } = await tenantGateway(t, { backends: { up: up.url }, circuitBreaker: breaker, tenancy: { tenants: { acme: {}, globex: {} } } })
    t.same(await askTimes(3, 'acme'), ['500 up', '500 up', OPEN])
    t.same(await askTimes(3, 'globex'), Array(3).fill('200 up'))
    t.same(await askTimes(3), Array(3).fill('200 up'))
    const state = (tenant?: string) => app.reverseproxy.breakers.get('up', undefined, tenant)?.state
    t.same([state(), state('acme'), state('globex')], ['closed', 'open', 'closed'])
  })

  t.test('and one whose requests succeed does not close or reset the count of another', async t => {
    const up = await tenantUpstream(t)
    up.failing.add('acme')
    const { ask } = await tenantGateway(t, { backends: { up: up.url }, circuitBreaker: breaker, tenancy: { tenants: { acme: {}, globex: {} } } })
    t.equal(await ask('acme'), '500 up')
    t.equal(await ask('globex'), '200 up')
    t.equal(await ask('acme'), '500 up')
    t.equal(await ask('acme'), OPEN)
  })

  t.test('unknown tenants have the circuit of all: no id makes a fresh one', async t => {
    const up = await tenantUpstream(t)
    for (const id of ['', 'made-up-1', 'made-up-2']) up.failing.add(id)
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, circuitBreaker: breaker, tenancy: { tenants: { acme: {} } } })
    t.same([await ask('made-up-1'), await ask('made-up-2')], ['500 up', '500 up'])
    t.same([await ask('made-up-3'), await ask()], [OPEN, OPEN])
    t.equal(await ask('acme'), '200 up')
    t.same(app.reverseproxy.breakers.list().map(({ scope }) => scope), ['', 'acme'])
  })

  t.test('one tenant\'s options are for its circuit only', async t => {
    const up = await tenantUpstream(t)
    for (const id of ['acme', 'globex', 'hooli']) up.failing.add(id)
    const { askTimes } = await tenantGateway(t, { backends: { up: up.url }, circuitBreaker: breaker, tenancy: { tenants: { acme: { circuitBreaker: { failureThreshold: 4 } }, globex: {}, hooli: { circuitBreaker: false } } } })
    t.same(await askTimes(5, 'acme'), [...Array<string>(4).fill('500 up'), OPEN])
    t.same(await askTimes(3, 'globex'), ['500 up', '500 up', OPEN])
    t.same(await askTimes(6, 'hooli'), Array(6).fill('500 up'))
  })

  t.test('by hand they open and close for one tenant', async t => {
    const up = await tenantUpstream(t)
    const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { tenants: { acme: {}, globex: {} } } })
    const { breakers } = app.reverseproxy
    t.throws(() => { breakers.open('up', undefined, 'acme') }, { name: 'RangeError', message: /no backend "up" of the tenant "acme"/ }, 'it has not used it')
    for (const id of ['acme', 'globex']) await ask(id)
    breakers.open('up', undefined, 'acme')
    t.same([await ask('acme'), await ask('globex'), await ask()], [OPEN, '200 up', '200 up'])
    breakers.close('up', undefined, 'acme')
    t.equal(await ask('acme'), '200 up')
    breakers.open('up')
    t.same([await ask('acme'), await ask('globex'), await ask(), await ask('unknown')], ['200 up', '200 up', OPEN, OPEN])
    t.throws(() => { breakers.open('up', undefined, 'hooli') }, RangeError)
  })

  t.test('the backend that answers instead is the tenant\'s', async t => {
    const [up, spare, own] = [await tenantUpstream(t), await tenantUpstream(t, 'spare'), await tenantUpstream(t, 'own spare')]
    for (const id of ['acme', 'globex', 'hooli']) up.failing.add(id)
    const { askTimes } = await tenantGateway(t, {
      backends: { up: { url: up.url, circuitBreaker: { ...breaker, fallback: { backend: 'spare' } } }, spare: spare.url },
      tenancy: { tenants: { acme: { backends: { spare: own.url } }, globex: {}, hooli: { backends: { spare: false } } } }
    })
    t.equal((await askTimes(3, 'acme'))[2], '200 own spare')
    t.equal((await askTimes(3, 'globex'))[2], '200 spare')
    t.match((await askTimes(3, 'hooli'))[2], /^50[03] /)
    t.notOk(spare.seen['acme'] ?? spare.seen['hooli'])
  })
})

t.test('passive health', async t => {
  t.test('a target is out for the tenant that it fails', async t => {
    const [one, two] = [await tenantUpstream(t, 'one'), await tenantUpstream(t, 'two')]
    one.failing.add('acme')
    const { app, askTimes } = await tenantGateway(t, {
      backends: { up: { targets: [one.url, two.url], outlier: { consecutive: 2, baseEjection: '1m' } } },
      circuitBreaker: false,
      tenancy: { tenants: { acme: {}, globex: {} } }
    })
    await askTimes(6, 'acme')
    t.same(await askTimes(4, 'acme'), Array(4).fill('200 two'))
    t.same(new Set(await askTimes(6, 'globex')), new Set(['200 one', '200 two']))
    const ejected = (tenant?: string) => app.reverseproxy.health.status('up', tenant).map(({ reason }) => reason)
    t.same(ejected('acme'), ['ejected', undefined])
    t.same(ejected('globex'), [undefined, undefined])
    t.same(ejected(), [undefined, undefined])
    t.same(new Set(app.reverseproxy.health.status().map(({ scope }) => scope)), new Set(['', 'acme', 'globex']))
  })
})

t.test('retry budgets', async t => {
  t.test('are apart', async t => {
    const up = await tenantUpstream(t)
    for (const id of ['acme', 'globex']) up.failing.add(id)
    const { askTimes } = await tenantGateway(t, {
      backends: { up: { url: up.url, retry: { attempts: 2, statuses: [500], backoff: { initial: 1, max: 1 }, budget: { ratio: 0, min: 2, window: '1m' } } } },
      circuitBreaker: false,
      tenancy: { tenants: { acme: {}, globex: {} } }
    })
    await askTimes(10, 'acme')
    t.equal(up.seen['acme'], 12, 'two retries are all it may have')
    await askTimes(3, 'globex')
    t.equal(up.seen['globex'], 5, 'and the other one has its own two')
  })
})

t.test('places', async t => {
  t.test('a tenant that floods a slow backend does not keep others out', async t => {
    const up = await httpUpstream(t, (_request, response) => { setTimeout(() => { response.end('done') }, 20) })
    const { ask } = await tenantGateway(t, { backends: { up: { url: up.url, concurrency: { max: 2, queue: 100, queueTimeout: '30s' } } }, tenancy: { tenants: { flood: {}, small: {} } } })
    let done = 0
    const flood = Array.from({ length: 80 }, async () => { await ask('flood'); done++ })
    await until('the flood has begun', () => done > 2)
    t.equal(await ask('small'), '200 done')
    t.ok(done < 40, `the small one was served after ${done} of 80`)
    await Promise.all(flood)
    t.equal(done, 80)
  })

  t.test('in a full queue the one that waits with most gives way', async t => {
    const up = await tenantUpstream(t)
    const { app, ask } = await tenantGateway(t, { backends: { up: { url: up.url, concurrency: { max: 1, queue: 3, queueTimeout: '30s' } } }, tenancy: { tenants: { flood: {}, small: {} } } })
    const slots = () => app.reverseproxy.registry.existing('up').slots
    const flood = [0, 1, 2, 3].map(() => ask('flood', '/wait'))
    await until('three wait', () => slots()?.waiting === 3)
    const small = ask('small')
    await until('one of the flood is refused', () => slots()?.group('small')?.waiting === 1)
    const drained = setInterval(() => { up.release() }, 5)
    t.equal(await small, '200 up')
    t.same((await Promise.all(flood)).sort(), ['200 up', '200 up', '200 up', '503 RP_ERR_CONNECTION_LIMIT'])
    clearInterval(drained)
  })

  t.test('a tenant\'s own max is the most that it has of them', async t => {
    const up = await tenantUpstream(t)
    const { app, ask } = await tenantGateway(t, {
      backends: { up: { url: up.url, concurrency: { max: 10, queue: 10, queueTimeout: '30s' } } },
      tenancy: { tenants: { small: { backends: { up: { concurrency: { max: 2 } } } }, tight: { backends: { up: { concurrency: { max: 1, queue: 0 } } } }, big: {} } }
    })
    const pending = [0, 1, 2, 3].map(() => ask('small', '/wait'))
    await until('two have a place and two wait', () => up.waiting.length === 2 && app.reverseproxy.registry.existing('up').slots?.waiting === 2)
    t.equal(await ask('big'), '200 up', 'others do not')
    t.equal(await ask(), '200 up')
    pending.push(ask('tight', '/wait'))
    await until('the tight one is there', () => up.waiting.length === 3)
    t.equal(await ask('tight'), '503 RP_ERR_CONNECTION_LIMIT')
    const drained = setInterval(() => { up.release() }, 5)
    t.same(await Promise.all(pending), Array(5).fill('200 up'))
    clearInterval(drained)
  })

  t.test('targets of a tenant\'s own have places of their own', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t, 'own')]
    const { ask } = await tenantGateway(t, { backends: { up: { url: up.url, concurrency: { max: 1 } } }, tenancy: { tenants: { acme: { backends: { up: { url: own.url } } } } } })
    const [first, second] = [ask(undefined, '/wait'), ask('acme', '/wait')]
    await until('both have a place', () => up.waiting.length === 1 && own.waiting.length === 1)
    t.same([await ask(), await ask('acme')], Array(2).fill('503 RP_ERR_CONNECTION_LIMIT'))
    up.release()
    own.release()
    t.same([await first, await second], ['200 up', '200 own'])
  })

  t.test('a tenant alone may be limited where others are not', async t => {
    const up = await tenantUpstream(t)
    const { ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { tenants: { acme: { concurrency: { max: 1 } }, globex: {} } } })
    const first = ask('acme', '/wait')
    await until('it has its place', () => up.waiting.length === 1)
    t.same([await ask('acme'), await ask('globex'), await ask()], ['503 RP_ERR_CONNECTION_LIMIT', '200 up', '200 up'])
    up.release()
    t.equal(await first, '200 up')
  })

  t.test('a call that waits goes through although its tenant is changed, forgotten or pushed out meanwhile', async t => {
    const own = await tenantUpstream(t, 'own')
    const options = { backends: { up: { url: own.url, concurrency: { max: 1, queue: 10, queueTimeout: '30s' } } } }
    const { app, ask } = await tenantGateway(t, { backends: { up: own.url }, circuitBreaker: false, tenancy: { scopes: { max: 1 }, tenants: { changed: options, removed: options, pushed: options, other: {} } } })
    for (const [id, act] of [
      ['changed', () => { app.reverseproxy.tenants.set('changed', {}) }],
      ['removed', () => { app.reverseproxy.tenants.remove('removed') }],
      ['pushed', () => ask('other')]
    ] as const) {
      const [first, second] = [ask(id, '/wait'), ask(id, '/wait')]
      const slots = app.reverseproxy.registry
      await until('one waits', () => own.waiting.length === 1 && slots.existing('up', id).slots?.waiting === 1)
      await act()
      own.release()
      await until('the next is there', () => own.waiting.length === 1)
      own.release()
      t.same([await first, await second], ['200 own', '200 own'], id)
    }
  })
})

t.test('connections', async t => {
  const pairs = (connections: ReadonlyArray<ReadonlySet<string>>) => connections.map(tenants => [...tenants].sort().join('+')).sort()

  for (const [what, gateway, expected] of [
    ['are shared by all', {}, ['+acme+globex']],
    ['are apart with isolation: pool', { tenancy: { isolation: 'pool' } }, ['', 'acme', 'globex']],
    ['are apart for a tenant with a pool of its own', { tenants: { acme: { pool: { connections: 5 } } } }, ['+globex', 'acme']],
    ['are apart for a tenant that connects otherwise', { tenants: { acme: { timeout: { connect: '1s' } } } }, ['+globex', 'acme']],
    ['are apart for a tenant with other TLS', { tenants: { acme: { backends: { up: { tls: { rejectUnauthorized: false } } } } } }, ['+globex', 'acme']],
    ['are apart for a tenant that names the same targets as its own', { tenants: { acme: { backends: { up: 'SAME' } } } }, ['+globex', 'acme']],
    ['are shared by a tenant with other options', { tenants: { acme: { timeout: '3s', retry: { attempts: 2 }, headers: { request: { set: { 'x-a': 'b' } } } } } }, ['+acme+globex']]
  ] as Array<[string, { tenancy?: object, tenants?: Record<string, unknown> }, string[]]>) {
    t.test(what, async t => {
      const up = await tenantUpstream(t)
      const tenants = JSON.parse(JSON.stringify({ acme: {}, globex: {}, ...gateway.tenants }).replace('SAME', up.url)) as object
      const { ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { tenants, ...gateway.tenancy } })
      for (let n = 0; n < 3; n++) for (const id of [undefined, 'acme', 'globex']) t.equal(await ask(id), '200 up')
      t.same(pairs(up.connections), expected)
    })
  }
})

t.test('active checks', async t => {
  const health = { path: '/health', interval: 60_000, jitter: 0 }

  t.test('are made once for all who share the targets', async t => {
    const up = await tenantUpstream(t)
    const ids = Array.from({ length: 20 }, (_, n) => `t${n}`)
    const { app, ask } = await tenantGateway(t, { backends: { up: { url: up.url, health } }, tenancy: { tenants: Object.fromEntries(ids.map((id, n) => [id, n % 2 === 0 ? {} : { timeout: '9s' }])) } })
    for (const id of ids) t.equal(await ask(id), '200 up')
    await sleep(50)
    t.equal(up.checks(), 1)
    t.ok(await app.reverseproxy.health.check('up', undefined, 't3'))
    t.equal(up.checks(), 2, 'asked as a tenant: once more, for all')
    t.equal(app.reverseproxy.health.status('up', 't3')[0]!.check?.checks, 2)
  })

  t.test('are made for a tenant\'s own targets, or as it wants them', async t => {
    const [up, own] = [await tenantUpstream(t), await tenantUpstream(t)]
    const { ask } = await tenantGateway(t, { backends: { up: { url: up.url, health } }, tenancy: { tenants: { acme: { backends: { up: { url: own.url } } }, globex: { health: { timeout: '1s' } } } } })
    await until('all are checked', () => up.checks() === 1)
    t.equal(own.checks(), 0, 'not before the first request')
    await ask('acme')
    await until('its own target is', () => own.checks() === 1)
    t.equal(up.checks(), 1)
    await ask('globex')
    await until('and the shared one for who wants it otherwise', () => up.checks() === 2)
  })

  t.test('that fail are a tenant\'s own affair where the check is', async t => {
    let sick = false
    const up = await httpUpstream(t, (request, response) => {
      response.statusCode = request.url === '/health' && sick ? 503 : 200
      response.end('up')
    })
    const { app, ask } = await tenantGateway(t, {
      backends: { up: { url: up.url, health: { path: '/health', interval: 10, jitter: 0, rise: 1, fall: 1 } } },
      tenancy: { tenants: { acme: {}, brave: { backends: { up: { health: false } } }, other: { backends: { up: { health: { path: '/fine' } } } } } }
    })
    for (const id of ['acme', 'brave', 'other']) t.equal(await ask(id), '200 up')
    sick = true
    const healthy = (tenant?: string) => app.reverseproxy.health.status('up', tenant)[0]!.healthy
    await until('it is sick for all', () => !healthy())
    t.same([healthy('acme'), healthy('brave'), healthy('other')], [false, true, true])
    t.same([await ask(), await ask('acme'), await ask('unknown')], Array(3).fill('503 RP_ERR_NO_TARGET'))
    t.same([await ask('brave'), await ask('other')], Array(2).fill('200 up'))
    t.equal(await app.reverseproxy.health.check('up', undefined, 'acme'), false)
    t.equal(await app.reverseproxy.health.check('up', undefined, 'brave'), true)
    sick = false
    await until('it is well again', () => healthy())
    t.equal(await ask('acme'), '200 up')
  })

  t.test('of a tenant end with its target, before its next request', async t => {
    const [up, other] = [await tenantUpstream(t), await tenantUpstream(t, 'other')]
    const { app, ask } = await tenantGateway(t, { backends: { up: [up.url, other.url] }, tenancy: { tenants: { acme: { health: { path: '/health', interval: 5, jitter: 0 } } } } })
    await ask('acme')
    await until('both are checked', () => up.checks() > 1 && other.checks() > 1)
    await app.reverseproxy.backends.removeTarget('up', up.url)
    await app.reverseproxy.backends.drain('up', other.url)
    await sleep(30)
    const counts = [up.checks(), other.checks()]
    await sleep(60)
    t.same([up.checks(), other.checks()], counts)
  })

  t.test('of a tenant end with the tenant', async t => {
    const own = await tenantUpstream(t)
    const { app, ask } = await tenantGateway(t, { backends: { up: own.url }, tenancy: { tenants: { acme: { backends: { up: { url: own.url, health: { path: '/health', interval: 5, jitter: 0 } } } } } } })
    await ask('acme')
    await until('it is checked', () => own.checks() > 1)
    await app.reverseproxy.tenants.remove('acme')
    await sleep(30)
    const count = own.checks()
    await sleep(60)
    t.equal(own.checks(), count)
    await until('all connections are closed', () => own.open() === 0)
  })
})

t.test('slow start', async t => {
  t.test('is not for targets that only a tenant is new to', async t => {
    const [one, two] = [await tenantUpstream(t, 'one'), await tenantUpstream(t, 'two')]
    const own = { targets: [one.url, two.url] }
    const { app, ask } = await tenantGateway(t, {
      backends: { up: { ...own, slowStart: { window: '1h', initial: 0 } } },
      tenancy: { tenants: { acme: {}, own: { backends: { up: own } }, checking: { health: { path: '/health', interval: 60_000 } } } }
    })
    for (const id of ['acme', 'own', 'checking']) {
      await ask(id)
      t.same(app.reverseproxy.health.status('up', id).map(({ reason }) => reason), [undefined, undefined], id)
    }
  })

  t.test('is for a target that is new to all, for every tenant', async t => {
    const [one, two] = [await tenantUpstream(t, 'one'), await tenantUpstream(t, 'two')]
    const { app, ask, askTimes } = await tenantGateway(t, { backends: { up: { url: one.url, slowStart: { window: '1h', initial: 0.01 } } }, tenancy: { tenants: { before: {}, after: {} } }, random: () => 0.5 })
    await ask('before')
    app.reverseproxy.backends.addTarget('up', two.url)
    t.same(await askTimes(4, 'before'), Array(4).fill('200 one'))
    t.same(await askTimes(4, 'after'), Array(4).fill('200 one'))
    t.same(app.reverseproxy.health.status('up', 'after').map(({ reason }) => reason), [undefined, 'warming'])
  })
})

t.test('redirects are followed to what the tenant has, and nowhere else', async t => {
  const [own, orders] = [await tenantUpstream(t, 'own'), await tenantUpstream(t, 'orders')]
  const up = await httpUpstream(t, (request, response) => {
    response.writeHead(302, { location: `${request.headers['x-to']}/y` })
    response.end()
  })
  const { url } = await tenantGateway(t, {
    backends: { up: { url: up.url, redirects: 'follow' }, orders: orders.url },
    tenancy: { tenants: { acme: { backends: { mine: own.url } }, globex: { backends: { orders: false } }, moved: { backends: { orders: own.url } } } }
  })
  const follow = async (tenant: string | undefined, to: string): Promise<string> => {
    const answer = await fetch(`${url}/x`, { redirect: 'manual', headers: { 'x-to': to, ...(tenant === undefined ? undefined : { [TENANT]: tenant }) } })
    return `${answer.status} ${await answer.text()}`
  }
  t.equal(await follow('acme', own.url), '200 own')
  t.equal(await follow(undefined, own.url), '302 ', 'another tenant\'s backend')
  t.equal(await follow('globex', own.url), '302 ')
  t.equal(await follow('acme', orders.url), '200 orders')
  t.equal(await follow(undefined, orders.url), '200 orders')
  t.equal(await follow('globex', orders.url), '302 ', 'one that it has not')
  t.equal(await follow('moved', orders.url), '302 ', 'that of all, of which it has its own')
  t.equal(await follow('moved', own.url), '200 own')
})

t.test('what tenants do is counted together where it is the target\'s', async t => {
  const up = await tenantUpstream(t)
  const { app, ask } = await tenantGateway(t, { backends: { up: { targets: [{ url: up.url, maxConnections: 2 }] } }, tenancy: { tenants: { acme: {}, globex: { timeout: '9s' } } } })
  const pending = [ask('acme', '/wait'), ask('globex', '/wait')]
  await until('both are there', () => up.waiting.length === 2)
  t.equal(app.reverseproxy.backends.get('up')!.targets[0]!.inflight, 2)
  t.equal(await ask(), '503 RP_ERR_CONNECTION_LIMIT')
  up.release()
  t.same(await Promise.all(pending), ['200 up', '200 up'])
  t.ok(await waitFor(() => app.reverseproxy.backends.get('up')!.targets[0]!.inflight === 0))
})
