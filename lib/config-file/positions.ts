/**
 * Where in a YAML file an option stands.
 */
import { isAlias, isMap, isScalar, isSeq, type Document, type LineCounter, type Node, type Pair } from 'yaml'

/** Line and column, both from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** Position of what `keys` lead to: its name in a map, itself in a list; of the nearest thing around it when it is not there. */
export function positionOf (document: Document, lines: LineCounter, keys: ReadonlyArray<string | number>): Position {
  let node: unknown = document.contents
  let offset = startOf(node) ?? 0
  for (const key of keys) {
    const found = child(resolved(node, document), key, document)
    if (found === undefined) break
    offset = startOf(found.anchor) ?? offset
    node = found.value
  }
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(line, 1), column: Math.max(col, 1) }
}

interface Child {
  /** What the user would look for. */
  readonly anchor: unknown
  readonly value: unknown
}

function child (node: unknown, key: string | number, document: Document): Child | undefined {
  if (isSeq(node)) {
    const item = node.items[Number(key)]
    return item === undefined ? undefined : { anchor: item, value: item }
  }
  if (!isMap(node)) return undefined
  const own = node.items.find(pair => nameOf(pair) === String(key))
  if (own !== undefined) return { anchor: own.key, value: own.value }
  return merged(node.items, key, document)
}

/** A property that came in through `<<`. */
function merged (items: readonly Pair[], key: string | number, document: Document): Child | undefined {
  for (const pair of items.filter(pair => nameOf(pair) === '<<')) {
    const value = resolved(pair.value, document)
    for (const source of isSeq(value) ? value.items : [value]) {
      const found = child(resolved(source, document), key, document)
      if (found !== undefined) return found
    }
  }
  return undefined
}

function nameOf (pair: Pair): string | undefined {
  if (!isScalar(pair.key)) return undefined
  const { value } = pair.key
  // The merge key is a symbol.
  return typeof value === 'symbol' ? value.description : String(value)
}

function resolved (node: unknown, document: Document): unknown {
  return isAlias(node) ? node.resolve(document) : node
}

function startOf (node: unknown): number | undefined {
  return (node as Node | null)?.range?.[0]
}
