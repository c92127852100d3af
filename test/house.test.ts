/** The rules of the house that a machine can check: who may import whom, one owner per dependency. */
import t from 'tap'
import { execSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Import { readonly file: string, readonly from: string, readonly typeOnly: boolean }

const root = join(import.meta.dirname ?? '.', '..')

function sources (folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts')).map(name => join(folder, name))
}

function importsOf (file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'"]*?\sfrom\s+)?'([^']+)'/gm)].map(([, type, from]) => ({ file, from: from!, typeOnly: type !== undefined }))
}

const plugins = sources('plugins').flatMap(importsOf)
const lib = sources('lib').flatMap(importsOf)
const describe = ({ file, from }: Import): string => `${file} imports ${from}`

t.test('no plugin imports another, except the suite', async t => {
  t.same(plugins.filter(({ file, from }) => from.startsWith('./') && file !== 'plugins/reverseproxy.ts').map(describe), [])
})

t.test('lib imports lib, node and leaf packages only; Fastify as a type', async t => {
  t.same(lib.filter(({ from }) => from.includes('/plugins/') || from.includes('/cli/')).map(describe), [])
  t.same(lib.filter(({ from, typeOnly }) => /^(?:fastify|fastify-plugin|@fastify\/(?!error$).*)$/.test(from) && !typeOnly).map(describe), [])
})

t.test('reply-from has one owner', async t => {
  t.same([...plugins, ...lib].filter(({ from, typeOnly }) => from === '@fastify/reply-from' && !typeOnly).map(({ file }) => file), ['plugins/forward.ts'])
})

t.test('every file says what it is for', async t => {
  for (const file of [...sources('plugins'), ...sources('lib'), ...sources('cli')]) {
    t.match(readFileSync(join(root, file), 'utf8'), /^(?:#!.*\n)?(?:\/\/.*\n)*\/\*\*/, file)
  }
})

t.test('no escape from the type checker, and nothing left behind', async t => {
  for (const file of [...sources('plugins'), ...sources('lib'), ...sources('cli')]) {
    t.notMatch(readFileSync(join(root, file), 'utf8'), /@ts-(?:ignore|nocheck|expect-error)|\bas any\b|: any\b|TODO|FIXME|console\.log\(/, file)
  }
})

t.test('the package is built anew: no source maps without their sources, and nothing of a build before', async t => {
  const { scripts: { build } } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { build: string } }
  const folder = t.testdir({ dist: { lib: { 'gone.js': '', 'gone.js.map': '{}' } } })
  execSync(build.slice(0, build.indexOf('&& tsc')), { cwd: folder })
  t.same(readdirSync(folder), [])
  const { sourceMap = false, inlineSources = false } = (JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8')) as { compilerOptions: { sourceMap?: boolean, inlineSources?: boolean } }).compilerOptions
  t.ok(!sourceMap || inlineSources)
})
