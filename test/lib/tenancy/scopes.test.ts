/** What tenants have of their own: made when it is needed, kept while it means the same, gone when it is idle. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { parseTenant, resolveTenant } from '../../../lib/options/index.ts'
import type { TenantOptions } from '../../../lib/options/index.ts'
import type { Scope } from '../../../lib/tenancy/scopes.ts'
import type { Backend, Call } from '../../../lib/types.ts'
import { createLookup } from '../../../lib/routes/lookup.ts'
import { createPlan, NOTHING } from '../../../lib/routes/plan.ts'
import { scene, settled, url } from './scopes-scene.ts'

const USERS = { users: url(4001) }

t.test('a scope has a backend only once it has been asked for', async t => {
  const { of, owned } = scene({ users: url(4001), orders: url(4002) })
  const scope = of({})
  t.same(owned(), [])
  const backend = scope.backend('users')!
  t.same(owned().map(({ scope, name }) => [scope, name]), [['acme', 'users']])
  t.equal(scope.backend('users'), backend, 'and keeps it')
})

t.test('a name that is not there is undefined, however often', async t => {
  const { of, owned } = scene(USERS)
  const scope = of({ backends: { users: false } })
  for (const name of ['users', 'nobody', '__proto__', 'constructor', '']) {
    t.equal(scope.backend(name), undefined)
    t.equal(scope.backend(name), undefined)
  }
  t.same(owned(), [])
})

t.test('ids and names cannot be put together to mean another pair', async t => {
  const { of, registry } = scene({ b: url(4001), 'a-b': url(4002) })
  const one = of({}, 'x').backend('a-b')!
  const two = of({}, 'x-a').backend('b')!
  t.not(one, two)
  t.same([one.targets[0]!.id, two.targets[0]!.id], [url(4002), url(4001)])
  t.equal(registry.existing('b', 'x-a'), two)
  t.throws(() => registry.existing('b', 'x'), RangeError)
})

t.test('equal options written anew are the same scope', async t => {
  const { of } = scene(USERS)
  const first = of({ timeout: '1s', metadata: { a: 1 } })
  t.equal(of({ timeout: '1s', metadata: { a: 1 } }), first)
  t.not(of({ timeout: '2s', metadata: { a: 1 } }), first)
})

t.test('other options keep the backends that mean the same, object for object', async t => {
  const { of, gone } = scene({ users: url(4001), orders: url(4002) })
  const before = of({ backends: { orders: url(4009) } })
  const [users, orders] = [before.backend('users')!, before.backend('orders')!]
  const after = of({ backends: { orders: url(4009) }, metadata: { plan: 'gold' } })
  t.not(after, before)
  t.equal(after.backend('users'), users)
  t.equal(after.backend('orders'), orders)
  t.same(gone, [])
})

t.test('a backend with other options keeps its targets and what is counted there', async t => {
  const { of, gone } = scene(USERS)
  const before = of({ backends: { users: { targets: [url(5001), url(5002)] } } }).backend('users')!
  const [kept, dropped] = before.targets
  kept!.started = 7
  const after = of({ backends: { users: { targets: [url(5001), url(5003)], timeout: '1s' } } }).backend('users')!
  t.equal(after.targets[0], kept)
  t.equal(after.targets[1]!.id, url(5003))
  t.equal(after.config.timeout.total, 1_000)
  t.same(gone, [{ scope: 'acme', target: dropped }])
})

t.test('a tenant that gets targets of its own, or loses them, has another backend', async t => {
  const { of, owned, gone } = scene(USERS)
  const shared = of({}).backend('users')!
  const own = of({ backends: { users: url(5001) } }).backend('users')!
  t.not(own, shared)
  t.equal(own.shares, undefined)
  t.same(owned(), [own])
  const again = of({}).backend('users')!
  t.same(again.targets.map(({ of }) => of?.id), [url(4001)])
  t.same(owned(), [again])
  t.equal(gone.length, 2)
})

t.test('a scope goes when it has had no request for the idle time, and not before', async t => {
  const { of, scopes, clock, owned } = scene(USERS, { idle: 1_000 })
  of({}).backend('users')
  clock.advance(900)
  scopes.sweep()
  t.equal(scopes.size, 1)
  of({}) // a request
  clock.advance(900)
  scopes.sweep()
  t.equal(scopes.size, 1, 'each request counts')
  clock.advance(200)
  scopes.sweep()
  t.equal(scopes.size, 0)
  t.same(owned(), [])
})

t.test('a scope past its time is not used even before it is swept', async t => {
  const { of, clock, owned } = scene(USERS, { idle: 1_000 })
  const first = of({})
  first.backend('users')
  clock.advance(5_000)
  const second = of({})
  t.not(second, first)
  t.same(owned(), [])
  const backend = second.backend('users')
  t.same(owned(), [backend])
})

t.test('of more tenants than there may be, the least recently used goes', async t => {
  const { of, scopes, owned, clock } = scene(USERS, { max: 3 })
  for (const id of ['a', 'b', 'c', 'a']) {
    of({}, id).backend('users')
    clock.advance(1)
  }
  of({}, 'd').backend('users')
  t.equal(scopes.size, 3)
  t.same(owned().map(({ scope }) => scope).sort(), ['a', 'c', 'd'])
  t.equal(scopes.peek('b'), undefined)
})

t.test('a scope that is over asks the one that has taken its place', async t => {
  const { of, owned, scopes } = scene(USERS)
  const before = of({})
  before.backend('users')
  const after = of({ timeout: '1s' })
  t.equal(before.backend('users'), after.backend('users'))
  t.equal(scopes.peek('acme'), after, 'and does not come back')
  t.equal(owned().length, 1)
})

t.test('a scope that is over after its tenant was forgotten is made anew, and idles out', async t => {
  const { of, scopes, owned, clock } = scene(USERS)
  const before = of({})
  await scopes.close('acme')
  t.equal(before.backend('users')!.targets[0]!.id, url(4001))
  t.equal(owned().length, 1, 'in a scope that will be swept')
  clock.advance(5_000)
  scopes.sweep()
  t.same(owned(), [])
})

t.test('what a request that goes on looks up is never what has been let go', async t => {
  const { of, registry, config } = scene(USERS)
  const plan = createPlan({ ...NOTHING, backend: 'users' }, 'users')
  const lookup = createLookup({ config, registry, findSettings: () => ({}) as Call['settings'] })
  const before = of({ backends: { users: url(5001) } })
  const old = lookup(plan, before).backend
  t.equal(lookup(plan, before).backend, old)
  const now = of({ backends: { users: { url: url(5001), tls: { rejectUnauthorized: false } } } })
  t.equal(lookup(plan, before).backend, now.backend('users'))
  const later = of({ backends: { users: { targets: [{ url: url(5002) }] } } })
  t.equal(lookup(plan, before).backend, later.backend('users'), 'nor remembered')
  t.equal(lookup(plan, now).backend.targets[0]!.id, url(5002))
})

t.test('a tenant is closed when its own connections are', async t => {
  const { of, scopes, open } = scene(USERS)
  const backend = of({ backends: { users: url(5001) } }).backend('users')!
  const [target] = backend.targets
  open(backend)
  target!.inflight++
  let closed = false
  const closing = scopes.close('acme').then(() => { closed = true })
  await settled()
  t.equal(closed, false, 'not while something runs')
  target!.inflight--
  target!.onIdle!()
  await closing
  t.equal(target!.dispatcher, undefined)
})

t.test('what is let go can still be used by who has it, and is closed again', async t => {
  const { of, scopes, open } = scene(USERS)
  const backend = of({ backends: { users: url(5001) } }).backend('users')!
  const [target] = backend.targets
  open(backend)
  await scopes.close('acme')
  t.same(backend.usable, [target], 'for calls that wait, and for another try')
  const pool = open(backend)
  target!.inflight++
  target!.inflight--
  target!.onIdle!()
  t.equal(target!.dispatcher, undefined)
  await settled()
  t.equal((pool as { closed?: boolean }).closed, true)
})

t.test('so can a view with connections of its own', async t => {
  const { of, scopes, open } = scene(USERS, { isolation: 'pool' })
  const [mine, others] = [of({}).backend('users')!, of({}, 'globex').backend('users')!]
  const [view, other] = [mine.targets[0]!, others.targets[0]!]
  const first = open(mine)
  t.not(open(others), first)
  await scopes.close('acme')
  t.equal((first as { closed?: boolean }).closed, true)
  const second = open(mine)
  view.inflight++
  other.inflight++
  view.inflight--
  t.equal(view.dispatcher, undefined)
  await settled()
  t.equal((second as { closed?: boolean }).closed, true, 'with its own last call, not with that of all')
  t.not(other.dispatcher, undefined)
})

t.test('views', async t => {
  t.test('share load, state and pool with the target of everybody', async t => {
    const { of, open, registry } = scene(USERS)
    const [mine, others, all] = [of({}).backend('users')!, of({}, 'globex').backend('users')!, registry.existing('users')]
    t.equal(open(mine), open(others))
    t.equal(open(mine), open(all))
    mine.targets[0]!.inflight++
    t.same([all, others].map(({ targets }) => targets[0]!.inflight), [1, 1])
  })

  for (const [what, options, apart] of [
    ['a timeout of calls', { timeout: '1s' }, false],
    ['a timeout of connecting', { timeout: { connect: '1s' } }, true],
    ['the same written out', { pool: { connections: 128 } }, false],
    ['a pool', { pool: { connections: 2 } }, true],
    ['TLS', { tls: { rejectUnauthorized: false } }, true],
    ['HTTP/2', { backends: { users: { http2: true } } }, true],
    ['a breaker', { circuitBreaker: { failureThreshold: 1 } }, false]
  ] as const) {
    t.test(`${what} of its own ${apart ? 'means connections' : 'means no connections'} of its own`, async t => {
      const { of, open, registry } = scene(USERS)
      t.equal(open(of(options).backend('users')!) !== open(registry.existing('users')), apart)
    })
  }

  t.test('follow targets that come and go, and keep what they know of those that stay', async t => {
    const { of, registry, gone } = scene(USERS)
    const scope = of({})
    const backend = scope.backend('users')!
    const [first] = backend.targets
    registry.api.addTarget('users', url(4003))
    t.equal(scope.backend('users'), backend)
    t.same(backend.targets.map(({ id }) => id), [url(4001), url(4003)])
    t.equal(backend.targets[0], first)
    await registry.api.removeTarget('users', url(4001))
    scope.backend('users')
    t.same(backend.targets.map(({ id }) => id), [url(4003)])
    t.ok(gone.some(({ scope, target }) => scope === 'acme' && target === first))
  })

  t.test('follow an update of the backend with its other options', async t => {
    const { of, registry } = scene(USERS)
    const scope = of({ backends: { users: { timeout: { total: '9s' } } } })
    const backend = scope.backend('users')!
    const [first] = backend.targets
    registry.api.update('users', { targets: [url(4001), url(4002)], timeout: { headers: '3s', total: '4s' } })
    t.equal(scope.backend('users'), backend)
    t.match(backend.config.timeout, { headers: 3_000, total: 9_000 })
    t.equal(backend.targets[0], first)
    t.equal(backend.usable.length, 2)
  })

  t.test('know at once of what is drained, inactive or without weight', async t => {
    const { of, registry } = scene({ users: [url(4001), url(4002)] })
    const scope = of({})
    const backend = scope.backend('users')!
    await registry.api.drain('users', url(4001))
    t.same(backend.usable.map(({ id }) => id), [url(4002)], 'for calls that have it already')
    t.same(scope.backend('users')!.usable.map(({ id }) => id), [url(4002)])
    registry.api.updateTarget('users', url(4001), { active: true })
    t.equal(scope.backend('users')!.usable.length, 2)
    registry.api.updateTarget('users', url(4002), { weight: 0 })
    t.same(scope.backend('users')!.usable.map(({ id }) => id), [url(4001)])
  })

  t.test('are others when a backend of that name is made anew', async t => {
    const { of, registry, owned } = scene(USERS)
    const scope = of({})
    const before = scope.backend('users')
    await registry.api.remove('users')
    t.equal(scope.backend('users'), undefined)
    t.same(owned(), [])
    registry.api.add('users', url(4004))
    const after = scope.backend('users')!
    t.not(after, before)
    t.equal(after.targets[0]!.id, url(4004))
  })

  t.test('of a target with connections of its own leave with the target', async t => {
    const { of, registry, open } = scene({ users: [url(4001), url(4002)] }, { isolation: 'pool' })
    const pool = open(of({}).backend('users')!)
    await registry.api.removeTarget('users', url(4001))
    t.equal((pool as { closed?: boolean }).closed, true)
  })

  t.test('of an empty backend that gets targets are apart where they should be', async t => {
    const { of, registry, open } = scene({ users: { targets: [] } }, { isolation: 'pool' })
    const scope = of({})
    scope.backend('users')
    registry.api.addTarget('users', url(4001))
    t.not(open(scope.backend('users')!), open(registry.existing('users')))
  })

  t.test('of targets that are all exchanged are so for calls that wait as well', async t => {
    const { of, registry } = scene(USERS)
    const backend = of({}).backend('users')!
    registry.api.update('users', { targets: [url(4009)] })
    t.same(backend.usable.map(({ id }) => id), [url(4009)])
  })
})

t.test('a tenant\'s own targets have nothing to do with what changes for everybody', async t => {
  const { of, registry, open, gone } = scene(USERS)
  const scope = of({ backends: { users: url(5001), mine: url(5002) } })
  const [backend, mine] = [scope.backend('users')!, scope.backend('mine')!]
  const [target] = backend.targets
  const pool = open(backend)
  registry.api.addTarget('users', url(4003))
  await registry.api.drain('users')
  registry.api.update('users', { url: url(4004), timeout: { headers: '7s' } })
  t.equal(scope.backend('users'), backend)
  t.equal(backend.targets[0], target)
  t.equal(backend.config.timeout.headers, 7_000, 'other options it follows')
  t.equal(open(backend), pool)
  t.equal(scope.backend('mine'), mine)
  t.notOk(gone.some(({ scope }) => scope === 'acme'))
})

// ---- everything at once

const IDS = ['a', 'b', 'c', 'd']
const OPTIONS: unknown[] = [
  {},
  { metadata: { plan: 'gold' } },
  { timeout: '1s' },
  { backends: { users: url(5001) } },
  { backends: { users: { targets: [url(5001), url(5002)] }, orders: { timeout: '2s' } } },
  { backends: { users: false, mine: url(5003) } },
  { pool: { connections: 3 } },
  { backends: { users: { pool: { connections: 4 }, balancer: 'random' } } },
  { headers: { request: { set: { 'x-a': 'b' } } } }
]
const BASES: unknown[] = [url(4001), [url(4001), url(4002)], { url: url(4002), timeout: '5s' }, { targets: [] }, { targets: [url(4001), { url: url(4003), weight: 0 }], pool: { connections: 9 } }]
const PORTS = [4001, 4002, 4003]

type Step =
  | { readonly do: 'request', readonly id: string, readonly name: string }
  | { readonly do: 'later', readonly nth: number, readonly name: string }
  | { readonly do: 'set', readonly id: string, readonly options: unknown }
  | { readonly do: 'close', readonly id: string }
  | { readonly do: 'time', readonly ms: number, readonly sweep: boolean }
  | { readonly do: 'base', readonly name: string, readonly options: unknown }
  | { readonly do: 'remove', readonly name: string }
  | { readonly do: 'target', readonly name: string, readonly port: number, readonly change: 'add' | 'remove' | 'drain' | { active?: boolean, weight?: number } }

const name = fc.constantFrom('users', 'orders')
const id = fc.constantFrom(...IDS)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('request' as const), id, name: fc.constantFrom('users', 'orders', 'mine', 'nobody') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('later' as const), nth: fc.nat(20), name }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('set' as const), id, options: fc.constantFrom(...OPTIONS) }) },
  fc.record({ do: fc.constant('close' as const), id }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant('time' as const), ms: fc.constantFrom(10, 400, 1_100), sweep: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('base' as const), name, options: fc.constantFrom(...BASES) }) },
  fc.record({ do: fc.constant('remove' as const), name }),
  { weight: 3, arbitrary: fc.record({ do: fc.constant('target' as const), name, port: fc.constantFrom(...PORTS), change: fc.constantFrom('add' as const, 'remove' as const, 'drain' as const, { active: true }, { active: false }, { weight: 0 }, { weight: 3 }) }) }
)

t.test('whatever happens, a tenant\'s backend is what it would be if it were made now, and nothing is left behind', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), fc.constantFrom('state' as const, 'pool' as const), async (steps, isolation) => {
    const stage = scene({ users: url(4001), orders: [url(4001), url(4002)] }, { max: 3, idle: 1_000, isolation })
    const { registry, scopes, clock, config } = stage
    const known = new Map<string, TenantOptions>(IDS.map(id => [id, stage.tenant({}, id)]))
    /** Scopes that requests have had. */
    const had: Array<{ readonly id: string, readonly scope: Scope }> = []
    for (const [at, step] of steps.entries()) {
      switch (step.do) {
        case 'request': {
          const scope = scopes.of(step.id, known.get(step.id)!)
          had.push({ id: step.id, scope })
          expectFresh(step.id, known.get(step.id)!, step.name, scope.backend(step.name), at)
          break
        }
        case 'later': {
          const { scope, id } = had[step.nth % Math.max(1, had.length)] ?? {}
          const backend = scope?.backend(step.name)
          if (backend !== undefined && registry.existing(step.name, id) !== backend) throw new Error(`step ${at}: a request of before has what nobody finds`)
          break
        }
        case 'set': {
          const options = parseTenant(step.options, step.id, config) as TenantOptions
          known.set(step.id, options)
          if (scopes.peek(step.id) !== undefined) scopes.of(step.id, options)
          break
        }
        case 'close': await scopes.close(step.id); break
        case 'time': clock.advance(step.ms); if (step.sweep) scopes.sweep(); break
        case 'base': {
          if (registry.resolve(step.name) === undefined) registry.api.add(step.name, step.options)
          else registry.api.update(step.name, step.options)
          break
        }
        case 'remove': if (registry.resolve(step.name) !== undefined) await registry.api.remove(step.name); break
        case 'target': await changeTarget(step)
      }
      // a scope past its time may still be there until it is swept or asked for
      const live = new Set(IDS.filter(id => stage.registry.all().some(({ scope }) => scope === id)))
      if (live.size > 3) throw new Error(`step ${at}: more scopes than there may be`)
    }
    clock.advance(10_000)
    scopes.sweep()
    const left = stage.owned()
    if (left.length > 0) throw new Error(`left behind: ${left.map(({ scope, name }) => `${scope}/${name}`).join(', ')}`)
    await registry.close()

    async function changeTarget ({ name, port, change }: Extract<Step, { do: 'target' }>): Promise<void> {
      const base = registry.resolve(name)
      if (base === undefined) return
      const isThere = base.targets.some(({ id }) => id === url(port))
      if (!isThere && change === 'add') registry.api.addTarget(name, url(port))
      if (!isThere || change === 'add') return
      if (change === 'remove') await registry.api.removeTarget(name, url(port))
      else if (change === 'drain') await registry.api.drain(name, url(port))
      else registry.api.updateTarget(name, url(port), change)
    }

    function expectFresh (id: string, options: TenantOptions, name: string, backend: Backend | undefined, at: number): void {
      const base = registry.resolve(name)
      const made = resolveTenant(id, options, config).backend(name, base?.config)
      const fail = (what: string): never => { throw new Error(`step ${at}: ${name} of ${id}: ${what}`) }
      if (made === undefined || backend === undefined) {
        return made === backend ? undefined : fail(backend === undefined ? 'is missing' : 'should not be there')
      }
      if (!isDeepStrictEqual(backend.config, made.config)) fail('has another configuration')
      if (registry.existing(name, id) !== backend) fail('cannot be found')
      if (backend.shares !== (made.ownTargets ? undefined : base)) fail('shares the wrong targets')
      if (made.ownTargets) {
        if (!isDeepStrictEqual(backend.targets.map(({ id }) => id), made.config.targets.map(({ url }) => url))) fail('has other targets')
      } else {
        if (backend.targets.length !== base!.targets.length || backend.targets.some(({ of }, index) => of !== base!.targets[index])) fail('has no views of the targets of now')
        const same = isDeepStrictEqual([made.config.pool, made.config.tls, made.config.http2, made.config.timeout.connect], [base!.config.pool, base!.config.tls, base!.config.http2, base!.config.timeout.connect])
        if (backend.targets.some(({ ownPool }) => ownPool !== (isolation === 'pool' || !same))) fail('has its connections in the wrong place')
      }
      if (!isDeepStrictEqual(backend.usable, backend.targets.filter(({ state, weight }) => state === 'active' && weight > 0))) fail('uses the wrong targets')
      for (const target of backend.targets) registry.pools.open(target, backend)
    }
  }), { numRuns: 100 })
})
