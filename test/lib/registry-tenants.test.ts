/** What the registry knows of tenants' backends, and what it never mixes up. */
import t from 'tap'
import { scene, url } from './tenancy/scopes-scene.ts'

t.test('the lists for users are of what everybody has', async t => {
  const { of, registry } = scene({ users: url(4001) })
  const scope = of({ backends: { mine: url(5001) } })
  scope.backend('mine')
  scope.backend('users')
  t.same(registry.api.list().map(({ name }) => name), ['users'])
  t.equal(registry.api.get('mine'), undefined)
  await t.rejects(registry.api.remove('mine'), RangeError)
  t.throws(() => { registry.api.update('mine', url(1)) }, RangeError)
  registry.api.add('mine', url(4009))
  t.equal(scope.backend('mine')!.targets[0]!.id, url(5001), 'a backend of all by that name is not the tenant\'s')
  t.equal(registry.resolve('mine')!.targets[0]!.id, url(4009))
})

t.test('a tenant may be called like anything in an object', async t => {
  const { of, registry } = scene({ constructor: url(4001), users: url(4002) })
  for (const id of ['constructor', 'toString', 'hasOwnProperty', 'valueOf']) {
    t.equal(of({}, id).backend('users')!.scope, id)
    t.equal(of({}, id).backend('constructor')!.targets[0]!.id, url(4001))
    t.equal(of({}, id).backend('toString'), undefined)
    t.equal(registry.existing('users', id).scope, id)
  }
})

t.test('what is not there is named with whose it would be', async t => {
  const { of, registry } = scene({ users: url(4001), orders: url(4002) })
  of({}).backend('users')
  t.throws(() => registry.existing('orders', 'acme'), { message: 'there is no backend "orders" of the tenant "acme"; there are: users' })
  t.throws(() => registry.existing('users', 'globex'), { message: 'there is no backend "users" of the tenant "globex"; there are: none' })
})

t.test('an origin is looked for among what the tenant has', async t => {
  const { of, registry } = scene({ users: url(4001), orders: url(4002) })
  const scope = of({ backends: { users: url(5001), orders: { timeout: '1s' }, mine: url(5002) } })
  registry.expect(['mine'])
  const find = (port: number, whose: typeof scope | null = scope) => registry.findOrigin(url(port), whose ?? undefined).map(({ backend }) => `${backend.scope}/${backend.name}`)
  t.same(find(4001), [])
  t.same(find(4002), ['acme/orders'])
  t.same(find(5001), ['acme/users'])
  t.same(find(5002), ['acme/mine'])
  t.same(find(5002, null), [])
  t.same(find(4001, null), ['/users'])
  await registry.api.drain('orders')
  t.same(find(4002), [], 'what is drained is no place to go')
})

t.test('changes of a tenant\'s backend change nothing for others', async t => {
  const { of, registry } = scene({ users: url(4001) })
  const version = registry.version()
  of({}).backend('users')
  of({ timeout: '1s' }).backend('users')
  t.equal(registry.version(), version, 'nobody has to look anything up again')
  t.equal(registry.existing('users').config.timeout.total, 0)
})

t.test('whoever watches is told of tenants\' backends, and last with none of their targets', async t => {
  const { of, registry, scopes } = scene({ users: url(4001) })
  const told: Array<[string, number, number]> = []
  registry.watch((backend, gone) => { told.push([backend.scope, backend.targets.length, gone.length]) })
  of({}).backend('users')
  await scopes.close('acme')
  t.same(told, [['acme', 1, 0], ['acme', 0, 1]])
})

t.test('a closing registry closes the connections of tenants too', async t => {
  const { of, registry, open } = scene({ users: url(4001) }, { isolation: 'pool' })
  const pools = ['a', 'b', 'c'].map(id => open(of({ backends: { mine: url(5001) } }, id).backend(id === 'c' ? 'mine' : 'users')!))
  t.equal(new Set(pools).size, 3)
  await registry.close()
  t.ok(pools.every(pool => (pool as { destroyed?: boolean }).destroyed))
})
