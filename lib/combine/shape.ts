/**
 * Declarative shaping of a part's body: target, pick, omit, rename, group, in this order. Values that are not touched stay
 * slices of the body; what changes nothing gives the very value back.
 */
import type { ShapeConfig } from '../composite/types.ts'
import type { Json } from './json.ts'
import { keyOf } from './keys.ts'
import { lookup } from './lookup.ts'
import { createOmit, createPick, createRename } from './edit.ts'

/** undefined: nothing is to be done. The function gives undefined when the target is missing. */
export function createShape (config: ShapeConfig): ((json: Json) => Json | undefined) | undefined {
  const { target, pick, omit, rename, group } = config
  const steps: Array<(json: Json) => Json | undefined> = []
  if (target !== undefined) {
    const path = target.split('.')
    steps.push(json => lookup(json, path))
  }
  if (pick !== undefined) steps.push(createPick(pick))
  if (omit !== undefined && omit.length > 0) steps.push(createOmit(omit))
  if (rename !== undefined && Object.keys(rename).length > 0) steps.push(createRename(rename))
  if (group !== undefined) {
    const key = keyOf(group)
    steps.push(value => ({ form: 'object', members: [{ key, value }] }))
  }
  if (steps.length === 0) return undefined
  return json => {
    let at: Json | undefined = json
    for (const step of steps) {
      at = step(at)
      if (at === undefined) return undefined
    }
    return at
  }
}
