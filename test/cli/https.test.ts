/** `server.https` of a file: the command listens for TLS, HTTP/2 and HTTP/1.1. */
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { createServer } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { askHttp2, AUTHORITY, SIGNED, SIGNED_CLIENT, post, rawRequest } from '../helper.ts'
import { start } from './command.ts'

async function serve (t: Test, server: string) {
  const backend = createServer((request, response) => { response.end(`${request.headers['x-forwarded-proto']} ${request.url}`) })
  await new Promise<void>(resolve => { backend.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { backend.closeAllConnections(); backend.close() })
  const folder = t.testdir({
    'cert.pem': SIGNED.cert,
    'key.pem': SIGNED.key,
    'ca.pem': AUTHORITY,
    'g.yaml': `server: ${server}\nbackends: { up: "http://127.0.0.1:${(backend.address() as AddressInfo).port}" }\ndefaultBackend: up\n`
  })
  const running = start([join(folder, 'g.yaml'), '--host', '127.0.0.1', '--port', '0'])
  t.teardown(() => { running.process.kill('SIGKILL') })
  const [, port] = await running.until(/listens on https:\/\/[^"]+:(\d+)/)
  return { running, port: Number(port) }
}

async function ask (port: number, options: ConnectionOptions = {}): Promise<[version: string, text: string]> {
  const asking = httpsRequest({ port, host: '127.0.0.1', path: '/x', servername: 'localhost', ca: AUTHORITY, agent: false, ...options })
  asking.end()
  const [response] = await once(asking, 'response') as [IncomingMessage]
  let text = ''
  for await (const piece of response) text += String(piece)
  return [response.httpVersion, text]
}

t.test('https', async t => {
  const { port, running } = await serve(t, '{ https: { cert: ./cert.pem, key: ./key.pem, minVersion: TLSv1.3 } }')
  t.same(await ask(port), ['1.1', 'https /x'])
  await t.rejects(ask(port, { maxVersion: 'TLSv1.2' }), 'an older version of TLS')
  const { raw, closed } = await rawRequest(port, post('/', 'x'), { untilClose: true })
  t.ok(closed, 'no HTTP on this port')
  t.notMatch(raw.toString('latin1'), /200/)
  t.same(await ask(port), ['1.1', 'https /x'])
  running.process.kill('SIGTERM')
  t.equal((await running.finished).code, 0)
})

t.test('https and HTTP/2, with client certificates', async t => {
  const { port, running } = await serve(t, '{ https: { cert: ./cert.pem, key: ./key.pem, ca: ./ca.pem }, http2: true }')
  t.same(await ask(port, SIGNED_CLIENT), ['1.1', 'https /x'])
  const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: AUTHORITY, ...SIGNED_CLIENT })
  const answer = await askHttp2(session)
  t.same([answer.status, answer.text], [200, 'https /x'])
  // in TLS 1.3 the client hears of it after its handshake
  const without = connectTls({ port, host: '127.0.0.1', ca: AUTHORITY })
  const [error] = await once(without, 'error').catch(caught => [caught as Error]) as [NodeJS.ErrnoException]
  t.match(error.code, /ALERT|ECONNRESET/)
  running.process.kill('SIGTERM')
  t.equal((await running.finished).code, 0)
  session.destroy()
})
