/** Every template of a part with the place it stands at, and the parts it reads. */
import { at } from '../options/paths.ts'
import { parsePath, parseText, textsOf } from './template.ts'
import type { Piece } from './template.ts'
import type { PartConfig } from './types.ts'

export interface Place {
  /** Below the part: `query.user`. */
  readonly option: string
  readonly text: string
  readonly parse: (text: string) => Piece[]
}

/** All texts of a part that may be templates. */
export function placesOf (part: PartConfig): Place[] {
  const places: Place[] = []
  const add = (option: string, value: unknown, parse = parseText): void => {
    for (const [text, path] of textsOf(value)) places.push({ option: path.reduce<string>(at, option), text, parse })
  }
  if (typeof part.path === 'string') add('path', part.path, parsePath)
  if (typeof part.query === 'object') add('query', part.query)
  for (const [name, value] of Object.entries(part.headers)) if (typeof value === 'string') add(at('headers.set', name), value)
  if (part.body.kind === 'value') add('body', part.body.value)
  if (Array.isArray(part.when)) part.when.forEach(({ value }: { value: string }, index) => { add(`${at('when', index)}.value`, value) })
  if (typeof part.forEach?.in === 'string') add('forEach', part.forEach.in)
  return places
}

/** The parts it needs: those it names and those its templates read. A template that cannot be parsed counts for none. */
export function needsOf (part: PartConfig): Set<string> {
  const needs = new Set(part.needs)
  for (const { text, parse } of placesOf(part)) {
    for (const piece of tryParse(parse, text)) {
      if (piece.kind === 'reference' && piece.reference.root === 'part') needs.add(piece.reference.part)
    }
  }
  return needs
}

function tryParse (parse: Place['parse'], text: string): Piece[] {
  try {
    return parse(text)
  } catch {
    return []
  }
}
