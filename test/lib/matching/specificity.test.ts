import fc from 'fast-check'
import t from 'tap'
import { createMatcher } from '../../../lib/matching/matcher.ts'
import { canOverlap, compareSpecificity } from '../../../lib/matching/specificity.ts'
import { createValueTest, areDisjoint, regexStart } from '../../../lib/matching/value.ts'
import type { RouteMatch, ValueMatch } from '../../../lib/types.ts'
import { absent, exact, match, not, prefix, present, regex, requestFor } from './scene.ts'

t.test('conditions are ordered from the most to the least specific', async t => {
  const v = (condition: ValueMatch) => match({ headers: { v: condition } })
  const ordered: RouteMatch[] = [
    match({ hosts: ['a.example'], headers: { v: exact('1') } }),
    match({ hosts: ['a.example'] }),
    match({ hosts: ['*.b.a.example'] }),
    match({ hosts: ['*.a.example'] }),
    match({ hosts: [/x/], query: { q: present } }),
    match({ hosts: [/a long expression/] }),
    match({ headers: { v: absent, w: present } }),
    match({ headers: { v: exact('1') }, query: { q: present } }),
    v(exact('1')), v(prefix('abc')), v(prefix('ab')), v(regex(/a/)), v(present),
    match({ query: { q: exact('1'), r: present } }),
    match({ query: { q: exact('1') } }),
    match({ query: { q: prefix('1') } }),
    match()
  ]
  for (const [i, a] of ordered.entries()) {
    for (const [j, b] of ordered.entries()) t.equal(Math.sign(compareSpecificity(a, b)), Math.sign(i - j), `${i} and ${j}`)
  }
})

t.test('conditions of the same kind are equally specific', async t => {
  const pairs: Array<[RouteMatch, RouteMatch]> = [
    [match({ hosts: ['a.example'] }), match({ hosts: ['longer.example'] })],
    [match({ headers: { v: exact('1') } }), match({ headers: { w: exact('22') } })],
    [match({ headers: { v: present } }), match({ headers: { v: not(exact('1')) } })],
    [match({ headers: { a: present, b: exact('1') } }), match({ headers: { b: exact('1'), a: absent } })]
  ]
  for (const [a, b] of pairs) t.equal(compareSpecificity(a, b), 0)
})

t.test('of several hosts the weakest counts', async t => {
  t.ok(compareSpecificity(match({ hosts: ['*.a.example'] }), match({ hosts: ['a.example', /x/] })) < 0)
})

const disjoint: Array<[ValueMatch, ValueMatch]> = [
  [exact('1'), exact('2')], [exact('ab'), prefix('b')], [exact('ab'), regex(/^b/)], [prefix('ab'), prefix('ac')], [absent, present], [absent, exact('1')],
  [absent, prefix('')], [absent, regex(/a/)], [exact('1'), not(exact('1'))], [prefix('ab'), not(prefix('a'))], [exact('ab'), not(regex(/a/))],
  [regex(/a/), not(regex(/a/))], [present, not(present)], [exact('1'), not(present)], [absent, not(absent)], [regex(/^v1/), regex(/^v2/)],
  [regex(/^ab+/), prefix('b')], [not(not(exact('1'))), exact('2')]
]

const overlapping: Array<[ValueMatch, ValueMatch]> = [
  [exact('1'), exact('1')], [exact('ab'), prefix('a')], [exact('ab'), regex(/b$/)], [prefix('a'), prefix('ab')], [present, exact('1')], [absent, absent],
  [absent, not(exact('1'))], [exact('1'), not(exact('2'))], [not(exact('1')), not(exact('2'))], [prefix('a'), not(prefix('ab'))], [prefix('a'), not(exact('a'))],
  [regex(/a/), regex(/b/)], [regex(/^a|b/), regex(/^c/)], [regex(/^a?/), regex(/^b/)], [regex(/^a/i), regex(/^A/)], [regex(/^a/m), regex(/^b/)], [present, not(exact('1'))],
  [regex(/^a{0,1}x/), prefix('x')]
]

t.test('conditions that exclude each other are told apart, in either order', async t => {
  for (const [a, b] of disjoint) {
    t.ok(areDisjoint(a, b), JSON.stringify([a, b]))
    t.ok(areDisjoint(b, a), JSON.stringify([b, a]))
  }
})

t.test('conditions that may hold together are not', async t => {
  for (const [a, b] of overlapping) {
    t.notOk(areDisjoint(a, b), JSON.stringify([a, b]))
    t.notOk(areDisjoint(b, a), JSON.stringify([b, a]))
  }
})

t.test('no single value meets two conditions that were told apart', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 3 })
  const plain = fc.oneof(
    text.map(exact), text.map(prefix), fc.constantFrom(/a/, /^b/, /^ab?$/, /^a*b/, /b$|^a/).map(regex), fc.constantFrom(present, absent)
  )
  const condition = fc.oneof(plain, plain.map(not))
  fc.assert(fc.property(condition, condition, fc.option(text), (a, b, value) => {
    const values = value === null ? [] : [value]
    return !areDisjoint(a, b) || !(createValueTest(a)(values) && createValueTest(b)(values))
  }), { seed: 8, numRuns: 3000 })
})

t.test('the start of an expression is what it always begins with', async t => {
  const cases: Array<[RegExp, string]> = [[/^abc/, 'abc'], [/^ab+c/, 'ab'], [/^abc?/, 'ab'], [/^abc*/, 'ab'], [/^abc{2}/, 'ab'], [/^a\.b/, 'a'], [/abc/, ''], [/^a|b/, ''], [/^abc$/, 'abc'], [/^(a)/, '']]
  for (const [pattern, start] of cases) t.equal(regexStart(pattern), start, String(pattern))
})

t.test('hosts tell routes apart where no host meets both', async t => {
  const cases: Array<[a: string | RegExp, b: string | RegExp, overlap: boolean]> = [
    ['a.example', 'b.example', false], ['a.example', 'A.Example.', true], ['a.example', '*.example', true], ['example', '*.example', false], ['a.example', /^a\./, true],
    ['a.example', /^b\./, false], ['*.example', '*.a.example', true], ['*.a.example', '*.b.example', false], ['*.example', '*.xexample', false], ['*.example', /a/, true], [/a/, /b/, true], [/^a/, /^b/, false]
  ]
  for (const [a, b, overlap] of cases) {
    t.equal(canOverlap(match({ hosts: [a] }), match({ hosts: [b] })), overlap, `${a} and ${b}`)
    t.equal(canOverlap(match({ hosts: [b] }), match({ hosts: [a] })), overlap, `${b} and ${a}`)
  }
})

t.test('a route for every host may meet every other', async t => {
  t.ok(canOverlap(match(), match({ hosts: ['a.example'] })))
})

t.test('several hosts overlap when any two do', async t => {
  t.ok(canOverlap(match({ hosts: ['a.example', 'b.example'] }), match({ hosts: ['c.example', 'b.example'] })))
  t.notOk(canOverlap(match({ hosts: ['a.example', 'b.example'] }), match({ hosts: ['c.example', 'd.example'] })))
})

t.test('headers are compared by their names without case, query parameters with', async t => {
  t.notOk(canOverlap(match({ headers: { 'X-A': exact('1') } }), match({ headers: { 'x-a': exact('2') } })))
  t.ok(canOverlap(match({ query: { A: exact('1') } }), match({ query: { a: exact('2') } })))
  t.notOk(canOverlap(match({ query: { a: exact('1') } }), match({ query: { a: exact('2') } })))
  t.ok(canOverlap(match({ headers: { a: exact('1') } }), match({ headers: { b: exact('2') } })))
})

t.test('no host meets two routes that were told apart by it', async () => {
  const name = fc.array(fc.constantFrom('a', 'b', 'example'), { minLength: 1, maxLength: 4 }).map(parts => parts.join('.'))
  const condition = fc.oneof(name, name.map(suffix => `*.${suffix}`), fc.constantFrom(/^a/, /^b\./, /a/, /example$/))
  fc.assert(fc.property(condition, condition, name, (a, b, host) => {
    const [one, other] = [match({ hosts: [a] }), match({ hosts: [b] })]
    return canOverlap(one, other) || !(createMatcher(one)!(requestFor(host)) && createMatcher(other)!(requestFor(host)))
  }), { seed: 9, numRuns: 2000 })
})
