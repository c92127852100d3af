/**
 * Choosing by key: `hash` and `ip-hash` send the same key to the same target by rendezvous hashing.
 *
 * Every target scores every key and the best score wins. So a target that goes takes only its own keys along, one that
 * comes takes only its share, the order of the targets is of no account, and gateways side by side agree.
 *
 * Source: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates, 1998; weights after
 * Schindelhauer and Schomaker, Weighted Distributed Hash Tables, 2005.
 */
import { inspect } from 'node:util'
import type { Balancer, BalancerTools, Target } from '../types.ts'
import { createKeyOf, type KeyOf } from './hash-key.ts'
import { createWeightedRandom } from './random.ts'
import { perArray } from './tables.ts'

/** By the client's address as Fastify knows it. */
export function createIpHash (tools: BalancerTools): Balancer {
  return createHashBalancer(tools, createKeyOf('ip'))
}

/** `options.key` is a `HashKey`. Throws TypeError or RangeError when it is not. */
export function createHash (tools: BalancerTools, options: unknown): Balancer {
  if (typeof options !== 'object' || options === null || !('key' in options)) {
    throw new TypeError(`balancer "hash": needs a key, as in { type: 'hash', key: { header: 'x-user' } } (got ${inspect(options)})`)
  }
  return createHashBalancer(tools, createKeyOf(options.key))
}

function createHashBalancer (tools: BalancerTools, keyOf: KeyOf): Balancer {
  const seedsOf = perArray(createSeeds)
  // Calls without a key must not all meet at one target.
  const keyless = createWeightedRandom(tools)
  function keyed (targets: readonly Target[], key: string | undefined): Target | undefined {
    if (key === undefined || key === '') return undefined
    const seeds = seedsOf(targets)
    const hash = hashText(key, 0)
    return targets[seeds.equal ? bestOf(targets, seeds, hash) : bestWeighted(targets, seeds, hash)]
  }
  return {
    pick: (targets, context) => keyed(targets, keyOf(context)) ?? keyless.pick(targets, context),
    peek: (targets, context) => keyed(targets, keyOf(context))
  }
}

interface Seeds {
  /** Two hashes of each target's id: 64 bits, lest two of a thousand targets collide and score alike for ever. */
  readonly first: Int32Array
  readonly second: Int32Array
  readonly weights: Float64Array
  readonly equal: boolean
}

function createSeeds (targets: readonly Target[]): Seeds {
  const weights = Float64Array.from(targets, target => target.weight)
  return {
    first: Int32Array.from(targets, target => hashText(target.id, 1)),
    second: Int32Array.from(targets, target => hashText(target.id, 2)),
    weights,
    equal: weights.every(weight => weight === weights[0])
  }
}

function bestOf (targets: readonly Target[], { first, second }: Seeds, hash: number): number {
  let best = 0
  let highest = -Infinity
  for (let i = 0; i < first.length; i++) {
    // The highest bit turned over: signed numbers then order as the unsigned ones of weighted scores do, so that
    // nobody moves when the weights become equal.
    const score = mix(hash ^ first[i]!, second[i]!) ^ 0x80000000
    if (score > highest || (score === highest && targets[i]!.id < targets[best]!.id)) {
      highest = score
      best = i
    }
  }
  return best
}

/**
 * The score of weight w for a uniform u in (0, 1) is w / -ln(u). As -ln(u) > 1 - u, a target that cannot win shows
 * itself without the logarithm, and all but a handful of a thousand cannot.
 */
function bestWeighted (targets: readonly Target[], { first, second, weights }: Seeds, hash: number): number {
  let best = 0
  let highest = 0
  for (let i = 0; i < first.length; i++) {
    const uniform = ((mix(hash ^ first[i]!, second[i]!) >>> 0) + 0.5) / 0x1_0000_0000
    const weight = weights[i]!
    if (weight <= highest * (1 - uniform)) continue
    const score = weight / -Math.log(uniform)
    if (score > highest || (score === highest && targets[i]!.id < targets[best]!.id)) {
      highest = score
      best = i
    }
  }
  return best
}

/** MurmurHash3's 32-bit finaliser with a second seed in its middle. Signed. */
function mix (value: number, seed: number): number {
  let h = value ^ (value >>> 16)
  h = Math.imul(h, 0x85ebca6b) + seed | 0
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

/** MurmurHash3 (x86, 32 bits) over UTF-16 units. Signed; the same in every process. */
function hashText (text: string, seed: number): number {
  let h = seed
  for (let i = 0; i < text.length; i++) {
    let k = Math.imul(text.charCodeAt(i), 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
    h = (h << 13) | (h >>> 19)
    h = Math.imul(h, 5) + 0xe6546b64 | 0
  }
  return mix(h ^ text.length, seed)
}
