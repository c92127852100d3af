/**
 * Whether programs have the right types. They are held against the declarations of the package, as its users have them, since
 * that takes less time than checking the package itself.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { builtPackage } from './helper/package.ts'
import { ROOT } from './helper-readme.ts'

const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')
const run = promisify(execFile)

/**
 * What tsc says of the programs (`*.ts`) in a folder, which import the package as `index`: nothing if all is well. What it has said of
 * the same programs and the same package is kept: it takes 10 s, and no version of Node changes it.
 */
export async function typeErrors (folder: string, index: string): Promise<string> {
  const built = builtPackage()
  const programs = join(folder, 'types')
  await mkdir(programs)
  const hash = createHash('sha256')
  for (const name of (await readdir(folder)).sort()) {
    if (!name.endsWith('.ts')) continue
    const source = await readFile(join(folder, name), 'utf8')
    await writeFile(join(programs, name), source.replaceAll(`'${index}'`, `'${relative(programs, join(built, 'dist/index.js'))}'`))
    // ports are others each time
    hash.update(JSON.stringify([name, source.replace(/:\d+/g, ':')]))
  }
  await writeFile(join(programs, 'tsconfig.json'), JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), include: ['*.ts'] }))
  const said = join(built, `types-${hash.digest('hex').slice(0, 20)}.txt`)
  if (existsSync(said)) return await readFile(said, 'utf8')
  const { stdout } = await run(process.execPath, [TSC, '-p', programs], { cwd: programs }).catch((error: unknown) => error as { stdout: string })
  await writeFile(`${said}.new`, stdout)
  await rename(`${said}.new`, said)
  return stdout
}
