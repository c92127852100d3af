/**
 * The package as its users have it, made of the sources as they are now: its command starts in a third of the time that the sources
 * take, and programs are held against its declarations. Made once for a state of the sources.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(ROOT, 'node_modules/.cache/reverseproxy')
/** Belongs to the package as it stands. */
const ASSETS = ['package.json', 'status-page']

/** Its folder: `dist/index.js`, `dist/cli/reverseproxy.js`. */
export function builtPackage (): string {
  const folder = join(CACHE, stateOf(['index.ts', 'lib', 'plugins', 'cli', 'package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json']))
  if (existsSync(folder)) return folder
  mkdirSync(CACHE, { recursive: true })
  const made = mkdtempSync(join(CACHE, 'new-'))
  // `npm run typecheck` checks the sources
  execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', join(ROOT, 'tsconfig.build.json'), '--noCheck', '--outDir', join(made, 'dist')], { cwd: ROOT })
  for (const name of ASSETS) symlinkSync(join(ROOT, name), join(made, name))
  try {
    renameSync(made, folder)
  } catch (error) {
    // a test beside this one may have been faster
    rmSync(made, { recursive: true })
    if (!existsSync(folder)) throw error
  }
  return folder
}

function stateOf (paths: readonly string[]): string {
  const hash = createHash('sha256')
  function add (path: string): void {
    const about = statSync(join(ROOT, path))
    if (!about.isDirectory()) hash.update(`${path} ${about.mtimeMs} ${about.size}\n`)
    else for (const name of readdirSync(join(ROOT, path)).sort()) add(join(path, name))
  }
  for (const path of paths) add(path)
  return hash.digest('hex').slice(0, 20)
}
