/**
 * The balancers by name, and how a backend gets its own.
 */
import { inspect } from 'node:util'
import type { Balancer, BalancerConfig, BalancerFactory, BalancerTools } from '../types.ts'
import { createHash, createIpHash } from './hash.ts'
import { createLeastConnections, createPowerOfTwo } from './least-loaded.ts'
import { createRandom, createWeightedRandom } from './random.ts'
import { createRoundRobin, createWeightedRoundRobin } from './round-robin.ts'

/** Every balancer of the suite. */
export const builtinBalancers: Readonly<Record<string, BalancerFactory>> = Object.freeze({
  'round-robin': plain(createRoundRobin),
  'weighted-round-robin': plain(createWeightedRoundRobin),
  random: plain(createRandom),
  'weighted-random': plain(createWeightedRandom),
  'least-connections': plain(createLeastConnections),
  'power-of-two': plain(createPowerOfTwo),
  'power-of-two-choices': plain(createPowerOfTwo),
  'ip-hash': plain(createIpHash),
  hash: only(['key'], createHash)
})

/**
 * Makes the balancer a backend asks for. `registered` are the user's own, which come before ours of the same name.
 *
 * Throws RangeError for a name nobody knows and for options the balancer does not have, TypeError for options of
 * the wrong kind; a user's factory may throw what it likes.
 */
export function createBalancer (
  config: BalancerConfig,
  registered: Readonly<Record<string, BalancerFactory>>,
  tools: BalancerTools
): Balancer {
  const name = typeof config === 'string' ? config : config.type
  const factory = own(registered, name) ?? own(builtinBalancers, name)
  if (factory === undefined) {
    const known = new Set([...Object.keys(builtinBalancers), ...Object.keys(registered)])
    throw new RangeError(`unknown balancer ${inspect(name)}; known are ${[...known].join(', ')}`)
  }
  return factory(tools, typeof config === 'string' ? undefined : config)
}

function own<T> (record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined
}

function plain (create: (tools: BalancerTools) => Balancer): BalancerFactory {
  return only([], create)
}

/** An option that does nothing would mislead: names beyond the known ones are refused. */
function only (names: readonly string[], create: BalancerFactory): BalancerFactory {
  return (tools, options) => {
    const unknown = Object.keys(Object(options)).filter(name => name !== 'type' && !names.includes(name))
    if (unknown.length > 0) {
      throw new RangeError(`balancer ${inspect(Object(options).type)}: no such option (got ${unknown.join(', ')})`)
    }
    return create(tools, options)
  }
}
