/**
 * What changes of the options of the whole gateway: all but backends, routes and tenants.
 */
import { isDeepStrictEqual } from 'node:util'
import { RESILIENCE } from '../options/forms.ts'
import { gatewaySchema } from '../options/schema/gateway.ts'
import { diffOptions } from './diff.ts'
import { GATEWAY } from './forms.ts'
import type { Change, Configuration } from './types.ts'

type Options = Readonly<Record<string, unknown>>

export function planGlobal (before: Configuration, after: Configuration): Change[] {
  const [one, other] = [writtenOf(before), writtenOf(after)]
  const differ = [...new Set([...Object.keys(one), ...Object.keys(other)])].filter(name => mayDiffer(before, after, name))
  const only = (options: Options) => Object.fromEntries(Object.entries(options).filter(([name]) => differ.includes(name)))
  return diffOptions({ schema: gatewaySchema, form: GATEWAY }, only(one), only(other))
}

function writtenOf ({ gateway }: Configuration): Options {
  const { backends, routes, ...options } = gateway as Options
  if (gateway.tenancy === undefined) return options
  const { tenants, ...tenancy } = gateway.tenancy
  return { ...options, tenancy }
}

/** What has been written in two ways is the same. Of some options it is what was written that levels below start from. */
function mayDiffer ({ config: before }: Configuration, { config: after }: Configuration, name: string): boolean {
  return Object.hasOwn(RESILIENCE, name) || !isDeepStrictEqual(effectOf(before, name), effectOf(after, name))
}

/** What an option of this name has been resolved to; a symbol of its own where that cannot be told, so that what was written decides. */
function effectOf (config: Configuration['config'], name: string): unknown {
  const { headers, forwarded, via, requestIdHeader, tenancy, backendDefaults } = config
  if (name === 'headers') return { headers, forwarded, via, requestIdHeader }
  if (name === 'tenancy') return tenancy === undefined ? undefined : { ...tenancy, tenants: undefined }
  // a duration of the pool is one of the timeouts
  if (name === 'pool') return [backendDefaults.pool, backendDefaults.timeout.connect]
  const effects: Options = { ...backendDefaults, ...config }
  return Object.hasOwn(effects, name) ? effects[name] : Symbol(name)
}
