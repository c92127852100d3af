/**
 * What the options of tenancy say about one another, and about headers that others would change.
 *
 * Like `cross-check.ts` it looks only at what has the shape it knows; everything else has been reported.
 */
import type { OptionProblem } from '../errors.ts'
import type { TenancyConfig } from '../tenancy/types.ts'
import { isRecord } from './copy.ts'
import { DEFAULTS } from './defaults.ts'
import { entriesOf, reportTwins } from './names.ts'
import { at } from './paths.ts'
import { wholePattern } from './resolve-tenancy.ts'
import { RULES } from './rules.ts'

type Options = Readonly<Record<string, unknown>>

const { tenancy: INITIAL, requestId: REQUEST_ID } = DEFAULTS

/** Headers that tenancy reads or sends, lower case: nobody else may send them. */
export function reservedHeaders (tenancy: TenancyConfig | undefined): readonly string[] {
  if (tenancy === undefined) return []
  const names = tenancy.sources.flatMap(source => source.kind === 'header' ? [source.name] : [])
  return [...new Set(tenancy.forwardAs === undefined ? names : [...names, tenancy.forwardAs])]
}

/** The same of options that are not parsed yet, with the places that name them. */
export function reservedPlaces (tenancy: unknown, path: string): ReadonlyArray<readonly [name: string, path: string]> {
  if (!isRecord(tenancy)) return []
  const { header, sources, forwardAs } = tenancy
  const named: Array<[unknown, string]> = sources === undefined
    ? [[header ?? INITIAL.header, at(path, 'header')]]
    : sourcesOf(sources, at(path, 'sources')).map(([source, place]) => [isRecord(source) ? source['header'] : undefined, at(place, 'header')])
  const places = named.filter((entry): entry is [string, string] => typeof entry[0] === 'string')
  if (forwardAs !== false) places.push([typeof forwardAs === 'string' ? forwardAs : places[0]?.[0] ?? INITIAL.header, at(path, 'forwardAs')])
  return places.map(([name, place]) => [name.toLowerCase(), place])
}

/** `tenancy` of the gateway; `options` are those of the whole gateway. The tenants have a check of their own. */
export function crossCheckTenancy (options: Options, problems: OptionProblem[]): void {
  const { tenancy } = options
  if (!isRecord(tenancy)) return
  const path = 'tenancy'
  if (tenancy['header'] !== undefined && tenancy['sources'] !== undefined) {
    problems.push({ path: at(path, 'header'), rule: 'must not stand beside sources: it is short for them', value: tenancy['header'] })
  }
  const sources = sourcesOf(tenancy['sources'], at(path, 'sources'))
  for (const [source, place] of sources) {
    if (isRecord(source) && source['from'] !== undefined && source['claim'] === undefined) problems.push({ path: at(place, 'from'), rule: 'is for claim only', value: source['from'] })
  }
  reportTwins(sources.map(([source, place]) => [identityOf(source), place]), 'must not be listed twice', problems)
  checkOthers(options, reservedPlaces(tenancy, path), problems)
  checkIds(tenancy, path, problems)
}

function sourcesOf (sources: unknown, path: string): Array<[unknown, string]> {
  if (!Array.isArray(sources)) return sources === undefined ? [] : [[sources, path]]
  return sources.map((source: unknown, index) => [source, at(path, index)])
}

/** The same text for sources that read the same; undefined for those that cannot be told. */
function identityOf (source: unknown): string | undefined {
  if (!isRecord(source) || source['from'] !== undefined) return undefined
  const { header, host, param, query, claim } = source
  const isFree = (value: unknown) => typeof value === 'string' ? value.toLowerCase() : undefined
  const entry = [['header', isFree(header)], ['host', isFree(host)], ['param', param], ['query', query], ['claim', typeof claim === 'string' ? claim.split('.') : claim]].find(([, value]) => value !== undefined)
  return entry === undefined ? undefined : JSON.stringify(entry)
}

/** Two values under one name would be one too many. */
function checkOthers ({ headers, deadlineHeader }: Options, reserved: ReturnType<typeof reservedPlaces>, problems: OptionProblem[]): void {
  const { requestId = REQUEST_ID } = isRecord(headers) ? headers : {}
  const places = new Map([...reserved].reverse())
  for (const [name, place] of places) {
    for (const [other, option] of [[requestId, 'headers.requestId'], [deadlineHeader, 'deadlineHeader']] as const) {
      // the request id's own header is refused by its rule already
      if (typeof other === 'string' && other.toLowerCase() === name && RULES.tenantHeader(name) === undefined) {
        problems.push({ path: place, rule: `must not be the header of ${option}`, value: name })
      }
    }
  }
}

function checkIds (tenancy: Options, path: string, problems: OptionProblem[]): void {
  const { tenants, maxLength = INITIAL.maxLength, pattern } = tenancy
  if (!isRecord(tenants)) return
  const wrongPattern = typeof pattern === 'string' ? RULES.regex(pattern) !== undefined : pattern !== undefined && !(pattern instanceof RegExp)
  const limits = {
    maxLength: typeof maxLength === 'number' ? maxLength : Infinity,
    pattern: wrongPattern ? undefined : wholePattern(pattern as string | RegExp | undefined)
  }
  for (const id of Object.keys(tenants)) {
    const rule = tenantIdProblem(id, limits)
    if (rule !== undefined) problems.push({ path: at(at(path, 'tenants'), id), rule, value: id })
  }
}

/** What is wrong with a tenant's id, or undefined. No request could have one that is. */
export function tenantIdProblem (id: string, { maxLength, pattern }: { readonly maxLength: number, readonly pattern: RegExp | undefined }): string | undefined {
  if (id === '') return 'must not be empty'
  if (RULES.headerValue(id) !== undefined || id !== id.trim()) return 'must be a text that a header can hold'
  if (id.length > maxLength) return `must not be longer than ${maxLength} characters (maxLength)`
  return pattern === undefined || pattern.test(id) ? undefined : 'must be an id as pattern describes it'
}

// ---- headers that others change

/** `headers` of a level that would send what tenancy sends, or send on what the client says of it. */
export function checkReserved (headers: unknown, path: string, reserved: readonly string[], problems: OptionProblem[]): void {
  if (reserved.length === 0 || !isRecord(headers) || !isRecord(headers['request'])) return
  const base = at(path, 'request')
  for (const edit of ['set', 'append'] as const) checkNames(headers['request'][edit], at(base, edit), reserved, problems)
  for (const [from, to] of entriesOf(headers['request']['rename'])) {
    const place = at(at(base, 'rename'), from)
    if (isReserved(from, reserved)) problems.push({ path: place, rule: 'must not be renamed: what a client says of its tenant does not go on (tenancy.forwardAs names the header)', value: to })
    else if (isReserved(to, reserved)) problems.push({ path: place, rule: SENT, value: to })
  }
}

/** The same for `headers` of a part. */
export function checkReservedOfPart (headers: unknown, path: string, reserved: readonly string[], problems: OptionProblem[]): void {
  if (reserved.length > 0 && isRecord(headers)) checkNames(headers['set'], at(path, 'set'), reserved, problems)
}

const SENT = 'must be another header: this one is what tenancy sends'

function checkNames (edits: unknown, path: string, reserved: readonly string[], problems: OptionProblem[]): void {
  for (const [name] of entriesOf(edits)) {
    if (isReserved(name, reserved)) problems.push({ path: at(path, name), rule: SENT, value: name })
  }
}

function isReserved (name: unknown, reserved: readonly string[]): boolean {
  return typeof name === 'string' && reserved.includes(name.toLowerCase())
}
