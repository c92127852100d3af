/** `reverseproxy serve`: SIGHUP and `--watch` read the file again. */
import t, { type Test } from 'tap'
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { httpUpstream, SIGNED, SIGNED_OTHER, waitFor } from '../helper.ts'
import { start, type Running } from './command.ts'

const LISTENS = /listens on (https?:\/\/[^"]+)/

function serve (t: Test, file: string, args: string[] = []): Running {
  const running = start([file, '--host', '127.0.0.1', '--port', '0', ...args])
  t.teardown(() => { running.process.kill('SIGKILL') })
  return running
}

async function text (url: string): Promise<string> {
  return await (await fetch(url)).text().catch(() => '')
}

/** Asks until the answer is this one. */
async function becomes (url: string, wanted: string): Promise<boolean> {
  let last = ''
  return await waitFor(() => {
    text(url).then(said => { last = said }, () => {})
    return last === wanted
  }, 20_000)
}

const configuration = (url: string, path: string) => `backends: { up: ${url} }\nroutes: [{ path: ${path}, proxy: { backend: up, rewrite: { template: /seen } } }]\n`

t.test('SIGHUP reads the file again; a wrong one is refused, said, and survived', async t => {
  const up = await httpUpstream(t, (request, response) => { response.end(`saw ${request.url}`) })
  const file = join(t.testdir({ 'g.yaml': configuration(up.url, '/one') }), 'g.yaml')
  const running = serve(t, file)
  const [, origin = ''] = await running.until(LISTENS)
  t.equal(await text(`${origin}/one`), 'saw /seen')
  await writeFile(file, 'backends: { up: 7 }\n')
  running.process.kill('SIGHUP')
  await running.until(/configuration is refused/)
  t.equal(await text(`${origin}/one`), 'saw /seen')
  await writeFile(file, configuration(up.url, '/two'))
  running.process.kill('SIGHUP')
  await running.until(/new configuration is in place/)
  t.equal(await text(`${origin}/two`), 'saw /seen')
  t.equal((await fetch(`${origin}/one`)).status, 404)
  running.process.kill('SIGTERM')
  const { code, stdout } = await running.finished
  t.equal(code, 0)
  const told = stdout.split('\n').filter(line => line.includes('backends.up: must be'))
  t.equal(told.length, 1)
  t.match(told[0], /configuration is refused, the one before stays: .*g\.yaml: wrong option\\ng\.yaml:1:\d+ +backends\.up: must be/, 'place, option and rule')
  t.equal(told[0]!.split('backends.up').length, 2, 'once')
  t.notMatch(told[0], /stack/)
})

t.test('SIGHUP before it listens does not end it, and one without a change is said', async t => {
  const folder = t.testdir({})
  await writeFile(join(folder, 'g.yaml'), `backends: { up: { discovery: { file: ${join(folder, 'targets.yaml')}, bootTimeout: 1m } } }\n`)
  const running = serve(t, join(folder, 'g.yaml'))
  await running.until(/discovery failed/)
  running.process.kill('SIGHUP')
  await writeFile(join(folder, 'targets.yaml'), '[http://127.0.0.1:1]')
  await running.until(LISTENS)
  await running.until(/nothing to change/)
  running.process.kill('SIGTERM')
  t.equal((await running.finished).code, 0)
})

t.test('--watch follows the file: written, replaced, gone and back, and behind a link whose folder is exchanged', async t => {
  const up = await httpUpstream(t, (request, response) => { response.end(`saw ${request.url}`) })
  const folder = t.testdir({})
  // as Kubernetes mounts a ConfigMap
  for (const [name, path] of [['first', '/one'], ['second', '/two']] as const) {
    await mkdir(join(folder, name))
    await writeFile(join(folder, name, 'g.yaml'), configuration(up.url, path))
  }
  await symlink('first', join(folder, '..data'))
  await symlink('..data/g.yaml', join(folder, 'g.yaml'))
  const running = serve(t, join(folder, 'g.yaml'), ['--watch'])
  const [, origin = ''] = await running.until(LISTENS)
  t.equal(await text(`${origin}/one`), 'saw /seen')
  await symlink('second', join(folder, '..new'))
  await rename(join(folder, '..new'), join(folder, '..data'))
  t.ok(await becomes(`${origin}/two`, 'saw /seen'), 'exchanged')
  await writeFile(join(folder, 'second', 'g.yaml'), configuration(up.url, '/three'))
  t.ok(await becomes(`${origin}/three`, 'saw /seen'), 'written')
  await rename(join(folder, 'second', 'g.yaml'), join(folder, 'second', 'away'))
  await running.until(/configuration is refused/)
  t.equal(await text(`${origin}/three`), 'saw /seen', 'gone')
  await writeFile(join(folder, 'second', 'g.yaml'), configuration(up.url, '/four'))
  t.ok(await becomes(`${origin}/four`, 'saw /seen'), 'back')
  running.process.kill('SIGTERM')
  t.equal((await running.finished).code, 0)
})

t.test('--watch follows the certificates that the file names', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end('ok') })
  const folder = t.testdir({
    'cert.pem': SIGNED.cert,
    'key.pem': SIGNED.key,
    'g.yaml': `server: { https: { cert: cert.pem, key: key.pem } }\n${configuration(up.url, '/x')}`
  })
  const running = serve(t, join(folder, 'g.yaml'), ['--watch'])
  await running.until(LISTENS)
  await writeFile(join(folder, 'key.pem'), SIGNED_OTHER.key)
  await writeFile(join(folder, 'cert.pem'), SIGNED_OTHER.cert)
  await running.until(/new configuration is in place/)
  running.process.kill('SIGTERM')
  t.equal((await running.finished).code, 0)
})
