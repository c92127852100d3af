/** After two hundred of a fault the first good request is answered at once, and nothing of the faults is left. */
import t from 'tap'
import { createServer } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { CERTIFICATE, CERTIFICATE_KEY, chunk, DESTROY, RESET, startGateway, wait, waitFor } from '../helper.ts'
import { A_SECOND, GOOD, OFF, testFault, TIMES, AT_ONCE } from './fault.ts'
import type { Fault } from './fault.ts'
import { createAgent, hammer, shoot } from './load.ts'

const FAULTS: Readonly<Record<string, Fault>> = {
  refused: { down: true, backend: OFF, statuses: [502] },
  'reset before the headers': { script: RESET, backend: OFF, statuses: [502] },
  'closed without a byte': { script: DESTROY, backend: OFF, statuses: [502] },
  'reset after the headers': { script: ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n', wait(5), RESET], backend: OFF, statuses: [0, 502] },
  'half a body': { script: ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345', wait(5), DESTROY], backend: OFF, statuses: [0, 502] },
  'half a chunk': { script: [Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'), chunk('abc').subarray(0, 4)]), wait(5), DESTROY], backend: OFF, statuses: [0, 502] },
  'a body that stalls': { script: 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345', backend: { ...OFF, timeout: { idle: 200 } }, statuses: [0] },
  silence: { script: [], backend: { ...OFF, timeout: { headers: 200 } }, statuses: [504] },
  garbage: { script: '\x16\x03\x01 what is this\r\n\r\n', backend: OFF, statuses: [502] }
}

for (const [name, fault] of Object.entries(FAULTS)) testFault(name, fault)

t.test(`a certificate nobody trusts: ${TIMES} times, then the first good request is answered within a second`, async t => {
  let open = 0
  const server = createServer({ key: CERTIFICATE_KEY, cert: CERTIFICATE }, socket => { socket.on('error', () => {}).on('data', () => { socket.write(GOOD) }) })
  server.on('connection', socket => {
    open++
    socket.on('close', () => { open-- })
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  const target = `https://localhost:${(server.address() as AddressInfo).port}`
  const { url, app } = await startGateway(t, { backends: { up: { targets: [target], circuitBreaker: false } } })
  const agent = createAgent()
  t.teardown(() => { agent.destroy() })
  await hammer(TIMES, AT_ONCE, async nth => { t.equal((await shoot(agent, `${url}/${nth}`)).status, 502) })
  t.ok(await waitFor(() => open === 0), 'no connection is left of the failed ones')
  t.equal(app.reverseproxy.backends.get('up')!.targets[0]!.inflight, 0)
  app.reverseproxy.backends.update('up', { targets: [target], circuitBreaker: false, tls: { ca: CERTIFICATE } })
  const since = performance.now()
  t.equal((await shoot(agent, `${url}/good`)).status, 200)
  t.ok(performance.now() - since < A_SECOND)
  t.equal(app.reverseproxy.backends.get('up')!.targets[0]!.inflight, 0)
})
