/**
 * What changes of the backends and their targets.
 *
 * Options are shown as they were written, the gateway's under the backend's own; whether they come to anything is asked of what
 * they have been resolved to.
 */
import { isDeepStrictEqual } from 'node:util'
import { BACKEND } from '../options/forms.ts'
import { mergeBackend } from '../options/merge.ts'
import { fullBackendSchema, sharedBackendProperties, targetSchema } from '../options/schema/backend.ts'
import { splitTargetUrl } from '../options/target-url.ts'
import { connectionOptions } from '../pools.ts'
import type { FullBackendOption, TargetOption } from '../options/index.ts'
import type { BackendConfig, TargetConfig } from '../types.ts'
import { diffOptions } from './diff.ts'
import { changesOf } from './named.ts'
import type { BackendChange, Change, Changes, Configuration, TargetChange, TargetChanges } from './types.ts'

const FULL = { schema: fullBackendSchema, form: BACKEND } as const
const TARGET = { schema: targetSchema, form: { short: 'url', keys: { health: { short: 'path' } } } } as const

export function planBackends (before: Configuration, after: Configuration): Changes<string, BackendChange> {
  // what a backend says goes before what a tenant says for all, also where it says what holds anyway
  const hasTenants = after.config.tenancy !== undefined
  return changesOf(before.config.backends, after.config.backends, (name, one, other) => {
    const options = diffOptions(FULL, writtenOf(before.gateway, one.said), writtenOf(after.gateway, other.said))
    if (hasTenants) options.push(...diffOptions(FULL, writtenOf({}, one.said), writtenOf({}, other.said)).filter(({ path }) => options.every(option => option.path !== path)))
    const targets = planTargets(one, other)
    const { added, removed, changed } = targets
    if (options.length + added.length + removed.length + changed.length === 0) return undefined
    if (!hasTenants && isDeepStrictEqual(effectOf(one), effectOf(other))) return undefined
    return { name, options, targets, poolsKept: isDeepStrictEqual(connectionOptions(one), connectionOptions(other)) }
  })
}

/** What holds for a backend of this gateway, without its targets. */
function writtenOf (gateway: object, said: FullBackendOption): Readonly<Record<string, unknown>> {
  const shared = Object.fromEntries(Object.entries(gateway as Readonly<Record<string, unknown>>).filter(([name]) => Object.hasOwn(sharedBackendProperties, name)))
  const { url, targets, ...options } = mergeBackend(shared, said)
  return options
}

/** The gateway's header changes are the same for all, and told once. */
function effectOf ({ said, common, ...effect }: BackendConfig): unknown {
  return effect
}

function planTargets (before: BackendConfig, after: BackendConfig): TargetChanges {
  const [one, other] = [byUrl(before), byUrl(after)]
  const { added, removed, changed, unchanged } = changesOf<TargetEntry, TargetChange>(one, other, (url, one, other) => {
    const options: Change[] = diffOptions(TARGET, one.said, other.said).filter(({ path }) => path !== 'url')
    return options.length === 0 || isDeepStrictEqual(one.config, other.config) ? undefined : { url, options }
  })
  return { added, removed, changed, kept: unchanged }
}

interface TargetEntry {
  readonly config: TargetConfig
  readonly said: TargetOption | undefined
}

/** Of a backend with discovery: none, for nobody knows them yet. */
function byUrl ({ targets, said }: BackendConfig): Record<string, TargetEntry> {
  const written = new Map((said.targets ?? [said.url ?? []].flat()).map(option => [normal(typeof option === 'string' ? option : option.url), option]))
  return Object.fromEntries(targets.map(config => [config.url, { config, said: written.get(config.url) }]))
}

function normal (url: string): string {
  const split = splitTargetUrl(url)
  return typeof split === 'string' ? url : split.url
}
