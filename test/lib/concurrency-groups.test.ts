/** Places that several groups share: who is next, who gives way, and a plain model over random schedules. */
import t from 'tap'
import fc from 'fast-check'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createSlots } from '../../lib/concurrency.ts'
import type { Slot, SlotLimits, Slots, Waiting } from '../../lib/concurrency.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Calls of groups, and what becomes of them. */
function calls (limits: SlotLimits) {
  const slots = createSlots(limits)
  /** Names of those that were let in, in order: at once or from the queue. */
  const admitted: string[] = []
  const dropped: string[] = []
  const refused: string[] = []
  const held = new Map<string, Slot>()
  const waiters = new Map<string, Waiting>()
  /** The group is the name's first letter; `-`: none. */
  function come (name: string, max?: number, queue?: number): void {
    const group = name[0] === '-' ? undefined : name[0]
    const slot = slots.take(group, max)
    if (slot !== undefined) {
      held.set(name, slot)
      admitted.push(name)
      return
    }
    const waiting: Waiting = {
      admit (place) {
        held.set(name, place)
        admitted.push(name)
      },
      drop () { dropped.push(name) }
    }
    waiters.set(name, waiting)
    if (!slots.join(waiting, group, max, queue)) refused.push(name)
  }
  return {
    slots,
    admitted,
    dropped,
    refused,
    come (names: string, max?: number, queue?: number): void { for (const name of names.split(' ')) come(name, max, queue) },
    free (names: string): void { for (const name of names.split(' ')) held.get(name)!.free() },
    leave (name: string): void { slots.leave(waiters.get(name)!) },
    /** Those that were let in since the last time. */
    next: (): string => admitted.splice(0).join(' ')
  }
}

function standing (slots: Slots, name?: string): { taken: number, waiting: number } | undefined {
  const group = slots.group(name)
  return group && { taken: group.taken, waiting: group.waiting }
}

t.test('one group takes all places while nobody waits', t => {
  const { come, slots, next } = calls({ max: 4, queue: 0 })
  come('a1 a2 a3 a4')
  t.equal(next(), 'a1 a2 a3 a4')
  t.same(standing(slots, 'a'), { taken: 4, waiting: 0 })
  t.end()
})

t.test('a free place goes to the waiting group that holds the fewest, not to who came first', t => {
  const { come, free, next } = calls({ max: 3, queue: 10 })
  come('a1 a2 a3')
  come('a4 a5 b1')
  next()
  free('a1')
  t.equal(next(), 'b1')
  free('a2')
  t.equal(next(), 'a4', 'now each has one')
  t.end()
})

t.test('between groups that hold the same number the one that has waited longest is next', t => {
  const { come, free, next } = calls({ max: 3, queue: 10 })
  come('-1 -2 -3')
  come('c1 a1 b1 c2 a2 b2')
  next()
  free('-1 -2 -3')
  t.equal(next(), 'c1 a1 b1')
  free('a1')
  t.equal(next(), 'a2', 'it holds none again')
  t.end()
})

t.test('groups that wait all the time come to hold the same number of places', t => {
  const { come, free, slots, admitted } = calls({ max: 6, queue: 100 })
  come('a1 a2 a3 a4 a5 a6')
  come(Array.from({ length: 20 }, (_, n) => `a${n + 10} b${n + 10} c${n + 10}`).join(' '))
  for (let n = 0; n < 12; n++) free(admitted[n]!)
  t.same(['a', 'b', 'c'].map(name => standing(slots, name)!.taken), [2, 2, 2])
  t.end()
})

t.test('what one group leaves of its share goes to the others in equal parts', t => {
  const { come, free, slots, admitted } = calls({ max: 7, queue: 100 })
  come('a1 a2 a3 a4 a5 a6 a7 c1')
  come(Array.from({ length: 20 }, (_, n) => `a${n + 10} b${n + 10}`).join(' '))
  for (let n = 0; n < 7; n++) free(admitted[n]!)
  t.same(['a', 'b', 'c'].map(name => standing(slots, name)!.taken), [3, 3, 1])
  t.end()
})

t.test('groups that hold the same take turns, however long the queue of one of them is', t => {
  const { come, free, next } = calls({ max: 1, queue: 20 })
  come('a0 a1 a2 a3 a4 b1 b2 c1')
  next()
  for (const name of ['a0', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3']) free(name)
  t.equal(next(), 'a1 b1 c1 a2 b2 a3 a4')
  t.end()
})

t.test('who comes back to the queue stands behind the groups that wait there', t => {
  const { come, free, next } = calls({ max: 1, queue: 20 })
  come('-1 a1 b1')
  free('-1')
  come('a2')
  come('c1')
  free('a1')
  come('b2')
  next()
  for (const name of ['b1', 'a2', 'c1']) free(name)
  t.equal(next(), 'a2 c1 b2')
  t.end()
})

t.test('within a group it is first come, first served', t => {
  const { come, free, next } = calls({ max: 1, queue: 10 })
  come('a0 a1 b1 a2 b2 a3')
  next()
  for (const name of ['a0', 'a1', 'b1', 'a2', 'b2']) free(name)
  t.equal(next(), 'a1 b1 a2 b2 a3')
  t.end()
})

t.test('calls without a group are a group like any other', t => {
  const { come, free, next, slots } = calls({ max: 2, queue: 10 })
  come('-1 -2 -3 a1')
  next()
  free('-1')
  t.equal(next(), 'a1')
  t.same(standing(slots), { taken: 1, waiting: 1 })
  t.end()
})

t.test('a newcomer does not overtake those that wait, not even while they are being let in', t => {
  const slots = createSlots({ max: 1, queue: 10 })
  slots.take('a')
  const order: string[] = []
  let overtaken: Slot | undefined
  slots.join({ admit () { order.push('b'); overtaken = slots.take('d') }, drop () {} }, 'b')
  slots.join({ admit () { order.push('c') }, drop () {} }, 'c')
  slots.limit({ max: 3, queue: 10 })
  t.equal(overtaken, undefined)
  t.same(order, ['b', 'c'])
  t.end()
})

t.test('a group has no more places than its own limit, free ones or not', t => {
  const { come, next, slots } = calls({ max: 5, queue: 10 })
  come('a1 a2 a3', 2)
  t.equal(next(), 'a1 a2')
  t.same(standing(slots, 'a'), { taken: 2, waiting: 1 })
  t.end()
})

t.test('a group at its own limit is passed over, by those that wait and by those that come', t => {
  for (const fairShare of [true, false]) {
    const { come, free, next } = calls({ max: 3, queue: 10, fairShare })
    come('a1 a2', 1)
    come('b1')
    t.equal(next(), 'a1 b1')
    come('b2 b3')
    t.equal(next(), 'b2', 'a2 waits, and is not in the way')
    free('b1')
    t.equal(next(), 'b3')
    free('a1')
    t.equal(next(), 'a2')
  }
  t.end()
})

t.test('a limit of its own that grows lets its calls in before the next one', t => {
  const { come, next } = calls({ max: 9, queue: 10 })
  come('a1 a2 a3', 1)
  next()
  come('a4', 3)
  t.equal(next(), 'a2 a3')
  t.end()
})

t.test('a limit of its own that shrinks takes no place away, and lets nobody in until enough have gone', t => {
  const { come, free, next } = calls({ max: 3, queue: 10 })
  come('a1 a2 a3', 3)
  come('a4', 1)
  next()
  free('a1 a2')
  t.equal(next(), '')
  free('a3')
  t.equal(next(), 'a4')
  t.end()
})

t.test('a limit of its own that shrinks holds for those that wait already', t => {
  const { come, free, next } = calls({ max: 2, queue: 10 })
  come('b1 a1 a2')
  come('a3', 1)
  next()
  free('b1')
  t.equal(next(), '')
  come('b2')
  t.equal(next(), 'b2')
  t.end()
})

t.test('a group has no more calls in the queue than its own limit', t => {
  const { come, refused, slots } = calls({ max: 1, queue: 10 })
  come('b1 a1 a2 a3', undefined, 2)
  t.same(refused, ['a3'])
  t.same(standing(slots, 'a'), { taken: 0, waiting: 2 })
  t.end()
})

t.test('in a full queue the newest call of the group that waits with the most gives way', t => {
  const { come, dropped, refused, slots } = calls({ max: 1, queue: 4 })
  come('-1 a1 a2 a3 b1')
  come('c1')
  t.same(dropped, ['a3'])
  t.same(refused, [])
  t.equal(slots.waiting, 4)
  t.end()
})

t.test('who was dropped is never let in', t => {
  const { come, free, next } = calls({ max: 1, queue: 2 })
  come('-1 a1 a2 b1')
  next()
  for (const name of ['-1', 'a1']) free(name)
  t.equal(next(), 'a1 b1')
  free('b1')
  t.equal(next(), '')
  t.end()
})

t.test('the largest group itself is refused when the queue is full', t => {
  const { come, dropped, refused } = calls({ max: 1, queue: 3 })
  come('-1 a1 a2 b1')
  come('a3')
  t.same(refused, ['a3'])
  t.same(dropped, [])
  t.end()
})

t.test('groups that wait alike do not throw each other out', t => {
  const { come, dropped, refused } = calls({ max: 1, queue: 3 })
  come('-1 a1 b1 a2')
  come('b2 a3 b3')
  t.same(refused, ['b2', 'a3', 'b3'])
  t.same(dropped, [])
  t.end()
})

t.test('a group that holds places gives way to one that holds none, and cannot come back in its stead', t => {
  const { come, free, next, dropped, refused } = calls({ max: 2, queue: 1 })
  come('a1 a2 a3')
  come('b1')
  t.same(dropped, ['a3'])
  come('a4 a5')
  t.same(refused, ['a4', 'a5'])
  next()
  free('a1')
  t.equal(next(), 'b1')
  t.end()
})

t.test('of groups that wait alike the one that holds the most places gives way', t => {
  const { come, dropped } = calls({ max: 3, queue: 4 })
  come('a1 a2 b1 a3 a4 b2 b3')
  come('c1')
  t.same(dropped, ['a4'])
  t.end()
})

t.test('of groups that wait and hold alike the newest call of all gives way', t => {
  const { come, dropped } = calls({ max: 1, queue: 4 })
  come('-1 a1 b1 a2 b2')
  come('c1')
  t.same(dropped, ['b2'])
  t.end()
})

t.test('nobody is dropped for a newcomer that its own limits keep out', t => {
  const { come, dropped, refused } = calls({ max: 1, queue: 2 })
  come('a1 a2 a3')
  come('b1', undefined, 0)
  t.same(refused, ['b1'])
  t.same(dropped, [])
  t.end()
})

t.test('nobody waits where there is no queue, whatever the group', t => {
  const { come, refused, dropped, slots } = calls({ max: 1, queue: 2 })
  come('a1 a2 a3')
  slots.limit({ max: 1, queue: 0 })
  come('b1')
  t.same(refused, ['b1'])
  t.same(dropped, [])
  t.end()
})

t.test('who leaves is passed over, at the head, in the middle and at the end', t => {
  const { come, free, leave, next, slots } = calls({ max: 1, queue: 20 })
  come('-1 a1 b1 a2 a3 b2 a4')
  next()
  leave('a1')
  leave('a3')
  leave('a4')
  for (const name of ['-1', 'a2', 'b1']) free(name)
  t.equal(next(), 'a2 b1 b2')
  t.same(standing(slots, 'a'), undefined)
  t.end()
})

t.test('without fair shares calls are served in the order they came, whatever their group', t => {
  const { come, free, next, refused, dropped } = calls({ max: 2, queue: 4, fairShare: false })
  come('a1 a2 a3 a4 b1 a5')
  come('b2 c1')
  t.same(refused, ['b2', 'c1'], 'nor does anybody give way')
  next()
  for (const name of ['a1', 'a2', 'a3', 'a4']) free(name)
  t.equal(next(), 'a3 a4 b1 a5')
  t.same(dropped, [])
  t.end()
})

t.test('fair shares can be switched on and off while calls wait', t => {
  const { come, free, next, slots } = calls({ max: 4, queue: 20, fairShare: false })
  come('a1 a2 a3 b0 a4 a5 a6 b1 c1 c2')
  next()
  slots.limit({ max: 4, queue: 20, fairShare: true })
  free('a1')
  t.equal(next(), 'c1')
  slots.limit({ max: 4, queue: 20, fairShare: false })
  free('a2')
  t.equal(next(), 'a4')
  t.end()
})

t.test('a group is gone with its last call', t => {
  const slots = createSlots({ max: 2, queue: 5 })
  const first = slots.take('a')!
  t.same(standing(slots, 'a'), { taken: 1, waiting: 0 })
  first.free()
  t.equal(slots.group('a'), undefined)
  const held = [slots.take('b')!, slots.take('b')!]
  const waiting: Waiting = { admit () {}, drop () {} }
  slots.join(waiting, 'c')
  t.same(standing(slots, 'c'), { taken: 0, waiting: 1 })
  slots.leave(waiting)
  t.equal(slots.group('c'), undefined)
  for (const slot of held) slot.free()
  t.equal(slots.group('b'), undefined)
  t.equal(slots.group(), undefined)
  t.end()
})

t.test('the limit of a group that is gone does not hold for the next one', t => {
  const { come, free, next } = calls({ max: 5, queue: 5 })
  come('a1', 1)
  free('a1')
  next()
  come('b1 b2')
  t.equal(next(), 'b1 b2')
  t.end()
})

t.test('a place given back twice counts once, also when its group has come anew since', t => {
  const slots = createSlots({ max: 3, queue: 0 })
  const old = slots.take('a')!
  old.free()
  slots.take('b')
  slots.take('a')
  old.free()
  t.equal(slots.taken, 2)
  t.same(standing(slots, 'a'), { taken: 1, waiting: 0 })
  t.same(standing(slots, 'b'), { taken: 1, waiting: 0 })
  t.end()
})

t.test('who is let in and gives the place back at once leaves nothing behind, while its group ends and its limit changes', t => {
  const slots = createSlots({ max: 9, queue: 9 })
  const held = slots.take('a', 1)!
  let served = 0
  for (let n = 0; n < 3; n++) slots.join({ admit (slot) { served++; slot.free() }, drop () {} }, 'a', 1)
  held.free()
  t.equal(served, 3)
  slots.take('a', 1)
  slots.join({ admit (slot) { served++; slot.free() }, drop () {} }, 'a', 1)
  t.ok(slots.take('a', 5))
  t.equal(served, 4)
  t.same(standing(slots, 'a'), { taken: 2, waiting: 0 })
  t.end()
})

t.test('a group that ends while a call of it comes is there again for that call', t => {
  const slots = createSlots({ max: 9, queue: 9 })
  const held = slots.take('a', 1)!
  slots.join({
    admit (slot) {
      slot.free()
      held.free()
    },
    drop () {}
  }, 'a', 1)
  t.ok(slots.take('a', 5))
  t.same(standing(slots, 'a'), { taken: 1, waiting: 0 })
  t.end()
})

t.test('100,000 groups that come and go leave no memory behind', t => {
  const slots = createSlots({ max: 10, queue: 10 })
  const round = (from: number): void => {
    for (let n = from; n < from + 100_000; n++) {
      const [first, second] = [slots.take(`tenant-${n}`)!, slots.take(`tenant-${n}-too`)!]
      first.free()
      second.free()
    }
  }
  round(0)
  gc()
  const before = process.memoryUsage().heapUsed
  round(100_000)
  gc()
  t.ok(process.memoryUsage().heapUsed - before < 3_000_000)
  t.same([slots.taken, slots.waiting], [0, 0])
  t.equal(slots.group('tenant-5'), undefined)
  t.end()
})

// ---------------------------------------------------------------- against a model

interface Guest { readonly id: number, readonly group: string | undefined }

type Step =
  | { readonly do: 'come', readonly group: number, readonly max: number | undefined }
  | { readonly do: 'free', readonly nth: number }
  | { readonly do: 'leave', readonly nth: number }
  | { readonly do: 'limit', readonly max: number, readonly queue: number, readonly fairShare: boolean }

/** Half of the runs have own limits, and half of the runs switch fair shares. */
function stepsOf (groups: number, limited: boolean, switching: boolean, fairShare: boolean): fc.Arbitrary<Step[]> {
  const own = limited ? fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }) : fc.constant(undefined)
  return fc.array(fc.oneof(
    { weight: 10, arbitrary: fc.record({ do: fc.constant('come' as const), group: fc.nat(groups - 1), max: own }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('free' as const), nth: fc.nat(50) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), nth: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('limit' as const), max: fc.integer({ min: 1, max: 6 }), queue: fc.nat(8), fairShare: switching ? fc.boolean() : fc.constant(fairShare) }) }
  ), { maxLength: 150 })
}

interface Run { readonly groups: number, readonly max: number, readonly queue: number, readonly fairShare: boolean, readonly steps: readonly Step[] }

const run: fc.Arbitrary<Run> = fc.record({ groups: fc.integer({ min: 2, max: 5 }), max: fc.integer({ min: 1, max: 5 }), queue: fc.nat(8), fairShare: fc.boolean(), limited: fc.boolean(), switching: fc.boolean() })
  .chain(({ groups, max, queue, fairShare, limited, switching }) => stepsOf(groups, limited, switching, fairShare).map(steps => ({ groups, max, queue, fairShare, steps })))

/** The same rules over plain lists, searched from end to end. */
function model ({ max, queue, fairShare }: Pick<Run, 'max' | 'queue' | 'fairShare'>) {
  let running: Guest[] = []
  let line: Guest[] = []
  const own = new Map<string | undefined, number>()
  /** When each group began to wait, or last had a turn. */
  const since = new Map<string | undefined, number>()
  let moments = 0
  const log: string[] = []
  const taken = (group: string | undefined): number => running.filter(guest => guest.group === group).length
  const waiting = (group: string | undefined): number => line.filter(guest => guest.group === group).length
  const limitOf = (group: string | undefined): number => own.get(group) ?? Infinity
  const mayEnter = ({ group }: Guest): boolean => running.length < max && taken(group) < limitOf(group)

  const isSooner = (a: string | undefined, b: string | undefined): boolean => taken(a) === taken(b) ? since.get(a)! < since.get(b)! : taken(a) < taken(b)

  function moveUp (): void {
    for (;;) {
      let next: Guest | undefined
      for (const guest of line) {
        if (mayEnter(guest) && (next === undefined || (fairShare && isSooner(guest.group, next.group)))) next = guest
      }
      if (next === undefined) return
      since.set(next.group, moments++)
      line = line.filter(guest => guest !== next)
      running.push(next)
      log.push(`${next.id} enters`)
    }
  }

  function loserFor (group: string | undefined): Guest | undefined {
    if (!fairShare || queue === 0) return undefined
    let loser: Guest | undefined
    // the last of the line that is of a group with the most waiting, and of those the most taken
    for (const guest of line) {
      if (loser === undefined || waiting(guest.group) > waiting(loser.group) || (waiting(guest.group) === waiting(loser.group) && taken(guest.group) >= taken(loser.group))) loser = guest
    }
    if (loser === undefined) return undefined
    const more = waiting(loser.group) - waiting(group)
    return more > 1 || (more === 1 && taken(loser.group) > taken(group)) ? loser : undefined
  }

  return {
    log,
    get running () { return running },
    get line () { return line },
    get max () { return max },
    taken,
    waiting,
    limitOf,
    mayEnter,
    come (guest: Guest, limit = Infinity): void {
      // a group that has no call has no limit either
      own.set(guest.group, limit)
      moveUp()
      if (mayEnter(guest)) {
        running.push(guest)
        log.push(`${guest.id} enters`)
        return
      }
      const loser = line.length >= queue ? loserFor(guest.group) : undefined
      if (line.length >= queue && loser === undefined) {
        log.push(`${guest.id} is refused`)
        return
      }
      if (waiting(guest.group) === 0) since.set(guest.group, moments++)
      line = [...line.filter(other => other !== loser), guest]
      if (loser !== undefined) log.push(`${loser.id} is dropped`)
    },
    free (guest: Guest): void {
      running = running.filter(other => other !== guest)
      moveUp()
    },
    leave (guest: Guest): void { line = line.filter(other => other !== guest) },
    limit (next: SlotLimits): void {
      ({ max, queue, fairShare = true } = next)
      moveUp()
    }
  }
}

t.test('property: over any schedule of several groups the same calls enter, are refused and are dropped as in a plain model, in the same order', t => {
  fc.assert(fc.property(run, ({ steps, groups, ...limits }) => {
    const names = [undefined, 'a', 'b', 'c', 'd'].slice(0, groups)
    const wanted = model(limits)
    const slots = createSlots(limits)
    const log: string[] = []
    const held = new Map<number, Slot>()
    const waiters = new Map<number, Waiting>()
    const enter = (id: number, slot: Slot): void => {
      held.set(id, slot)
      log.push(`${id} enters`)
    }
    steps.forEach((step, id) => {
      if (step.do === 'come') {
        const group = names[step.group]
        wanted.come({ id, group }, step.max)
        const slot = slots.take(group, step.max)
        if (slot !== undefined) enter(id, slot)
        else {
          const waiting: Waiting = { admit: place => { enter(id, place) }, drop: () => { log.push(`${id} is dropped`) } }
          waiters.set(id, waiting)
          if (!slots.join(waiting, group, step.max)) log.push(`${id} is refused`)
        }
      } else if (step.do === 'free') {
        const guest = wanted.running[step.nth % wanted.running.length]
        if (guest === undefined) return
        wanted.free(guest)
        held.get(guest.id)!.free()
        // a second time does no harm
        if (step.nth % 3 === 0) held.get(guest.id)!.free()
      } else if (step.do === 'leave') {
        const guest = wanted.line[step.nth % wanted.line.length]
        if (guest === undefined) return
        wanted.leave(guest)
        slots.leave(waiters.get(guest.id)!)
      } else {
        wanted.limit(step)
        slots.limit(step)
      }
      if (log.join() !== wanted.log.join()) throw new Error(`step ${id}: ${log.join()}, not ${wanted.log.join()}`)
      if (slots.taken !== wanted.running.length || slots.waiting !== wanted.line.length) throw new Error(`step ${id}: ${slots.taken} taken and ${slots.waiting} waiting`)
      for (const name of names) {
        const { taken = 0, waiting = 0 } = slots.group(name) ?? {}
        if (taken !== wanted.taken(name) || waiting !== wanted.waiting(name)) throw new Error(`step ${id}: ${name} has ${taken} and ${waiting}`)
      }
    })
  }), { numRuns: 1500 })
  t.end()
})

t.test('property: whatever happens, no limit is passed, no place is left free, each goes to a group that holds the fewest, and everyone is served', t => {
  fc.assert(fc.property(run, ({ steps, groups, ...first }) => {
    const names = [undefined, 'a', 'b', 'c', 'd'].slice(0, groups)
    const slots = createSlots(first)
    let limits: SlotLimits = first
    const own = new Map<string | undefined, number>()
    const held: Array<Guest & { slot: Slot }> = []
    const line: Array<Guest & { waiting: Waiting }> = []
    const taken = (group: string | undefined): number => held.filter(guest => guest.group === group).length
    const mayEnter = ({ group }: Guest): boolean => held.length < limits.max && taken(group) < (own.get(group) ?? Infinity)
    const out = (id: number): void => { line.splice(line.findIndex(guest => guest.id === id), 1) }
    function enter (guest: Guest, slot: Slot, before: readonly Guest[]): void {
      // what holds whenever a place is given to someone who waits
      const better = before.filter(mayEnter).find(other => limits.fairShare === true ? taken(other.group) < taken(guest.group) : other.id < guest.id)
      if (better !== undefined) throw new Error(`${guest.id} enters before ${better.id}`)
      const sooner = before.find(other => other.group === guest.group && other.id < guest.id)
      if (sooner !== undefined) throw new Error(`${guest.id} enters before ${sooner.id} of the same group, which came sooner`)
      if (!mayEnter(guest)) throw new Error(`${guest.id} enters beyond a limit`)
      held.push({ ...guest, slot })
    }
    steps.forEach((step, id) => {
      if (step.do === 'come') {
        const guest: Guest = { id, group: names[step.group] }
        own.set(guest.group, step.max ?? Infinity)
        const slot = slots.take(guest.group, step.max)
        if (slot !== undefined) enter(guest, slot, line)
        else {
          const waiting: Waiting = {
            admit (place) {
              out(id)
              enter(guest, place, line)
            },
            drop () { out(id) }
          }
          line.push({ ...guest, waiting })
          if (!slots.join(waiting, guest.group, step.max)) out(id)
        }
      } else if (step.do === 'free') {
        held.splice(step.nth % (held.length + 1), 1)[0]?.slot.free()
      } else if (step.do === 'leave') {
        const [gone] = line.splice(step.nth % (line.length + 1), 1)
        if (gone !== undefined) slots.leave(gone.waiting)
      } else {
        limits = step
        slots.limit(step)
      }
      const idle = line.find(mayEnter)
      if (idle !== undefined) throw new Error(`step ${id}: ${idle.id} waits, and there is a place`)
      if (slots.taken !== held.length || slots.waiting !== line.length) throw new Error(`step ${id}: ${slots.taken} and ${slots.waiting}, not ${held.length} and ${line.length}`)
    })
    // nobody starves: when nobody comes any more, all that wait have had their turn once as many have gone
    const all = held.length + line.length
    for (let n = 0; n < all; n++) {
      if (held.length === 0) throw new Error(`${line.length} wait for ever`)
      held.shift()!.slot.free()
    }
    if (held.length > 0 || line.length > 0 || slots.taken > 0 || slots.waiting > 0) throw new Error('someone is left')
    for (const name of names) if (slots.group(name) !== undefined) throw new Error(`group ${name} is left`)
  }), { numRuns: 1000 })
  t.end()
})

t.test('property: nobody starves while others never stop coming', t => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 2, max: 5 }), fc.array(fc.nat(50), { minLength: 60, maxLength: 60 }), (max, groups, choices) => {
    const slots = createSlots({ max, queue: 1000 })
    const held: Slot[] = []
    let served = false
    const crowd: Waiting = { admit (slot) { held.push(slot) }, drop () {} }
    const come = (group: string): void => {
      const slot = slots.take(group)
      if (slot !== undefined) held.push(slot)
      else slots.join({ ...crowd }, group)
    }
    for (let n = 0; n < 20; n++) come(`g${n % groups}`)
    slots.join({ admit (slot) { served = true; held.push(slot) }, drop () {} }, 'quiet')
    // each group that stands as well had come before it: at most one call of each goes first
    let turns = 0
    for (const choice of choices) {
      if (served) break
      turns++
      held.splice(choice % held.length, 1)[0]!.free()
      come(`g${choice % groups}`)
      come(`new${turns}`)
    }
    return served && turns <= groups + 1
  }), { numRuns: 300 })
  t.end()
})
