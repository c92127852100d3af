/** What is refused beyond the shape of the options: all problems of a composite, with their places. */
import t from 'tap'
import fc from 'fast-check'
import { compositeProblems } from '../../../lib/composite/check.ts'
import { resolveComposite } from '../../../lib/options/resolve-composite.ts'
import type { CompositeOptions, PartOptions } from '../../../lib/options/index.ts'

const problems = (options: CompositeOptions, routePath: string | undefined = '/c/:id') => compositeProblems(resolveComposite(options), 'composite', routePath).map(({ path, rule }) => `${path}: ${rule}`)
const ofParts = (parts: Record<string, PartOptions>, more: Partial<CompositeOptions> = {}, routePath?: string) => problems({ parts, ...more }, routePath)

t.test('a right composite has no problems', async t => {
  t.same(ofParts({ a: { path: '/:id', query: { q: ':id' } }, b: { path: '/{a.body.x}/{request.params.id}', forEach: '{a.body}', body: { x: '{item}' }, when: ['{a.body}', { value: '{a.status}', equals: 200 }] } }), [])
})

t.test('every problem is told, with its place', async t => {
  t.same(ofParts({
    a: { path: '/:no/{z.body.x}', query: { l: ['ok', '{y.body}'] }, headers: { set: { h: '{' } }, body: { deep: [{ t: '{item}' }] }, method: 'GET' },
    b: { when: [{ value: '{b.body}', equals: 1 }], forEach: '{item}' }
  }).map(text => text.split(':')[0]), ['composite.parts.a.path', 'composite.parts.a.path', 'composite.parts.a.query.l[1]', 'composite.parts.a.headers.set.h', 'composite.parts.a.body.deep[0].t', 'composite.parts.a.body', 'composite.parts.b.when[0].value', 'composite.parts.b.forEach'])
})

t.test('parameters are not checked where the route is not known', async t => {
  t.same(compositeProblems(resolveComposite({ parts: { a: { path: '/:no', query: { q: '{request.params.no}' } } } }), 'composite', undefined), [])
  t.equal(ofParts({ a: { query: { q: '{request.params.no}' } } }).length, 1)
  t.same(ofParts({ a: { path: '/*' } }, {}, '/w/*'), [])
})

t.test('a query in a path may hold anything, the path itself may not climb', async t => {
  t.same(ofParts({ a: { path: '/a?x=../y' } }), [])
  for (const path of ['/a/../b', '/a/%2e%2e/b', 'a', '{request.params.id}x']) t.equal(ofParts({ a: { path } }).length, path === '{request.params.id}x' ? 0 : 1, path)
})

t.test('a circle is told once, with its way', async t => {
  t.same(ofParts({ a: { needs: ['b'] }, b: { path: '/{c.body.x}' }, c: { needs: ['a'] }, d: {} }), ['composite.parts.a.needs: must not wait for itself: a → b → c → a'])
})

t.test('no circle: two ways to the same part', async t => {
  t.same(ofParts({ d: { needs: ['b', 'c'] }, b: { needs: ['a'] }, c: { needs: ['a'] }, a: {} }), [])
})

t.test('in order, a part may need earlier ones only', async t => {
  const parts = { a: { needs: ['b'] }, b: {} }
  for (const strategy of ['sequential', 'select']) t.equal(ofParts(parts, { strategy }).length, 1, strategy)
  for (const strategy of ['object', 'merge', 'append']) t.same(ofParts(parts, { strategy }), [], strategy)
  t.same(ofParts(parts, { strategy: 'select', race: true }), [])
  t.same(ofParts({ b: {}, a: { needs: ['b'] } }, { strategy: 'sequential' }), [])
})

t.test('any graph is either without circles, or its circle is one', async () => {
  const graph = fc.integer({ min: 1, max: 6 }).chain(size => fc.array(fc.uniqueArray(fc.nat(size - 1), { maxLength: 3 }), { minLength: size, maxLength: size }))
  fc.assert(fc.property(graph, needs => {
    const clean = needs.map((own, index) => own.filter(need => need !== index))
    const [found] = ofParts(Object.fromEntries(clean.map((own, index) => [`p${index}`, { needs: own.map(need => `p${need}`) }])))
    if (found === undefined) {
      // then they can all be put into an order
      const done = new Set<number>()
      for (let round = 0; round < clean.length; round++) clean.forEach((own, index) => { if (own.every(need => done.has(need))) done.add(index) })
      return done.size === clean.length
    }
    const way = /itself: (.*)$/.exec(found)![1]!.split(' → ').map(name => Number(name.slice(1)))
    return way.length > 1 && way[0] === way.at(-1) && way.slice(1).every((need, index) => clean[way[index]!]!.includes(need))
  }))
})
