/** The request log of a gateway that runs from a file: one line for each request, and none of Fastify's besides. */
import t from 'tap'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { start } from './command.ts'

t.test('each request has one line, and of a failure Fastify tells the reason', async t => {
  const server = createServer((_request, response) => { response.end('hi') })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const { port } = server.address() as AddressInfo
  const text = `server: { port: 0 }\nbackends: { up: "http://127.0.0.1:${port}", down: "http://127.0.0.1:1" }\nroutes: [{ name: up, path: /up, proxy: up }, { name: down, path: /down, proxy: down }]\nlog: { requests: info }\n`
  const running = start([join(t.testdir({ 'g.yaml': text }), 'g.yaml'), '--host', '127.0.0.1'])
  t.teardown(() => { running.process.kill('SIGKILL') })
  const [, origin = ''] = await running.until(/listens on (http:\/\/[^"]+)/)
  t.equal((await fetch(`${origin}/up?a=b`)).status, 200)
  t.equal((await fetch(`${origin}/nowhere`)).status, 404)
  t.equal((await fetch(`${origin}/down?page=2&token=zq7secret`)).status, 502)
  await running.until(/"route":"down"/)
  running.process.kill('SIGTERM')
  const { stdout } = await running.finished
  const lines = stdout.trim().split('\n').map(line => JSON.parse(line) as { level: number, msg: string, reqId?: string, route?: string, status?: number }).filter(({ reqId }) => reqId !== undefined)
  const info = lines.filter(({ level }) => level === 30)
  t.match(info, [{ msg: 'request', route: 'up', status: 200 }, { msg: 'request', route: 'down', status: 502 }])
  t.equal(info.length, 2)
  t.equal(lines.filter(({ level }) => level === 50).length, 1)
  t.match(stdout, /"url":"\/down\?page=2&token=/)
  t.notMatch(stdout, /zq7secret/)
})
