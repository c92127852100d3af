/**
 * Who is known: the tenants of the options, those set at run time, and those that were loaded.
 */
import { isDeepStrictEqual } from 'node:util'
import { OptionsError } from '../errors.ts'
import { parseTenant } from '../options/index.ts'
import { createDirectory } from './directory.ts'
import type { Deadlines } from '../deadlines.ts'
import type { OptionProblem } from '../errors.ts'
import type { TenantContext, TenantOptions } from '../options/index.ts'
import type { Metadata } from '../types.ts'
import type { Scopes } from './scopes.ts'
import type { TenancyConfig } from './types.ts'

/** A known tenant: a snapshot. */
export interface TenantView {
  readonly id: string
  /** false: its requests are refused. */
  readonly served: boolean
  /** Where it comes from: the options, `tenants.set()` or `load`. */
  readonly source: 'options' | 'set' | 'load'
  /** Whether it has breakers, connections and counters of its own now. */
  readonly active: boolean
  readonly metadata: Metadata
}

/** Takes effect with the next request; requests under way finish as they began. */
export interface TenantsApi {
  /** Adds or replaces a tenant; `false` refuses its requests. Backends that mean the same keep their state. @throws OptionsError */
  set (id: string, options: unknown): void
  /** Forgets a tenant; what was loaded is loaded again when it is asked for. Resolves when its own connections are closed. */
  remove (id: string): Promise<void>
  get (id: string): TenantView | undefined
  /** Those of the options and of `set`, and those loaded that are remembered. */
  list (): TenantView[]
}

export interface TenantsTools {
  /** What a tenant's options are checked against. */
  readonly context: TenantContext
  readonly scopes: Pick<Scopes, 'of' | 'peek' | 'close'>
  readonly deadlines: Deadlines
  now (): number
  /** What is wrong with what a tenant changes about routes. */
  problemsOf (id: string, options: TenantOptions | false): readonly OptionProblem[]
  /** Told of backends that only tenants may have. */
  expect (names: readonly string[]): void
  /** See `DirectoryOptions`. */
  onError (id: string, error: Error | undefined): void
}

export interface Tenants {
  readonly api: TenantsApi
  /** false: refused; undefined: nobody knows it. */
  find (id: string): TenantOptions | false | undefined | Promise<TenantOptions | false | undefined>
  /** What is wrong with those that were there before the routes. */
  problems (): OptionProblem[]
}

interface Known {
  readonly options: TenantOptions | false
  readonly source: 'options' | 'set'
}

export function createTenants ({ tenants, load, cache }: Pick<TenancyConfig, 'tenants' | 'load' | 'cache'>, tools: TenantsTools): Tenants {
  const { context, scopes, deadlines, now, onError } = tools
  const known = new Map<string, Known>()
  const directory = load === undefined ? undefined : createDirectory<TenantOptions | false>({ load, cache, deadlines, now, parse, onError })

  function learn (id: string, options: TenantOptions | false, source: Known['source']): void {
    known.set(id, { options, source })
    if (options !== false) tools.expect(Object.keys(options.backends ?? {}))
  }

  /** What `load` gave. Most loads say what the last one said. */
  function parse (id: string, input: TenantOptions | false): TenantOptions | false {
    const before = directory?.peek(id)
    if (before !== undefined && isDeepStrictEqual(before, input)) return before
    const options = checked(id, input)
    if (options !== false) tools.expect(Object.keys(options.backends ?? {}))
    return options
  }

  function checked (id: string, input: unknown): TenantOptions | false {
    const options = parseTenant(input, id, context)
    const problems = tools.problemsOf(id, options)
    if (problems.length > 0) throw new OptionsError(problems)
    return options
  }

  function viewOf (id: string, options: TenantOptions | false, source: TenantView['source']): TenantView {
    return { id, served: options !== false, source, active: scopes.peek(id) !== undefined, metadata: options === false ? {} : options.metadata ?? {} }
  }

  for (const [id, options] of Object.entries(tenants)) learn(id, options, 'options')

  return {
    api: {
      set (id, input) {
        const options = checked(id, input)
        learn(id, options, 'set')
        if (options === false) scopes.close(id)
        else if (scopes.peek(id) !== undefined) scopes.of(id, options)
      },
      async remove (id) {
        known.delete(id)
        directory?.forget(id)
        await scopes.close(id)
      },
      get (id) {
        const { options = directory?.peek(id), source = 'load' } = known.get(id) ?? {}
        return options === undefined ? undefined : viewOf(id, options, source)
      },
      list: () => [
        ...[...known].map(([id, { options, source }]) => viewOf(id, options, source)),
        ...[...directory?.entries() ?? []].filter(([id]) => !known.has(id)).map(([id, options]) => viewOf(id, options, 'load'))
      ]
    },
    find: id => known.get(id)?.options ?? directory?.get(id),
    problems: () => [...known].flatMap(([id, { options }]) => tools.problemsOf(id, options))
  }
}
