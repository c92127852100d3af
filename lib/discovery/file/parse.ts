/**
 * The text of a file of targets: YAML or JSON in, checked targets out. Every problem names its line and column.
 */
import { Type } from '@sinclair/typebox'
import { isNode, LineCounter, parseDocument, type Document } from 'yaml'
import { positionOf } from '../../config-file/positions.ts'
import { describeProblem, type OptionProblem } from '../../errors.ts'
import { check } from '../../options/check.ts'
import { copy, deepFreeze, isRecord } from '../../options/copy.ts'
import { reportTwins } from '../../options/names.ts'
import { at, segments } from '../../options/paths.ts'
import { object, text } from '../../options/schema/values.ts'
import { splitTargetUrl } from '../../options/target-url.ts'
import type { DiscoveredTarget } from '../types.ts'

/** Bytes. YAML takes about two seconds a megabyte, in which nothing else runs; JSON is a hundred times as fast. */
export const MAX_YAML_SIZE = 1024 * 1024

/** Problems that are shown; a file that is wrong throughout would fill the log. */
const MAX_SHOWN = 10

const url = text('targetUrl')

const target = Type.Union([
  url,
  object({
    url,
    weight: Type.Optional(Type.Number({ minimum: 0 })),
    maxConnections: Type.Optional(Type.Integer({ minimum: 1 })),
    zone: Type.Optional(Type.String()),
    metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown()))
  }, { hints: { active: 'leave the target out, or give it the weight 0', health: 'checks are set at the backend' } })
], { rule: 'must be a URL or { url, weight, … }' })

const schema = Type.Union([
  Type.Array(target),
  object({ targets: Type.Array(target), $schema: Type.Optional(Type.String()) })
], { rule: 'must be a list of targets, or an object with "targets"' })

/** A value, and how to say where in the text something stands. */
interface Parsed {
  readonly value: unknown
  readonly problems: OptionProblem[]
  /** `12:7`, or '' where it is not known. */
  where (path: string): string
}

/**
 * The targets of a file, frozen. An empty list is one, an empty file is not.
 * @param path is named in errors
 * @throws Error with up to ten problems, each with its line
 */
export function parseTargets (bytes: Uint8Array, path: string): readonly DiscoveredTarget[] {
  const text = decode(bytes, path)
  // Truncated and not yet written is how most half written files look.
  if (text.trim() === '') throw new Error(`${path}: is empty; no targets are written []`)
  const parsed = parseJson(text, path) ?? parseYaml(text, path)
  const problems = [...parsed.problems]
  const raw = copy(parsed.value, '', problems)
  if (problems.length === 0) check(schema, raw, '', { problems, origin: { source: 'code', baseDir: '' } })
  const list = isRecord(raw) ? raw['targets'] : raw
  if (problems.length === 0) reportTwins(urlsOf(list as unknown[], isRecord(raw) ? 'targets' : ''), 'must not be there twice', problems)
  if (problems.length > 0) throw wrong(problems, parsed, path)
  return deepFreeze((list as Array<string | DiscoveredTarget>).map(normal))
}

function decode (bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new Error(`${path}: must be UTF-8`, { cause })
  }
}

function normal (target: string | DiscoveredTarget): DiscoveredTarget {
  return typeof target === 'string' ? { url: normalUrl(target) } : { ...target, url: normalUrl(target.url) }
}

function normalUrl (url: string): string {
  const split = splitTargetUrl(url)
  return typeof split === 'string' ? url : split.url
}

function urlsOf (list: readonly unknown[], base: string): Array<[string, string]> {
  return list.map((target, index) => isRecord(target) ? [normalUrl(target['url'] as string), at(at(base, index), 'url')] : [normalUrl(target as string), at(base, index)])
}

// ---- JSON and YAML

/** undefined: it is no JSON, and YAML knows better where it is wrong. */
function parseJson (text: string, path: string): Parsed | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return { value, problems: [], where: place => text.length > MAX_YAML_SIZE ? '' : parseYaml(text, path).where(place) }
  } catch {
    return undefined
  }
}

function parseYaml (text: string, path: string): Parsed {
  if (text.length > MAX_YAML_SIZE) throw new Error(`${path}: is no JSON, and too large for YAML (${MAX_YAML_SIZE / 1024 / 1024} MB)`)
  const lines = new LineCounter()
  const positionAt = (offset: number) => { const { line, col } = lines.linePos(offset); return `${line}:${col}` }
  let document: Document.Parsed
  try {
    document = parseDocument(text, { lineCounter: lines, merge: true, uniqueKeys: true, prettyErrors: false })
  } catch (cause) {
    // Nested so deep that the stack does not suffice.
    throw new Error(`${path}: must be valid YAML or JSON: ${(cause as Error).message}`, { cause })
  }
  const [fault] = [...document.errors, ...document.warnings]
  if (fault !== undefined) throw new Error(`${path}:${positionAt(fault.pos[0])}: must be valid YAML or JSON: ${fault.message}`)
  const problems: OptionProblem[] = []
  const value = valueOf(document, problems)
  return {
    value,
    problems,
    where (place) {
      const { line, column } = positionOf(document, lines, segments(place))
      return `${line}:${column}`
    }
  }
}

/** An alias without an anchor, or far too many of them, is a problem of the whole file. */
function valueOf (document: Document, problems: OptionProblem[]): unknown {
  try {
    return isNode(document.contents) ? document.toJS({ maxAliasCount: 100 }) as unknown : undefined
  } catch (error) {
    problems.push({ path: '', rule: `must be valid YAML: ${(error as Error).message}` })
    return undefined
  }
}

function wrong (problems: readonly OptionProblem[], { where }: Parsed, path: string): Error {
  const shown = problems.slice(0, MAX_SHOWN).map(problem => {
    const place = where(problem.path)
    return `${path}${place === '' ? '' : `:${place}`}:${describeProblem(problem)}`
  })
  const more = problems.length - shown.length
  return new Error(shown.join('\n') + (more > 0 ? `\nand ${more} more` : ''))
}
