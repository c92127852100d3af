/** A part whose connection goes wrong, in every role: the answer, the log and the time it takes. */
import t from 'tap'
import { DESTROY, FIN, RESET, chunk, closedPort, rawUpstream, respond, wait } from '../helper.ts'
import { checkFault, checkHealed, jsonAnswer, startFaulty } from '../helper-composite-faults.ts'
import type { Script } from '../helper.ts'
import type { Expected, FaultOptions } from '../helper-composite-faults.ts'

t.jobs = 2

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'

type Case = readonly [name: string, script: Script, expected: Expected, options?: FaultOptions]

const resets: readonly Case[] = [
  ['a reset before the headers', RESET, { code: 'RP_ERR_RESET' }],
  ['a reset in the middle of the headers', [HEAD, wait(20), RESET], { code: 'RP_ERR_RESET' }],
  ['a reset between headers and body', [`${HEAD}Content-Length: 10\r\n\r\n`, wait(20), RESET], { code: 'RP_ERR_RESET', status: 200 }],
  ['a reset in mid-body', [`${HEAD}Content-Length: 10\r\n\r\n{"a":`, wait(20), RESET], { code: 'RP_ERR_RESET', status: 200 }],
  ['a reset between two chunks', [`${HEAD}Transfer-Encoding: chunked\r\n\r\n`, chunk('{"a":1}'), wait(20), RESET], { code: 'RP_ERR_RESET', status: 200 }],
  ['closed without a byte', FIN, { code: 'RP_ERR_RESET' }],
  ['closed both ways without a byte', DESTROY, { code: 'RP_ERR_RESET' }],
  ['half a body, then the end of the connection', [`${HEAD}Content-Length: 20\r\n\r\n{"a":1}`, FIN], { code: 'RP_ERR_RESET', status: 200 }],
  ['half a chunked body, then the end of the connection', [`${HEAD}Transfer-Encoding: chunked\r\n\r\n`, chunk('{"a":1}'), FIN], { code: 'RP_ERR_RESET', status: 200 }]
]

const timeouts: readonly Case[] = [
  ['accepted and silent, beyond the total time', [], { code: 'RP_ERR_TIMEOUT', required: [504, 'RP_ERR_TIMEOUT'] }, { part: { timeout: 200 } }],
  ['accepted and silent, beyond the time for headers', [], { code: 'RP_ERR_TIMEOUT', required: [504, 'RP_ERR_TIMEOUT'] }, { part: { timeout: { headers: 200 } } }],
  ['headers that drip', async ({ play }) => { for (let i = 0; i < 100; i++) await play([i === 0 ? 'HTTP/1.1 200 OK\r\n' : `X-${i}: ${i}\r\n`, wait(30)]) },
    { code: 'RP_ERR_TIMEOUT', required: [504, 'RP_ERR_TIMEOUT'] }, { part: { timeout: 200 } }],
  ['a body that drips beyond the total time', async ({ play }) => { await play(`${HEAD}Content-Length: 1000\r\n\r\n`); for (let i = 0; i < 100; i++) await play([' ', wait(30)]) },
    { code: 'RP_ERR_TIMEOUT', status: 200, required: [504, 'RP_ERR_TIMEOUT'] }, { part: { timeout: 250 } }],
  ['chunks that drip beyond the total time', async ({ play }) => { await play(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`); for (let i = 0; i < 100; i++) await play([chunk(' '), wait(30)]) },
    { code: 'RP_ERR_TIMEOUT', status: 200, required: [504, 'RP_ERR_TIMEOUT'] }, { part: { timeout: 250 } }],
  ['a body that stops, beyond the idle time', [`${HEAD}Content-Length: 20\r\n\r\n{"a":1}`], { code: 'RP_ERR_TIMEOUT', status: 200, required: [504, 'RP_ERR_TIMEOUT'] }, { part: { timeout: { idle: 200 } } }],
  ['an endless event stream', async ({ play }) => { await play('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n'); for (let i = 0; i < 300; i++) await play(['data: 1\n\n', wait(30)]) },
    { code: 'RP_ERR_TIMEOUT', status: 200, required: [504, 'RP_ERR_TIMEOUT'] }, { part: { timeout: 250 } }],
  ['the time of the whole composite', [], { code: 'RP_ERR_TIMEOUT', required: [504, 'RP_ERR_TIMEOUT'] }, { part: { timeout: { headers: 0 } }, composite: { timeout: 500 } }]
]

const malformed: readonly Case[] = [
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.9\r\n', { code: 'RP_ERR_BAD_RESPONSE' }],
  ['a status line without a status', 'HTTP/1.1 OK\r\n\r\n', { code: 'RP_ERR_BAD_RESPONSE' }],
  ['status 099', 'HTTP/1.1 099 What\r\nContent-Length: 2\r\n\r\n{}', { code: 'RP_ERR_BAD_RESPONSE' }],
  ['status 600', 'HTTP/1.1 600 What\r\nContent-Length: 2\r\n\r\n{}', { code: 'RP_ERR_BAD_RESPONSE' }],
  ['two lengths', `${HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} `, { code: 'RP_ERR_BAD_RESPONSE' }],
  ['length and chunks', `${HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`, { code: 'RP_ERR_BAD_RESPONSE' }],
  ['a length that is none', `${HEAD}Content-Length: -1\r\n\r\n{}`, { code: 'RP_ERR_BAD_RESPONSE' }],
  ['a header line without a colon', `${HEAD}bad line\r\nContent-Length: 2\r\n\r\n{}`, { code: 'RP_ERR_BAD_RESPONSE' }],
  ['a NUL in a header', `${HEAD}X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}`, { code: 'RP_ERR_BAD_RESPONSE' }],
  ['a bad chunk size', `${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`, { code: 'RP_ERR_BAD_RESPONSE', status: 200 }],
  ['a huge header block', `${HEAD}X-Big: ${'x'.repeat(70_000)}\r\nContent-Length: 2\r\n\r\n{}`, { code: 'RP_ERR_BAD_RESPONSE' }],
  ['many header lines', `${HEAD}${'X-Many: 1\r\n'.repeat(2_500)}Content-Length: 2\r\n\r\n{}`, { code: 'RP_ERR_BAD_RESPONSE' }],
  ['an unasked 101', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n', { code: 'RP_ERR_BAD_RESPONSE' }]
]

for (const [name, script, expected, options] of [...resets, ...timeouts, ...malformed]) {
  t.test(name, async t => {
    await checkFault(t, await startFaulty(t, script, options), expected)
  })
}

t.test('a refused connection, and the backend comes back', async t => {
  const gateway = await startFaulty(t, [])
  await gateway.bad.stop()
  await checkFault(t, gateway, { code: 'RP_ERR_CONNECT', heals: false })
  await gateway.bad.listen()
  await checkHealed(t, gateway)
})

t.test('a port where nobody ever listened', async t => {
  await checkFault(t, await startFaulty(t, [], { url: `http://127.0.0.1:${await closedPort()}` }), { code: 'RP_ERR_CONNECT', heals: false })
})

t.test('a name that does not resolve', async t => {
  await checkFault(t, await startFaulty(t, [], { url: 'http://name.invalid' }), { code: 'RP_ERR_CONNECT', heals: false, within: 6_000 })
})

t.test('TLS where the backend speaks none', async t => {
  const plain = await rawUpstream(t, respond(200, [], '{}'), { onConnection: socket => { socket.end('HTTP/1.1 400 Bad Request\r\n\r\n') } })
  await checkFault(t, await startFaulty(t, [], { url: `https://127.0.0.1:${plain.port}` }), { code: 'RP_ERR_CONNECT', heals: false })
})

t.test('a second answer that nobody asked for is given to nobody', async t => {
  const gateway = await startFaulty(t, Buffer.concat([jsonAnswer('{"first":1}'), jsonAnswer('{"stolen":1}')]))
  const answer = await (await fetch(`${gateway.url}/object/optional`)).json() as { bad: unknown }
  t.same(answer.bad, { first: 1 })
  await checkHealed(t, gateway)
})
