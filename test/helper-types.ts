/**
 * Whether programs have the right types. They are held against the declarations of the package, as its users have them: made once for
 * a state of the sources, since that takes as long as checking the package itself.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from './helper-readme.ts'

const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')
const CACHE = join(ROOT, 'node_modules/.cache/reverseproxy-types')
const run = promisify(execFile)

/** What tsc says of the programs (`*.ts`) in a folder, which import the package as `index`: nothing if all is well. */
export async function typeErrors (folder: string, index: string): Promise<string> {
  const declarations = await declare()
  const programs = join(folder, 'types')
  await mkdir(programs)
  for (const name of await readdir(folder)) {
    if (!name.endsWith('.ts')) continue
    const source = await readFile(join(folder, name), 'utf8')
    await writeFile(join(programs, name), source.replaceAll(`'${index}'`, `'${relative(programs, join(declarations, 'index.js'))}'`))
  }
  await writeFile(join(programs, 'tsconfig.json'), JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), include: ['*.ts'] }))
  const { stdout } = await run(process.execPath, [TSC, '-p', programs], { cwd: programs }).catch((error: unknown) => error as { stdout: string })
  return stdout
}

/** The folder with the declarations of the sources as they are now. */
async function declare (): Promise<string> {
  const folder = join(CACHE, await stateOf(['index.ts', 'lib', 'plugins', 'cli', 'package.json', 'package-lock.json']))
  if (existsSync(folder)) return folder
  await mkdir(CACHE, { recursive: true })
  const made = await mkdtemp(join(CACHE, 'new-'))
  // `npm run typecheck` has checked the sources themselves
  await run(process.execPath, [TSC, '-p', join(ROOT, 'tsconfig.build.json'), '--noCheck', '--emitDeclarationOnly', '--outDir', made], { cwd: ROOT })
  // a test beside this one may have been faster
  await rename(made, folder).catch(async () => { await rm(made, { recursive: true }) })
  return folder
}

async function stateOf (paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  async function add (path: string): Promise<void> {
    const about = await stat(join(ROOT, path))
    if (!about.isDirectory()) hash.update(`${path} ${about.mtimeMs} ${about.size}\n`)
    else for (const name of (await readdir(join(ROOT, path))).sort()) await add(join(path, name))
  }
  for (const path of paths) await add(path)
  return hash.digest('hex').slice(0, 20)
}
