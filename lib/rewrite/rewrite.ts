/**
 * Rewriting request targets: raw bytes in, raw bytes out. Nothing is decoded but to compare, nothing is re-encoded but
 * what the options put in.
 */
import { BadPathError } from '../errors.ts'
import type { RewriteStep } from '../types.ts'
import { isSafePath } from './guard.ts'
import { createPrefixEnd, encodeLiteral, normalizePrefix } from './prefix.ts'
import { editQuery } from './query.ts'
import { createPathFill, createValueFill, type Params } from './template.ts'

/**
 * Rewrites a raw request target, `path?query`. `params` are the route's as Fastify decoded them.
 * Throws BadPathError (400) when the result is not safe or a parameter does not fit.
 */
export type Rewrite = (target: string, params: Params) => string

/** A target on its way through the steps. Each step writes what it changes. */
interface Draft {
  /** The client's own path. */
  readonly original: string
  readonly params: Params
  path: string
  /** With its question mark, or `''`. */
  query: string
}

type Step = (draft: Draft) => void

const NOTHING: ReadonlySet<string> = new Set()

/**
 * Makes one function of all steps, in their order; undefined when they change nothing. A path that a step does not
 * match stays as it is; one that is changed begins with exactly one slash. `*`, the target of an OPTIONS request to the
 * server itself, is no path and stays (RFC 9112 section 3.2.4).
 *
 * Throws RangeError for a prefix, template or replacement that could never make a path.
 */
export function createRewrite (steps: readonly RewriteStep[]): Rewrite | undefined {
  const run = steps.map(createStep).filter(step => step !== undefined)
  if (run.length === 0) return undefined
  return (target, params) => {
    if (target === '*') return target
    const mark = target.indexOf('?')
    const path = mark === -1 ? target : target.slice(0, mark)
    const draft: Draft = { original: path, params, path, query: mark === -1 ? '' : target.slice(mark) }
    for (const step of run) step(draft)
    if (draft.path !== path) draft.path = rooted(draft.path)
    if (!isSafePath(draft.path)) throw new BadPathError()
    return draft.path + draft.query
  }
}

function createStep (step: RewriteStep): Step | undefined {
  switch (step.kind) {
    case 'stripPrefix': return replacePrefix(normalizePrefix('stripPrefix', step.prefix), '')
    case 'addPrefix': return replacePrefix('', normalizePrefix('addPrefix', step.prefix))
    case 'replacePrefix': return replacePrefix(normalizePrefix('replacePrefix.from', step.from), normalizePrefix('replacePrefix.to', step.to))
    case 'regex': return replacePattern(step.pattern, step.replacement)
    case 'template': return fillTemplate(step.template)
    case 'query': return changeQuery(step.set, step.remove)
  }
}

function replacePrefix (from: string, to: string): Step | undefined {
  if (from === to) return undefined
  const prefixEnd = createPrefixEnd(from)
  return (draft) => {
    const end = prefixEnd(draft.path)
    if (end === -1) return
    // the client's own slashes stay as many as they are
    const path = to + draft.path.slice(end)
    draft.path = path.charCodeAt(0) === 47 ? path : `/${path}`
  }
}

function replacePattern (pattern: RegExp, replacement: string): Step {
  if (/[?#]/.test(replacement)) throw new RangeError(`rewrite regex: the replacement is a path, without ? or # (got ${JSON.stringify(replacement)})`)
  // Sticky expressions remember where the last request's match ended.
  const stateless = new RegExp(pattern.source, pattern.flags.replace('y', ''))
  const literal = encodeLiteral(replacement)
  return (draft) => {
    const path = draft.path.replace(stateless, literal)
    if (path !== draft.path) draft.path = rooted(path)
  }
}

/** A path that comes out of the options begins with one slash: two would name a host to a careless reader. */
function rooted (path: string): string {
  return path.charCodeAt(0) === 47 && path.charCodeAt(1) !== 47 ? path : path.replace(/^\/*/, '/')
}

function fillTemplate (template: string): Step {
  const mark = template.indexOf('?')
  const pathTemplate = mark === -1 ? template : template.slice(0, mark)
  if (!pathTemplate.startsWith('/') || template.includes('#')) {
    throw new RangeError(`rewrite template: must begin with a slash and hold no # (got ${JSON.stringify(template)})`)
  }
  const fillPath = createPathFill(pathTemplate)
  const values = mark === -1 ? [] : [...new URLSearchParams(template.slice(mark))].map(([name, value]) => [name, createValueFill(value)] as const)
  return (draft) => {
    draft.path = rooted(fillPath(draft.params, draft.original))
    if (values.length === 0) return
    const set = new Map(values.map(([name, fill]) => [name, fill(draft.params, draft.original)]))
    draft.query = editQuery(draft.query, set, NOTHING)
  }
}

function changeQuery (set: Readonly<Record<string, string>>, remove: readonly string[]): Step | undefined {
  const values = new Map(Object.entries(set).map(([name, value]) => [name, encodeURIComponent(value)]))
  const names = new Set(remove)
  if (values.size === 0 && names.size === 0) return undefined
  return (draft) => {
    draft.query = editQuery(draft.query, values, names)
  }
}

/**
 * Puts a target's base path (`''`, `/base` or `/base/`) before a request target, with one slash between them.
 * `*`, the target of an OPTIONS request to the server itself, stays (RFC 9112 section 3.2.4).
 */
export function joinPath (basePath: string, target: string): string {
  if (target === '*') return target
  const base = basePath.endsWith('/') ? basePath.slice(0, -1) : basePath
  if (target.charCodeAt(0) === 47) return base === '' ? target : base + target
  // A bare query keeps the base path as it is.
  if (target === '' || target.charCodeAt(0) === 63) return (basePath === '' ? '/' : basePath) + target
  return `${base}/${target}`
}
