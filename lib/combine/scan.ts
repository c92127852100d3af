/**
 * The validating scan: accepts what JSON.parse accepts and nothing else, makes no value, and notes where the entries of the
 * outermost object are. What the fast one does not accept goes to the one that knows what is wrong with it.
 */
import { isAscii, isUtf8 } from 'node:buffer'
import { JsonProblem } from './problem.ts'
import { deepest, longest, scanBytes } from './scan-bytes.ts'
import type { Places } from './scan-bytes.ts'
import { scanFast } from './scan-fast.ts'
import { scanLarge } from './scan-large.ts'

export { deepest }

export interface Scanned extends Places {
  /** True: all of the value is ASCII. False: nobody knows. */
  readonly ascii: boolean
}

export function scan (bytes: Buffer, maxDepth: number): Scanned {
  const limit = Math.min(maxDepth, deepest)
  const isLarge = bytes.length > longest
  const scanned = isLarge ? undefined : scanFast?.(bytes, limit)
  if (scanned?.ascii === true) return scanned
  const ascii = isAscii(bytes)
  if (!ascii && !isUtf8(bytes)) throw new JsonProblem('utf8', firstNonUtf8(bytes))
  return scanned ?? { ...(isLarge ? scanLarge : scanBytes)(bytes, limit), ascii }
}

/** What the decoder would have to replace is where the bytes and their replacement part. */
function firstNonUtf8 (bytes: Buffer): number {
  const replaced = Buffer.from(bytes.toString())
  let i = 0
  while (bytes[i] === replaced[i]) i++
  return i
}
