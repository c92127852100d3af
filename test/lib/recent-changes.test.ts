/** What is told of targets and ejections, and which requests are looked at. */
import t from 'tap'
import fc from 'fast-check'
import type { HealthState } from '../../lib/health/index.ts'
import { createEjections } from '../../lib/recent/ejections.ts'
import { createPlaces } from '../../lib/recent/places.ts'
import { createTargets } from '../../lib/recent/targets.ts'
import type { TargetState } from '../../lib/types.ts'

// ---- targets

function backend (name: string, targets: Readonly<Record<string, TargetState>>, scope = '') {
  return { name, scope, targets: Object.entries(targets).map(([id, state]) => ({ id, state })) }
}

function watched (...backends: Array<ReturnType<typeof backend>>) {
  const told: string[] = []
  const targets = createTargets((name, target, to) => { told.push(`${name} ${target} ${to}`) })
  targets.learn(backends)
  return { targets, told }
}

t.test('what is there at first is no news', async t => {
  const up = backend('up', { a: 'active' })
  const { targets, told } = watched(up)
  targets.see(up, [])
  t.same(told, [])
})

t.test('targets that come, change and go', async t => {
  const { targets, told } = watched(backend('up', { a: 'active', b: 'active' }))
  targets.see(backend('up', { a: 'draining', b: 'active', c: 'inactive' }), [])
  targets.see(backend('up', { a: 'draining', b: 'inactive', c: 'active' }), [])
  targets.see(backend('up', { c: 'active' }), [])
  t.same(told.splice(0), ['up a draining', 'up c added', 'up b inactive', 'up c active', 'up a removed', 'up b removed'])
  const removed = backend('up', { c: 'draining' })
  targets.see(removed, removed.targets)
  t.same(told, ['up c removed'], 'a backend that is removed still has its targets')
})

t.test('a target that is exchanged for one of the same URL stays', async t => {
  const { targets, told } = watched(backend('up', { a: 'active' }))
  targets.see(backend('up', { a: 'active' }), [{ id: 'a', state: 'draining' }])
  t.same(told, [])
})

t.test('what tenants have of their own is no news', async t => {
  const { targets, told } = watched()
  targets.see(backend('up', { a: 'active' }, 'acme'), [])
  targets.compare([backend('up', { a: 'active' }, 'acme')])
  t.same(told, [])
})

t.test('another configuration is compared with the one before', async t => {
  const { targets, told } = watched(backend('gone', { a: 'active' }), backend('stays', { b: 'active', c: 'active' }))
  targets.compare([backend('stays', { b: 'active', d: 'active' }), backend('new', { e: 'active' })])
  t.same(told.sort(), ['gone a removed', 'new e added', 'stays c removed', 'stays d added'])
})

t.test('property: what was told leads from the first state to the last', async () => {
  const states = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom<TargetState>('active', 'inactive', 'draining'))
  fc.assert(fc.property(states, fc.array(states, { minLength: 1 }), (first, later) => {
    const { targets, told } = watched(backend('up', first))
    const known = new Map(Object.entries(first))
    for (const now of later) {
      targets.see(backend('up', now), [])
      for (const line of told.splice(0)) {
        const [, id, to] = line.split(' ') as [string, string, TargetState | 'added' | 'removed']
        if (to === 'removed') known.delete(id)
        else known.set(id, to === 'added' ? now[id]! : to)
      }
      if (JSON.stringify(Object.fromEntries([...known].sort())) !== JSON.stringify(Object.fromEntries(Object.entries(now).sort()))) return false
    }
    return true
  }))
})

// ---- ejections

t.test('the end of an ejection is told once, with what has become of the target', async t => {
  const told: string[] = []
  const ejections = createEjections(({ target }, to) => { told.push(`${target} ${to}`) })
  const fates: Record<string, HealthState | undefined> = { a: 'ejected', b: 'ejected', c: 'ejected' }
  for (const target of ['a', 'b', 'c']) ejections.follow({ scope: '', backend: 'up', target }, () => fates[target])
  ejections.check()
  t.same(told, [])
  Object.assign(fates, { a: 'healthy', b: 'unhealthy', c: undefined })
  ejections.check()
  ejections.check()
  t.same(told, ['a healthy', 'b unhealthy'])
})

t.test('a storm of ejections is followed as far as there is room', async t => {
  let told = 0
  let out = true
  const ejections = createEjections(() => { told++ })
  for (let i = 0; i < 10_000; i++) ejections.follow({ scope: '', backend: 'up', target: String(i) }, () => out ? 'ejected' : 'healthy')
  ejections.check()
  out = false
  ejections.check()
  t.equal(told, 200)
})

// ---- places

t.test('first come, first served: four plain ones, one composite, five failures', async t => {
  const places = createPlaces()
  const take = (composite: boolean, failed: boolean, times: number): number => Array.from({ length: times }, () => places.take(composite, failed)).filter(Boolean).length
  t.equal(take(false, false, 10), 4)
  t.equal(take(true, false, 10), 1)
  t.equal(take(true, true, 3), 3)
  t.equal(take(false, true, 10), 2)
  places.clear()
  t.equal(take(true, false, 10), 5, 'where nothing else comes, composites have all')
  t.equal(take(false, false, 10), 0)
})

t.test('property: never more than ten, and always one for a composite and five for failures', async () => {
  const request = fc.record({ composite: fc.boolean(), failed: fc.boolean() })
  fc.assert(fc.property(fc.array(request, { maxLength: 60 }), requests => {
    const places = createPlaces()
    const taken = requests.filter(({ composite, failed }) => places.take(composite, failed))
    const count = (list: typeof requests, wanted: (one: typeof requests[number]) => boolean): number => list.filter(wanted).length
    const composites = count(requests, ({ composite, failed }) => composite && !failed)
    return taken.length <= 10 &&
      count(taken, ({ failed }) => failed) === Math.min(5, count(requests, ({ failed }) => failed)) &&
      (composites === 0 || taken.some(({ composite, failed }) => composite && !failed))
  }))
})
