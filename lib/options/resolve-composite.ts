/**
 * Composite routes: from what a user may write to what the house works with. Everything here has been checked.
 */
import type { CompositeConfig, ForEachConfig, PartConfig, ShapeConfig, WhenCondition } from '../composite/types.ts'
import type { HeaderRules, RedirectPolicy } from '../types.ts'
import { DEFAULTS } from './defaults.ts'
import { foldPartHeaders } from './part-headers.ts'
import { resolveHeaderRules, resolveRedirects, resolveTimes } from './resolve-backend.ts'
import { mergeOption, resolveRouteBreaker, resolveRouteRetry } from './resolve-resilience.ts'
import type { CompositeOptions, ConditionOption, PartOptions } from './schema/composite.ts'
import { byteCount, milliseconds } from './units.ts'

const { composite: INITIAL } = DEFAULTS

/** What holds for the parts that do not say otherwise. */
interface Common {
  readonly options: CompositeOptions
  readonly headers: HeaderRules['request']
  /** For a part's own refusal, when it is the answer. */
  readonly response: HeaderRules['response']
  readonly redirects: RedirectPolicy
  readonly maxBytes: number
}

export function resolveComposite (options: CompositeOptions): CompositeConfig {
  const { request, response } = resolveHeaderRules(options.headers)
  const common: Common = {
    options,
    headers: request,
    response,
    redirects: resolveRedirects(options.redirects ?? INITIAL.redirects)!,
    maxBytes: byteCount(options.maxPartBytes ?? INITIAL.maxPartBytes)
  }
  return {
    parts: options.parts === undefined
      ? (options.backends ?? []).map(name => resolveShortPart(name, common))
      : Object.entries(options.parts).map(([name, part]) => resolvePart(name, part, common)),
    strategy: strategyOf(options),
    conflict: options.conflict ?? INITIAL.conflict,
    race: options.race ?? INITIAL.race,
    onMismatch: options.onMismatch ?? INITIAL.onMismatch,
    transform: options.transform,
    timeout: milliseconds(options.timeout ?? INITIAL.timeout),
    meta: options.meta ?? INITIAL.meta,
    partialStatus: options.partialStatus ?? INITIAL.partialStatus,
    maxBytes: byteCount(options.maxBytes ?? INITIAL.maxBytes),
    maxDepth: options.maxDepth ?? INITIAL.maxDepth,
    maxCalls: options.maxCalls ?? INITIAL.maxCalls,
    bodyLimit: options.bodyLimit === undefined ? undefined : byteCount(options.bodyLimit),
    headers: {
      from: options.headers?.from,
      setCookie: options.headers?.setCookie ?? INITIAL.headers.setCookie,
      cacheControl: options.headers?.cacheControl ?? INITIAL.headers.cacheControl,
      vary: options.headers?.vary ?? INITIAL.headers.vary,
      serverTiming: options.headers?.serverTiming ?? INITIAL.headers.serverTiming,
      response
    },
    errorHandler: options.errorHandler
  }
}

/** The strategy that was meant: with names for the parts an object of them, else everything in one. */
export function strategyOf ({ strategy, parts }: { readonly strategy?: unknown, readonly parts?: unknown }): string {
  return typeof strategy === 'string' ? strategy : parts === undefined ? 'merge' : 'object'
}

/** A part of the short form: the client's request as it came, to one backend more. */
function resolveShortPart (backend: string, common: Common): PartConfig {
  return { ...resolvePart(backend, { backend, query: 'client', body: 'client' }, common), method: undefined }
}

function resolvePart (name: string, part: PartOptions, common: Common): PartConfig {
  const { options } = common
  const required = part.required ?? INITIAL.part.required
  const body = resolveBody(part)
  const set = Object.entries(part.headers?.set ?? {})
  const isPlain = (entry: (typeof set)[number]): entry is [string, string] => typeof entry[1] === 'string' && !isTemplate(entry[1]) && !isType(entry[0])
  const plain = set.filter(isPlain)
  const dynamic = set.filter(entry => !isPlain(entry))
  const own = { remove: part.headers?.remove ?? [], set: Object.fromEntries(plain), dynamic: dynamic.map(([header]) => header) }
  return {
    name,
    proxy: {
      backend: part.backend,
      rewrite: [],
      headers: { request: foldPartHeaders(common.headers, own, body.kind === 'client'), response: common.response },
      timeout: resolveTimes(part.timeout),
      redirects: resolveRedirects(part.redirects) ?? common.redirects,
      host: undefined,
      bodyLimit: undefined,
      circuitBreaker: resolveRouteBreaker(part.circuitBreaker ?? options.circuitBreaker),
      retry: resolveRouteRetry(mergeOption('retry', part.retry, options.retry) as PartOptions['retry']),
      websocket: undefined,
      modifyRequest: undefined,
      modifyResponse: undefined,
      errorHandler: undefined
    },
    path: part.path,
    method: part.method ?? (body.kind === 'none' ? 'GET' : undefined),
    query: part.query,
    headers: Object.fromEntries(dynamic),
    body,
    required,
    fallback: part.fallback === undefined ? undefined : { value: part.fallback },
    needs: part.needs ?? [],
    onMissing: part.onMissing ?? options.onMissing ?? (required ? 'fail' : 'skip'),
    when: resolveWhen(part.when),
    forEach: resolveForEach(part.forEach),
    schema: part.schema,
    shape: resolveShape(part),
    onEmpty: part.onEmpty ?? options.onEmpty ?? INITIAL.onEmpty,
    nonJson: part.nonJson ?? options.nonJson ?? (takesAnything(options) ? 'keep' : INITIAL.nonJson),
    maxBytes: part.maxBytes === undefined ? common.maxBytes : byteCount(part.maxBytes)
  }
}

/** Whether the answer may be made of bytes that are not JSON: one part's own answer, or what the user's function makes of it. */
function takesAnything ({ strategy, transform }: Pick<CompositeOptions, 'strategy' | 'transform'>): boolean {
  return transform !== undefined || !(strategy === undefined || ['merge', 'object', 'append'].includes(strategy))
}

/** Whether the value depends on the request: braces anywhere (two are a literal one), or `:name` as a whole. */
function isTemplate (value: string): boolean {
  return /[{}]/.test(value) || /^:\w+$/.test(value)
}

/** A type that the part names goes before that of its body's value, as what is made for one call does. */
function isType (header: string): boolean {
  return header.toLowerCase() === 'content-type'
}

function resolveBody ({ body }: PartOptions): PartConfig['body'] {
  if (body === undefined) return { kind: 'none' }
  if (body === 'client') return { kind: 'client' }
  return typeof body === 'function' ? { kind: 'function', make: body } : { kind: 'value', value: body }
}

function resolveWhen (when: PartOptions['when']): PartConfig['when'] {
  if (when === undefined || typeof when === 'function') return when
  return [when].flat().map(resolveCondition)
}

function resolveCondition (condition: string | ConditionOption): WhenCondition {
  if (typeof condition === 'string') return { value: condition, test: { kind: 'truthy' } }
  const { value, equals, not, in: values, exists } = condition
  if (equals !== undefined) return { value, test: { kind: 'equals', value: equals } }
  if (not !== undefined) return { value, test: { kind: 'not', value: not } }
  if (values !== undefined) return { value, test: { kind: 'in', values } }
  return { value, test: { kind: 'exists', value: exists ?? true } }
}

function resolveForEach (option: PartOptions['forEach']): ForEachConfig | undefined {
  if (option === undefined) return undefined
  const { forEach: initial } = INITIAL.part
  const full = typeof option === 'object' ? option : { in: option }
  const batch = full.batch ?? initial.batch
  return {
    in: full.in,
    concurrency: full.concurrency ?? initial.concurrency,
    max: full.max ?? initial.max,
    batch: batch === true ? Infinity : batch === false ? undefined : batch,
    join: full.join === undefined ? undefined : { key: initial.key, ...full.join }
  }
}

function resolveShape ({ target, pick, omit, rename, group }: PartOptions): ShapeConfig {
  return { target, pick, omit, rename, group }
}
