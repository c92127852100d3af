/**
 * Taking turns: `round-robin` without weights, `weighted-round-robin` by nginx's smooth algorithm.
 *
 * Both keep their place when targets come and go, or are left out for one call only.
 */
import type { Balancer, Target } from '../types.ts'

/** One after the other, whatever they weigh. */
export function createRoundRobin (): Balancer {
  let seen: readonly Target[] = []
  let next = 0
  return {
    pick (targets) {
      if (targets !== seen) {
        next = resume(seen, next, targets)
        seen = targets
      }
      const picked = targets[next]
      next = next + 1 < targets.length ? next + 1 : 0
      return picked
    },
    peek: targets => targets[targets === seen ? next : resume(seen, next, targets)]
  }
}

/** Whose turn it is in a new array: the first one due in the old array that is still there. */
function resume (seen: readonly Target[], next: number, targets: readonly Target[]): number {
  for (let i = 0; i < seen.length; i++) {
    const due = targets.indexOf(seen[(next + i) % seen.length]!)
    if (due !== -1) return due
  }
  return 0
}

interface Turns {
  readonly targets: readonly Target[]
  readonly weights: Float64Array
  /** How far each target is owed (above 0) or ahead (below), in units of weight. */
  readonly owed: Float64Array
  readonly total: number
  readonly equal: boolean
}

/**
 * Smooth weighted round robin: every turn each target is owed its weight more, the one owed most is taken and pays
 * the sum of all weights. 5, 1, 1 gives a a b a c a a: exact shares in each cycle, without bursts.
 * Equal weights need no scan and take plain turns.
 *
 * Source: nginx, src/http/ngx_http_upstream_round_robin.c, commit 52327e0627f4.
 */
export function createWeightedRoundRobin (): Balancer {
  const evenly = createRoundRobin()
  const parked = new WeakMap<Target, number>()
  let turns = createTurns([], parked)
  let lastOdd: readonly Target[] | undefined
  return {
    pick (targets, context) {
      if (targets !== turns.targets) {
        // An array met once may be for that call only: it must not cost the others a new table.
        if (targets !== lastOdd && areAmong(targets, turns)) {
          lastOdd = targets
          return turns.equal ? evenly.pick(targets, context) : takeAmong(turns, targets)
        }
        park(turns, parked)
        turns = createTurns(targets, parked)
        lastOdd = undefined
      }
      return turns.equal ? evenly.pick(targets, context) : take(turns)
    },
    peek (targets, context) {
      let next = turns
      if (targets !== turns.targets && (targets === lastOdd || !areAmong(targets, turns))) {
        // what is put aside here `pick` would put aside anew
        park(turns, parked)
        next = createTurns(targets, parked)
      }
      return next.equal ? evenly.peek!(targets, context) : owedMost(next, targets)
    }
  }
}

/** Whom `take` or `takeAmong` would take. */
function owedMost ({ owed, targets, weights }: Turns, some: readonly Target[]): Target | undefined {
  let best: Target | undefined
  let most = -Infinity
  let slot = 0
  for (const target of some) {
    while (targets[slot] !== target) slot++
    const value = owed[slot]! + weights[slot]!
    if (value > most) {
      most = value
      best = target
    }
  }
  return best
}

function take (turns: Turns): Target | undefined {
  const { owed, weights } = turns
  let best = 0
  let most = -Infinity
  for (let i = 0, count = owed.length; i < count; i++) {
    const value = owed[i]! + weights[i]!
    owed[i] = value
    if (value > most) {
      most = value
      best = i
    }
  }
  owed[best] = most - turns.total
  return turns.targets[best]
}

/** The same among some of the targets; those left out are neither owed more nor forgotten. */
function takeAmong (turns: Turns, some: readonly Target[]): Target | undefined {
  const { owed, targets, weights } = turns
  let best = 0
  let most = -Infinity
  let total = 0
  let slot = 0
  for (const target of some) {
    while (targets[slot] !== target) slot++
    const weight = weights[slot]!
    const value = owed[slot]! + weight
    owed[slot] = value
    total += weight
    if (value > most) {
      most = value
      best = slot
    }
  }
  owed[best] = most - total
  return targets[best]
}

/** Whether the targets are those of the table, in its order and with its weights, but with some left out. */
function areAmong (some: readonly Target[], { targets, weights }: Turns): boolean {
  let at = 0
  for (let i = 0; i < targets.length && at < some.length; i++) {
    const target = targets[i]!
    if (target === some[at] && target.weight === weights[i]) at++
  }
  return at === some.length
}

function createTurns (targets: readonly Target[], parked: WeakMap<Target, number>): Turns {
  const weights = Float64Array.from(targets, target => target.weight)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const equal = weights.every(weight => weight === weights[0])
  // Taking plain turns neither reads nor changes what is owed.
  const owed = equal ? new Float64Array(targets.length) : Float64Array.from(targets, target => (parked.get(target) ?? 0) * total)
  return { targets, weights, owed, total, equal }
}

/** Puts aside what each target is owed, as a share of the total: weights may be of another magnitude next time. */
function park (turns: Turns, parked: WeakMap<Target, number>): void {
  turns.targets.forEach((target, i) => parked.set(target, turns.owed[i]! / turns.total))
}
