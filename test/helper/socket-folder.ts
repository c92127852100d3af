/** A folder for unix sockets: their paths may have 107 bytes, which those of a test's own folder can be over. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

export function socketFolder (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'rp-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  return folder
}
