/** A heap whose items know where they stand: against a plain list, over random changes. */
import t from 'tap'
import fc from 'fast-check'
import { createHeap } from '../../lib/heap.ts'

interface Item { rank: number, at: number }

const change = fc.oneof(
  fc.record({ do: fc.constant('add' as const), rank: fc.nat(30) }),
  fc.record({ do: fc.constant('remove' as const), nth: fc.nat(100) }),
  fc.record({ do: fc.constant('update' as const), nth: fc.nat(100), rank: fc.nat(30) }),
  fc.record({ do: fc.constant('reorder' as const), ranks: fc.array(fc.nat(30), { minLength: 1, maxLength: 10 }) })
)

t.test('the first of none is undefined', t => {
  const heap = createHeap<number>((a, b) => a < b, () => {})
  t.equal(heap.first, undefined)
  t.equal(heap.size, 0)
  t.end()
})

t.test('property: the first is one of the lowest rank, and each item knows where it stands, after any changes', t => {
  fc.assert(fc.property(fc.array(change, { maxLength: 120 }), changes => {
    const all: Item[] = []
    const heap = createHeap<Item>((a, b) => a.rank < b.rank, (item, at) => { item.at = at })
    for (const step of changes) {
      if (step.do === 'add') {
        const item = { rank: step.rank, at: -1 }
        all.push(item)
        heap.add(item)
      } else if (step.do === 'remove') {
        const [item] = all.splice(step.nth % (all.length + 1), 1)
        if (item === undefined) continue
        heap.remove(item.at)
        if (item.at !== -1) throw new Error('it still stands somewhere')
      } else if (step.do === 'update') {
        const item = all[step.nth % (all.length + 1)]
        if (item === undefined) continue
        item.rank = step.rank
        heap.update(item.at)
      } else {
        all.forEach((item, n) => { item.rank = step.ranks[n % step.ranks.length]! })
        heap.reorder()
      }
      if (heap.size !== all.length) throw new Error(`${heap.size} items, not ${all.length}`)
      if (heap.first?.rank !== (all.length === 0 ? undefined : Math.min(...all.map(({ rank }) => rank)))) throw new Error('not the first')
      if (new Set(all.map(({ at }) => at)).size !== all.length || all.some(({ at }) => at < 0 || at >= all.length)) throw new Error('two in one place')
    }
    // all come out in order
    const order: number[] = []
    while (heap.first !== undefined) {
      order.push(heap.first.rank)
      heap.remove(heap.first.at)
    }
    t.same(order, all.map(({ rank }) => rank).sort((a, b) => a - b))
  }), { numRuns: 300 })
  t.end()
})
