/**
 * What one option of a composite says about another: names of backends, parts and strategies, and options that would do
 * nothing beside others.
 *
 * Like `cross-check.ts` it looks only at what has the shape it knows; everything else has been reported.
 */
import { compositeProblems } from '../composite/check.ts'
import type { OptionProblem } from '../errors.ts'
import { isRecord } from './copy.ts'
import type { Known } from './cross-check.ts'
import { crossCheckRouteResilience } from './cross-check-resilience.ts'
import { checkReserved, checkReservedOfPart } from './cross-check-tenancy.ts'
import type { Walk } from './check.ts'
import { BUILT_IN_STRATEGIES, DEFAULTS } from './defaults.ts'
import { entriesOf, requireName, reportTwins } from './names.ts'
import { at, isWithin } from './paths.ts'
import { resolveComposite, strategyOf } from './resolve-composite.ts'
import { isDuration, RULES } from './rules.ts'
import type { CompositeOptions } from './schema/composite.ts'
import { byteCount, milliseconds } from './units.ts'

type Options = Record<string, unknown>

/** `composite` of a route; `routePath` undefined: its parameters cannot be told. */
export function crossCheckComposite (composite: unknown, path: string, routePath: string | undefined, known: Known, walk: Walk): void {
  if (!isRecord(composite)) return
  const { problems } = walk
  const isWrong = problems.some(problem => isWithin(problem.path, path))
  const { backends, parts } = composite
  const names = Array.isArray(backends) ? backends.filter(name => typeof name === 'string') : entriesOf(parts).map(([name]) => name)
  if (Array.isArray(backends)) checkBackends(backends, at(path, 'backends'), known, problems)
  for (const [name, part] of entriesOf(parts)) {
    if (isRecord(part)) checkPart(part, { name, path: at(at(path, 'parts'), name), composite, names, known, walk })
  }
  crossCheckRouteResilience(composite, path, undefined, known, walk)
  checkReserved(composite['headers'], at(path, 'headers'), known.reserved, problems)
  checkStrategy(composite, path, known, problems)
  if (isRecord(composite['headers'])) checkHeaders(composite['headers'], at(path, 'headers'), names, problems)
  if (isSize(composite['maxPartBytes'])) checkMaxBytes(composite['maxPartBytes'], at(path, 'maxPartBytes'), composite, problems)
  if (composite['onMissing'] !== undefined && backends !== undefined) {
    problems.push({ path: at(path, 'onMissing'), rule: 'does nothing in the short form, where no part needs a value', value: composite['onMissing'] })
  }
  if (isWrong) return
  // templates and references can be looked at as soon as everything has its shape; a place that has been reported needs no second word
  const reported = problems.map(problem => problem.path)
  const more = compositeProblems(resolveComposite(composite as CompositeOptions), path, routePath)
  problems.push(...more.filter(problem => !reported.some(place => isWithin(place, problem.path))))
}

/** Strategies of the user's own. A name of ours would mean two things. */
export function crossCheckStrategies (strategies: unknown, path: string, problems: OptionProblem[]): void {
  for (const [name] of entriesOf(strategies)) {
    if (isBuiltIn(name)) problems.push({ path: at(path, name), rule: 'must have a name of its own: this strategy comes with the suite', value: name })
  }
}

function checkBackends (backends: readonly unknown[], path: string, known: Known, problems: OptionProblem[]): void {
  backends.forEach((name, index) => {
    if (typeof name !== 'string') return
    if (name === '__proto__') problems.push({ path: at(path, index), rule: 'must not be used as a name', value: name })
    else if (known.backends !== undefined) requireName(name, at(path, index), 'backend', known.backends, problems)
  })
  reportTwins(backends.map((name, index) => [name, at(path, index)]), 'must not be listed twice: two parts of one backend need names (parts)', problems)
}

// ---- a part

interface PartScene {
  readonly name: string
  readonly path: string
  readonly composite: Options
  /** Of all parts. */
  readonly names: readonly string[]
  readonly known: Known
  readonly walk: Walk
}

function checkPart (part: Options, scene: PartScene): void {
  const { path, composite, known, walk } = scene
  const { problems } = walk
  const { backend, maxBytes } = part
  if (known.backends !== undefined) {
    if (typeof backend === 'string') requireName(backend, at(path, 'backend'), 'backend', known.backends, problems)
    else if (backend === undefined && known.defaultBackend === undefined) problems.push({ path: at(path, 'backend'), rule: 'is required, as there is no defaultBackend' })
  }
  if (Array.isArray(part['needs'])) checkNeeds(part['needs'], scene)
  crossCheckRouteResilience(part, path, backend ?? known.defaultBackend, known, walk)
  checkTimes(part['timeout'], at(path, 'timeout'), composite['timeout'], problems)
  if (isSize(maxBytes)) checkMaxBytes(maxBytes, at(path, 'maxBytes'), composite, problems)
  if (isRecord(part['headers'])) checkPartHeaders(part['headers'], at(path, 'headers'), problems)
  checkReservedOfPart(part['headers'], at(path, 'headers'), known.reserved, problems)
  if (isRecord(part['forEach'])) checkForEach(part['forEach'], at(path, 'forEach'), problems)
  for (const list of ['pick', 'omit']) {
    const fields: unknown = part[list]
    if (Array.isArray(fields)) reportTwins(fields.map((field: unknown, index) => [field, at(at(path, list), index)]), 'must not be listed twice', problems)
  }
}

function checkNeeds (needs: readonly unknown[], { name, path, names, walk: { problems } }: PartScene): void {
  const base = at(path, 'needs')
  needs.forEach((need, index) => {
    if (need === name) problems.push({ path: at(base, index), rule: 'must not be the part itself', value: need })
    else if (typeof need === 'string') requireName(need, at(base, index), 'part', names.filter(other => other !== name), problems)
  })
  reportTwins(needs.map((need, index) => [need, at(base, index)]), 'must not be listed twice', problems)
}

/** A part that is given longer than the whole would be cut off before. */
function checkTimes (timeout: unknown, path: string, whole: unknown = DEFAULTS.composite.timeout, problems: OptionProblem[]): void {
  if (!isDuration(whole) || milliseconds(whole) === 0) return
  const times: Array<[unknown, string]> = isRecord(timeout) ? Object.entries(timeout).map(([name, time]) => [time, at(path, name)]) : [[timeout, path]]
  for (const [time, place] of times) {
    if (isDuration(time) && milliseconds(time) > milliseconds(whole)) {
      problems.push({ path: place, rule: `must not be longer than the composite's timeout (${whole})`, value: time })
    }
  }
}

function checkMaxBytes (bytes: number | string, path: string, { maxBytes = DEFAULTS.composite.maxBytes }: Options, problems: OptionProblem[]): void {
  if (isSize(maxBytes) && byteCount(bytes) > byteCount(maxBytes)) {
    problems.push({ path, rule: `must not be more than the composite's maxBytes (${maxBytes}), which all parts share`, value: bytes })
  }
}

function checkPartHeaders ({ set, remove }: Options, path: string, problems: OptionProblem[]): void {
  const names = new Set(entriesOf(set).map(([name]) => name.toLowerCase()))
  if (!Array.isArray(remove)) return
  remove.forEach((name: unknown, index) => {
    if (typeof name === 'string' && names.has(name.toLowerCase())) {
      problems.push({ path: at(at(path, 'remove'), index), rule: 'does nothing beside set, which replaces the client\'s value', value: name })
    }
  })
}

function checkForEach ({ batch, join, concurrency }: Options, path: string, problems: OptionProblem[]): void {
  if (batch === true && concurrency !== undefined) {
    problems.push({ path: at(path, 'concurrency'), rule: 'does nothing beside batch: true, which makes one call', value: concurrency })
  }
  if (isRecord(join) && join['key'] !== undefined && (batch === undefined || batch === false)) {
    problems.push({ path: at(at(path, 'join'), 'key'), rule: 'is for batch only: without it each result belongs to the value it was called for', value: join['key'] })
  }
}

// ---- the whole

/** Options that only some strategies read. */
const OF_STRATEGIES: Readonly<Record<string, readonly string[]>> = {
  conflict: ['merge'],
  onMismatch: ['merge', 'append'],
  race: ['select']
}

function checkStrategy (composite: Options, path: string, known: Known, problems: OptionProblem[]): void {
  const { transform, meta } = composite
  const strategy = strategyOf(composite)
  const all = [...BUILT_IN_STRATEGIES, ...known.strategies]
  requireName(strategy, at(path, 'strategy'), 'strategy', all, problems)
  if (!all.includes(strategy)) return
  const report = (option: string, rule: string) => { problems.push({ path: at(path, option), rule, value: composite[option] }) }
  if (transform !== undefined && !isBuiltIn(strategy)) report('transform', `must not stand beside the strategy "${strategy}": both make the answer`)
  for (const [option, strategies] of Object.entries(OF_STRATEGIES)) {
    if (composite[option] === undefined || composite[option] === false) continue
    if (!strategies.includes(strategy)) report(option, `is for the strategy ${strategies.join(' or ')}; here it is "${strategy}"`)
    else if (transform !== undefined && option !== 'race') report(option, 'does nothing beside transform, which makes the answer')
  }
  if (meta === true && ['append', 'select', 'sequential'].includes(strategy)) report('meta', `needs an object to be put into, which the strategy "${strategy}" does not make`)
}

const WORDS: Readonly<Record<string, readonly string[]>> = {
  from: [],
  setCookie: ['all', 'none'],
  cacheControl: ['strictest', 'none'],
  vary: ['union', 'none']
}

function checkHeaders (headers: Options, path: string, names: readonly string[], problems: OptionProblem[]): void {
  for (const [option, words] of Object.entries(WORDS)) {
    const value = headers[option]
    if (typeof value !== 'string') continue
    const what = ['part', ...words.map(word => `"${word}"`)].join(', ').replace(/, ([^,]*)$/, ' or $1')
    requireName(value, at(path, option), what, [...words, ...names], problems)
  }
}

// ---- helpers

function isBuiltIn (strategy: string): boolean {
  return BUILT_IN_STRATEGIES.some(name => name === strategy)
}

function isSize (value: unknown): value is string | number {
  return typeof value === 'number' || (typeof value === 'string' && RULES.size(value) === undefined)
}
