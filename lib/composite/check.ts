/** What can be wrong with a composite beyond the shape of its options: templates, references, cycles. */
import { pathShape } from '../matching/path-shape.ts'
import { pathProblem } from '../rewrite/guard.ts'
import { at } from '../options/paths.ts'
import { needsOf, placesOf } from './references.ts'
import { isStatic, staticText, TemplateError } from './template.ts'
import type { OptionProblem } from '../errors.ts'
import type { Piece } from './template.ts'
import type { CompositeConfig, PartConfig } from './types.ts'

/** `path` is where the composite stands; `routePath` undefined: its parameters cannot be told. */
export function compositeProblems (config: CompositeConfig, path: string, routePath: string | undefined): OptionProblem[] {
  const names = config.parts.map(({ name }) => name)
  const params = routePath === undefined ? undefined : pathShape(routePath).names
  const problems = config.parts.flatMap((part) => {
    const base = at(at(path, 'parts'), part.name)
    return [
      ...placesOf(part).flatMap(({ option, text, parse }) => {
        const rules = textProblems(text, parse, { part, names, params, routePath, isPath: option === 'path', isForEach: option === 'forEach' })
        return rules.map(rule => ({ path: `${base}.${option}`, rule, value: text }))
      }),
      ...bodyProblems(part, base)
    ]
  })
  return problems.length > 0 ? problems : orderProblems(config, path)
}

interface Around {
  readonly part: PartConfig
  readonly names: readonly string[]
  readonly params: readonly string[] | undefined
  readonly routePath: string | undefined
  readonly isPath: boolean
  readonly isForEach: boolean
}

function textProblems (text: string, parse: (text: string) => Piece[], around: Around): string[] {
  let pieces: Piece[]
  try {
    pieces = parse(text)
  } catch (error) {
    if (error instanceof TemplateError) return [`must be a template: ${error.message}`]
    throw error
  }
  const problem = around.isPath && isStatic(pieces) ? pathProblem(staticText(pieces).replace(/\?.*$/s, '')) : undefined
  if (problem !== undefined) return [`must be a path; this one ${problem}`]
  if (around.isPath && pieces[0]?.kind === 'text' && !pieces[0].text.startsWith('/')) return ['must be a path that begins with a slash']
  return pieces.flatMap(piece => pieceProblem(piece, around) ?? [])
}

function pieceProblem (piece: Piece, { part, names, params, routePath, isForEach }: Around): string | undefined {
  if (piece.kind === 'text') return undefined
  if (piece.kind === 'param') {
    if (params === undefined || params.includes(piece.name)) return undefined
    return `must use parameters of the route's path only; "${piece.name === '*' ? '*' : `:${piece.name}`}" is not in ${routePath}`
  }
  const { root, part: name, text } = piece.reference
  if (root === 'part') {
    if (name === part.name) return `must not refer to the part itself ("{${text}}")`
    return names.includes(name) ? undefined : `must refer to a part, request or item; "${name}" is none of ${names.join(', ')}`
  }
  if (root === 'request') {
    if (piece.reference.field === 'params' && params !== undefined && !params.includes(String(piece.reference.path[0]))) return `must use parameters of the route's path only; "${String(piece.reference.path[0])}" is not in ${routePath}`
    return undefined
  }
  if (part.forEach === undefined || isForEach) return `must not use {${root}} ${isForEach ? 'in forEach itself' : 'without forEach'}`
  const wanted = part.forEach.batch === undefined ? 'item' : 'items'
  return root === wanted ? undefined : `must use {${wanted}} ${wanted === 'items' ? 'with' : 'without'} batch, not {${root}}`
}

function bodyProblems (part: PartConfig, base: string): OptionProblem[] {
  const isRead = part.method === 'GET' || part.method === 'HEAD'
  return isRead && part.body.kind !== 'none' && part.body.kind !== 'client' ? [{ path: `${base}.body`, rule: `must not stand beside method ${part.method}, which has no body` }] : []
}

/** Cycles, and in strategies that run one after another a part that waits for a later one. */
function orderProblems ({ parts, strategy, race }: CompositeConfig, path: string): OptionProblem[] {
  const needs = new Map(parts.map(part => [part.name, needsOf(part)]))
  const cycle = findCycle(needs)
  if (cycle !== undefined) return [{ path: at(at(at(path, 'parts'), cycle[0]!), 'needs'), rule: `must not wait for itself: ${cycle.join(' → ')}` }]
  if (strategy !== 'sequential' && !(strategy === 'select' && !race)) return []
  const names = parts.map(({ name }) => name)
  return parts.flatMap(({ name }, index) => {
    const later = [...needs.get(name)!].find(need => names.indexOf(need) > index)
    return later === undefined ? [] : [{ path: at(at(at(path, 'parts'), name), 'needs'), rule: `must name earlier parts only: with strategy ${strategy} they run in order of declaration`, value: later }]
  })
}

function findCycle (needs: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>()
  const walk = (name: string, trail: readonly string[]): string[] | undefined => {
    const start = trail.indexOf(name)
    if (start >= 0) return [...trail.slice(start), name]
    if (done.has(name)) return undefined
    for (const need of needs.get(name) ?? []) {
      const cycle = walk(need, [...trail, name])
      if (cycle !== undefined) return cycle
    }
    done.add(name)
    return undefined
  }
  for (const name of needs.keys()) {
    const cycle = walk(name, [])
    if (cycle !== undefined) return cycle
  }
  return undefined
}
