/** What becomes of the entries of a list. */
import t from 'tap'
import fc from 'fast-check'
import { entryOf } from '../../lib/discovery/entry.ts'
import { createTargetReader } from '../../lib/discovery/targets.ts'

function reader () {
  const warnings: string[] = []
  const read = createTargetReader(text => { warnings.push(text) })
  return { read, warnings, urls: (list: readonly unknown[]) => read(list).map(({ url }) => url) }
}

t.test('an entry becomes a target, with the zone among its facts', t => {
  const { read } = reader()
  t.same(read([{ url: 'http://A:80/', weight: 3, maxConnections: 5, zone: 'a', metadata: { version: 2 } }, 'https://b']), [
    { url: 'http://a', weight: 3, maxConnections: 5, active: true, metadata: { version: 2, zone: 'a' }, health: undefined },
    { url: 'https://b', weight: 1, maxConnections: Infinity, active: true, metadata: {}, health: undefined }
  ])
  t.end()
})

t.test('a wrong entry is left out, and warned of once', t => {
  const { urls, warnings } = reader()
  const wrong = [{ url: 'ftp://x' }, { url: 'http://u:secret@x' }, { url: 'http://w', weight: -1 }, { url: 'http://w', weight: NaN }, {}, null, 5, ['http://a'], { url: 'http://z', zone: 5 }, { url: 'http://m', metadata: 'x' }, { url: 'http://m', metadata: 'x', zone: 'a' }]
  for (let round = 0; round < 3; round++) t.same(urls([...wrong, { url: 'http://good' }]), ['http://good'])
  t.ok(warnings.length >= 7 && warnings.length <= wrong.length, warnings.join('\n'))
  t.equal(new Set(warnings).size, warnings.length)
  t.match(warnings[0], /target\.url: must be a URL with http.*ftp:\/\/x/)
  t.notMatch(warnings.join(), /secret/)
  t.end()
})

t.test('a name that no target has is a fault that tells name and value', t => {
  const read = (list: readonly unknown[]) => list.map(entryOf)
  t.throws(() => read(['http://a', { url: 'http://b', wieght: 5 }]), { message: 'entry 2 of the list: wieght: is nothing that a target has; did you mean "weight"? (got 5)' })
  t.throws(() => read([{ url: 'http://b', labels: { zone: 'a' } }]), { message: /^entry 1 of the list: labels: is nothing that a target has; known are url, weight, maxConnections, zone, metadata \(got / })
  t.end()
})

t.test('of a URL that is there twice the first entry counts', t => {
  const { read, warnings } = reader()
  for (let round = 0; round < 2; round++) t.match(read([{ url: 'http://a', weight: 2 }, { url: 'http://A:80/', weight: 5 }]), [{ url: 'http://a', weight: 2 }])
  t.same(warnings, ['the list has http://a more than once: the first entry counts'])
  t.end()
})

t.test('where no entry can be used it is a fault, as are too many', t => {
  const { read } = reader()
  t.throws(() => read([{ url: 'x' }, {}]), /none of the 2 entries/)
  t.throws(() => read(Array.from({ length: 10_001 }, (_, index) => ({ url: `http://t${index}` }))), /10001 entries/)
  t.equal(read(Array.from({ length: 10_000 }, (_, index) => ({ url: `http://t${index}` }))).length, 10_000)
  t.same(read([]), [])
  t.end()
})

t.test('the first list keeps its order; afterwards an order says nothing', t => {
  const { urls } = reader()
  t.same(urls(['http://c', 'http://a', 'http://b']), ['http://c', 'http://a', 'http://b'])
  t.same(urls(['http://a', 'http://b', 'http://c']), ['http://c', 'http://a', 'http://b'])
  t.same(urls(['http://d', 'http://b', 'http://c']), ['http://c', 'http://b', 'http://d'])
  t.end()
})

t.test('what has not changed is the same object, and what has is another', t => {
  const { read } = reader()
  const metadata = { deep: { version: 1 } }
  const [a, b] = read([{ url: 'http://a', metadata }, { url: 'http://b', weight: 2, zone: 'x' }])
  const again = read([{ url: 'http://b', weight: 2, zone: 'x' }, { url: 'http://a', metadata: { deep: { version: 1 } } }])
  t.equal(again[0], a)
  t.equal(again[1], b)
  metadata.deep.version = 2
  t.match(read([{ url: 'http://a', metadata }])[0], { metadata: { deep: { version: 2 } } }, 'also where it was changed in place')
  t.equal(read([{ url: 'http://a' }])[0]!.metadata['deep'], undefined)
  t.equal(read([{ url: 'http://a', weight: 7 }])[0]!.weight, 7)
  t.end()
})

t.test('property: any order of a list is the list, and nothing that is in it is lost', t => {
  const list = fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { maxLength: 20, minLength: 1 }).map(all => all.map(n => ({ url: `http://t${n}`, weight: n })))
  fc.assert(fc.property(list.chain(all => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }), fc.shuffledSubarray(all, { minLength: 1 }))), ([all, shuffled, some]) => {
    const { read } = reader()
    const first = read(all)
    const second = read(shuffled)
    const third = read(some)
    return first.every((target, index) => second[index] === target) &&
      third.length === some.length && some.every(({ url }) => third.some(target => target.url === url)) &&
      first.filter(target => third.includes(target)).every((target, index) => third[index] === target)
  }), { seed: 11 })
  t.end()
})
