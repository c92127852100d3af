/**
 * The validating scan: accepts what JSON.parse accepts and nothing else, makes no value, and notes where the entries of the
 * outermost object are. What the fast one does not accept goes to the one that knows what is wrong with it.
 */
import { deepest, longest, scanBytes } from './scan-bytes.ts'
import type { Scanned } from './scan-bytes.ts'
import { scanFast } from './scan-fast.ts'
import { scanLarge } from './scan-large.ts'

export { deepest }

/** The bytes are valid UTF-8. */
export function scan (bytes: Uint8Array, maxDepth: number): Scanned {
  const limit = Math.min(maxDepth, deepest)
  if (bytes.length > longest) return scanLarge(bytes, limit)
  return scanFast?.(bytes, limit) ?? scanBytes(bytes, limit)
}
