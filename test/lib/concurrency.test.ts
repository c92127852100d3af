/** Places and the queue for them: against a plain model, over random schedules. */
import t from 'tap'
import fc from 'fast-check'
import { createSlots } from '../../lib/concurrency.ts'
import type { Slot, Slots, Waiting } from '../../lib/concurrency.ts'

/** Someone who keeps the place that comes. */
function waiter (onAdmit: () => void = () => {}): Waiting & { slot: Slot | undefined } {
  const self: Waiting & { slot: Slot | undefined } = {
    slot: undefined,
    admit (slot) {
      if (self.slot !== undefined) throw new Error('admitted twice')
      self.slot = slot
      onAdmit()
    },
    drop () { throw new Error('there is nobody to give way to') }
  }
  return self
}

function counts ({ taken, waiting }: Slots): { taken: number, waiting: number } {
  return { taken, waiting }
}

t.test('places are given up to max, and none beyond', t => {
  const slots = createSlots({ max: 2, queue: 0 })
  t.ok(slots.take())
  t.ok(slots.take())
  t.equal(slots.take(), undefined)
  t.same(counts(slots), { taken: 2, waiting: 0 })
  t.end()
})

t.test('a place that is given back can be taken again', t => {
  const slots = createSlots({ max: 1, queue: 0 })
  slots.take()!.free()
  t.same(counts(slots), { taken: 0, waiting: 0 })
  t.ok(slots.take())
  t.end()
})

t.test('a place that is given back twice counts once', t => {
  const slots = createSlots({ max: 2, queue: 0 })
  const first = slots.take()!
  slots.take()
  first.free()
  first.free()
  t.equal(slots.taken, 1)
  t.end()
})

t.test('nobody joins a full queue', t => {
  const slots = createSlots({ max: 1, queue: 1 })
  slots.take()
  t.equal(slots.join(waiter()), true)
  t.equal(slots.join(waiter()), false)
  t.same(counts(slots), { taken: 1, waiting: 1 })
  t.end()
})

t.test('those that wait are admitted in the order they came', t => {
  const slots = createSlots({ max: 1, queue: 10 })
  const order: number[] = []
  let held = slots.take()!
  const waiters = [0, 1, 2, 3].map(n => waiter(() => order.push(n)))
  for (const one of waiters) slots.join(one)
  for (const one of waiters) {
    held.free()
    held = one.slot!
  }
  t.same(order, [0, 1, 2, 3])
  t.end()
})

t.test('who leaves the middle of the queue is passed over', t => {
  const slots = createSlots({ max: 1, queue: 10 })
  const order: number[] = []
  const held = slots.take()!
  const waiters = [0, 1, 2].map(n => waiter(() => order.push(n)))
  for (const one of waiters) slots.join(one)
  slots.leave(waiters[0]!)
  slots.leave(waiters[1]!)
  held.free()
  t.same(order, [2])
  t.same(counts(slots), { taken: 1, waiting: 0 })
  t.end()
})

t.test('a place is not taken past those that wait', t => {
  const slots = createSlots({ max: 1, queue: 10 })
  const held = slots.take()!
  let stolen: Slot | undefined
  const first = waiter()
  slots.join(first)
  slots.join(waiter(() => { stolen = slots.take() }))
  held.free()
  first.slot!.free()
  t.equal(stolen, undefined)
  t.end()
})

t.test('a larger limit admits at once as many as fit', t => {
  const slots = createSlots({ max: 1, queue: 10 })
  slots.take()
  const waiters = [waiter(), waiter(), waiter()]
  for (const one of waiters) slots.join(one)
  slots.limit({ max: 3, queue: 10 })
  t.same(waiters.map(({ slot }) => slot !== undefined), [true, true, false])
  t.end()
})

t.test('a smaller limit takes no place away, and admits nobody until enough have gone', t => {
  const slots = createSlots({ max: 3, queue: 10 })
  const held = [slots.take()!, slots.take()!, slots.take()!]
  const next = waiter()
  slots.join(next)
  slots.limit({ max: 1, queue: 10 })
  held[0]!.free()
  held[1]!.free()
  t.equal(next.slot, undefined)
  held[2]!.free()
  t.ok(next.slot)
  t.equal(slots.taken, 1)
  t.end()
})

t.test('a smaller queue keeps those that wait in it', t => {
  const slots = createSlots({ max: 1, queue: 3 })
  const held = slots.take()!
  const waiters = [waiter(), waiter()]
  for (const one of waiters) slots.join(one)
  slots.limit({ max: 1, queue: 0 })
  t.equal(slots.join(waiter()), false)
  held.free()
  t.ok(waiters[0]!.slot)
  t.equal(slots.waiting, 1)
  t.end()
})

t.test('who is admitted may give the place back at once, and all of the queue moves up', t => {
  const slots = createSlots({ max: 1, queue: 100 })
  const held = slots.take()!
  const order: number[] = []
  for (let n = 0; n < 100; n++) {
    slots.join({
      admit (slot) {
        order.push(n)
        slot.free()
      },
      drop () {}
    })
  }
  held.free()
  t.same(order, Array.from({ length: 100 }, (_, n) => n))
  t.same(counts(slots), { taken: 0, waiting: 0 })
  t.end()
})

type Step =
  | { readonly do: 'come' }
  | { readonly do: 'free', readonly nth: number }
  | { readonly do: 'leave', readonly nth: number }
  | { readonly do: 'limit', readonly max: number, readonly queue: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ do: 'come' } as const) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('free' as const), nth: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), nth: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('limit' as const), max: fc.integer({ min: 1, max: 5 }), queue: fc.nat(5) }) }
)

t.test('property: over any schedule the same ones are served, wait and are refused as in a plain model, in the same order', t => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), fc.nat(6), fc.array(step, { maxLength: 200 }), (firstMax, firstQueue, steps) => {
    const slots = createSlots({ max: firstMax, queue: firstQueue })
    // the model: numbers in lists
    let [max, queue] = [firstMax, firstQueue]
    let running: number[] = []
    let line: number[] = []
    const served: number[] = []
    // what really happened
    const places = new Map<number, Slot>()
    const waiters = new Map<number, Waiting>()
    const admitted: number[] = []
    const moveUp = (): void => {
      while (line.length > 0 && running.length < max) {
        const next = line.shift()!
        running.push(next)
        served.push(next)
      }
    }
    steps.forEach((now, n) => {
      if (now.do === 'come') {
        const slot = slots.take()
        if (slot !== undefined) {
          places.set(n, slot)
          admitted.push(n)
        } else {
          const me: Waiting = { admit (place) { places.set(n, place); waiters.delete(n); admitted.push(n) }, drop () { throw new Error(`${n} is dropped`) } }
          if (slots.join(me)) waiters.set(n, me)
        }
        if (running.length < max && line.length === 0) {
          running.push(n)
          served.push(n)
        } else if (line.length < queue) line.push(n)
      } else if (now.do === 'free') {
        if (running.length === 0) return
        const who = running[now.nth % running.length]!
        running = running.filter(other => other !== who)
        moveUp()
        places.get(who)!.free()
        // a second time does no harm
        if (now.nth % 3 === 0) places.get(who)!.free()
        places.delete(who)
      } else if (now.do === 'leave') {
        if (line.length === 0) return
        const who = line[now.nth % line.length]!
        line = line.filter(other => other !== who)
        slots.leave(waiters.get(who)!)
        waiters.delete(who)
      } else {
        ({ max, queue } = now)
        moveUp()
        slots.limit(now)
      }
      if (slots.taken !== running.length || slots.waiting !== line.length) throw new Error(`step ${n}: ${slots.taken} taken and ${slots.waiting} waiting, not ${running.length} and ${line.length}`)
      if (line.length > 0 && slots.taken < max) throw new Error(`step ${n}: a place is lost: ${line.length} wait, ${slots.taken} of ${max} are taken`)
    })
    if (admitted.join() !== served.join()) throw new Error(`served ${admitted.join()}, not ${served.join()}`)
    // everyone goes: nothing may be left
    while (places.size > 0) {
      for (const [who, place] of [...places]) {
        places.delete(who)
        place.free()
      }
    }
    if (slots.taken !== 0 || slots.waiting !== 0) throw new Error(`left: ${slots.taken} taken, ${slots.waiting} waiting`)
  }), { numRuns: 500 })
  t.end()
})
