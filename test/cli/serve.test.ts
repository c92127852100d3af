/** `reverseproxy serve`: from a file to a running gateway, and to its end. */
import t, { type Test } from 'tap'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { start, type Running } from './command.ts'

const LISTENS = /listens on (http:\/\/[^"]+)/

/** Answers `/slow` when `release` is called, everything else at once. */
async function backend (t: Test) {
  const waiting: Array<() => void> = []
  const server: Server = createServer((request, response) => {
    const answer = () => { response.end(`backend saw ${request.url}`) }
    if (request.url === '/slow') waiting.push(answer)
    else answer()
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const { port } = server.address() as AddressInfo
  return { port, waiting, url: `http://127.0.0.1:${port}` }
}

function serve (t: Test, file: string, args: string[] = [], env: Record<string, string> = {}): Running {
  const running = start([file, '--host', '127.0.0.1', ...args], env)
  t.teardown(() => { running.process.kill('SIGKILL') })
  return running
}

// eslint-disable-next-line no-template-curly-in-string
const FILE = 'server: { port: 0, logger: "${LEVEL:-info}" }\nbackends:\n  users: ${USERS}\ndefaultBackend: users\nroutes:\n  - { path: "/api/*", proxy: { backend: users, rewrite: { stripPrefix: /api } } }\n'

t.test('a file becomes a gateway that forwards, and SIGTERM ends it with 0', async (t) => {
  const { url } = await backend(t)
  const running = serve(t, join(t.testdir({ 'g.yaml': FILE }), 'g.yaml'), [], { USERS: url })
  const [, origin = ''] = await running.until(LISTENS)
  t.equal(await (await fetch(`${origin}/api/x?y=1`)).text(), 'backend saw /x?y=1')
  t.equal(await (await fetch(`${origin}/other`)).text(), 'backend saw /other')
  running.process.kill('SIGTERM')
  const { code, stdout } = await running.finished
  t.equal(code, 0)
  t.notMatch(stdout, /incoming request/, 'no log lines of single requests')
})

t.test('what runs at the signal is finished before the end', async (t) => {
  const { url, waiting } = await backend(t)
  const running = serve(t, join(t.testdir({ 'g.yaml': FILE }), 'g.yaml'), ['--port', '0'], { USERS: url })
  const [, origin = ''] = await running.until(LISTENS)
  const answer = fetch(`${origin}/slow`)
  while (waiting.length === 0) await new Promise(resolve => { setTimeout(resolve, 5) })
  running.process.kill('SIGINT')
  await running.until(/finishing what runs/)
  waiting.forEach(release => { release() })
  t.equal(await (await answer).text(), 'backend saw /slow')
  t.equal((await running.finished).code, 0)
})

t.test('a second signal ends it at once', async (t) => {
  const { url, waiting } = await backend(t)
  const running = serve(t, join(t.testdir({ 'g.yaml': FILE }), 'g.yaml'), [], { USERS: url })
  const [, origin = ''] = await running.until(LISTENS)
  const answer = fetch(`${origin}/slow`).catch(() => 'cut')
  while (waiting.length === 0) await new Promise(resolve => { setTimeout(resolve, 5) })
  running.process.kill('SIGTERM')
  await running.until(/finishing what runs/)
  running.process.kill('SIGTERM')
  t.equal((await running.finished).code, 1)
  t.equal(await answer, 'cut')
})

t.test('a port in use and a wrong file end it with 1', async (t) => {
  const { port, url } = await backend(t)
  const folder = t.testdir({ 'g.yaml': FILE, 'wrong.yaml': 'backend: {}' })
  const taken = await serve(t, join(folder, 'g.yaml'), ['--port', String(port)], { USERS: url }).finished
  t.match(taken, { code: 1, stderr: /EADDRINUSE/ })
  const wrong = await serve(t, join(folder, 'wrong.yaml')).finished
  t.match(wrong, { code: 1, stdout: '', stderr: /backend: is not an option; did you mean "backends"/ })
})
