/**
 * The load generator, a process of its own. Any wrong answer (status, body length, a lost connection) ends the call
 * with an error, and with it the run: a slice is either clean or does not count.
 */
import { request as httpRequest } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkAnswers } from './answers.js'
import { createConnection, serialize } from './client.js'
import { megabyte, order, small } from './payloads.js'
import { answer, ready } from './processes.js'
import { createSocket, frameOf } from './socket.js'

/**
 * What is asked, by name: requests sent in turn, and the length of every answer's body, where `check` need not tell it.
 * @type {Record<string, { paths?: string[], requests: Buffer[], length?: number, socket?: boolean }>} `socket`: over WebSockets, one message at a time.
 */
const asks = {
  small: {
    requests: Array.from({ length: 10 }, (_, index) => serialize({ path: `/api/orders/${1000 + index}?limit=10&fields=id` })),
    length: small.length
  },
  order: { requests: [serialize({ method: 'POST', path: '/api/orders', body: order })], length: small.length },
  megabyte: { requests: [serialize({ path: '/1mb' })], length: megabyte.length },
  services: { ...gets(1000, index => `/service-${index}/items/${index % 10}`), length: small.length },
  tenants: {
    requests: Array.from({ length: 10_000 }, (_, index) => serialize({ path: `/api/orders/${1000 + index % 10}?limit=10&fields=id`, headers: { 'x-tenant-id': `tenant-${index}`, 'x-only-tenant': 'tenant-0' } })),
    length: small.length
  },
  neighbourly: { requests: ofTenant('b'), length: small.length },
  neighbour: { requests: ofTenant('a'), length: small.length },
  messages: { requests: [frameOf(small)], length: small.length, socket: true },
  profiles: gets(10, index => `/profiles/${1000 + index}`)
}

const mostOpen = 5_000

/** Idle connections by port: kept from slice to slice, as real clients keep theirs. */
const idle = new Map()

answer({ check, closed, open, hold, askAll, drop, upload, download })
ready({})

/**
 * Are a composite's answers right? Tells the length of their bodies, for `closed` and `open`: two gateways may write the same
 * values with different bytes.
 * @param {{ port: number, ask: string, parts: import('./scenarios.js').Parts }} options
 */
async function check ({ port, ask, parts }) {
  return { length: await checkAnswers({ port, paths: asks[ask].paths, parts }) }
}

/**
 * Closed loop: each connection sends its next request when its answer is complete. Ends after `seconds` or `count`.
 * @param {{ port: number, ask: string, length?: number, connections: number, seconds?: number, count?: number }} options
 */
function closed ({ port, ask, length: expected = asks[ask].length, connections, seconds = Infinity, count = Infinity }) {
  const { requests, socket } = asks[ask]
  const latencies = []
  const begin = performance.now()
  const end = begin + seconds * 1000
  let sent = 0
  let running = 0

  return guarded(seconds, (resolve, reject) => {
    for (let index = 0; index < connections; index++) drive(take(port, undefined, socket))

    function drive (connection) {
      let at = 0
      connection.onError = reject
      connection.onAnswer = (_status, length) => {
        const now = performance.now()
        latencies.push(now - at)
        if (length !== expected) return reject(new Error(`body of ${length} bytes, not ${expected}`))
        if (now < end && sent < count) return next(now)
        give(port, connection)
        if (--running === 0) resolve(summary(latencies, now - begin))
      }
      running++
      next(begin)

      function next (now) {
        at = now
        connection.send(requests[sent++ % requests.length])
      }
    }
  })
}

/**
 * Open loop: requests leave by the clock, whatever has been answered, and latency counts from when a request was due.
 * A gateway that stalls therefore pays for all who would have come meanwhile (no coordinated omission).
 * Due times lie on whole milliseconds, since no timer of Node is finer.
 * @param {{ port: number, ask: string, length?: number, rate: number, seconds: number, statuses?: readonly number[] }} options `statuses`: which are right; the length of others than 200 is not looked at.
 */
function open ({ port, ask, length: expected = asks[ask].length, rate, seconds, statuses }) {
  const { requests } = asks[ask]
  const total = rate * seconds
  const perTick = rate / 1000
  const latencies = []
  const sinceSent = []
  const lag = []
  const begin = performance.now()
  let sent = 0
  let running = 0
  let timer

  return guarded(seconds, (resolve, reject) => {
    timer = setInterval(onTick, 1)

    function onTick () {
      const now = performance.now()
      const tick = Math.floor(now - begin)
      const due = Math.min(total, Math.floor(tick * perTick))
      if (sent < due) lag.push(now - dueAt(sent))
      while (sent < due) send(dueAt(sent), now)
      if (running > mostOpen) reject(new Error(`${running} requests unanswered`))
      if (sent >= total) clearInterval(timer)
    }

    function dueAt (index) {
      return begin + Math.ceil((index + 1) / perTick)
    }

    function send (dueAt, sentAt) {
      const connection = take(port, statuses)
      running++
      connection.onError = reject
      connection.onAnswer = (status, length) => {
        const now = performance.now()
        latencies.push(now - dueAt)
        sinceSent.push(now - sentAt)
        if (status === 200 && length !== expected) return reject(new Error(`body of ${length} bytes, not ${expected}`))
        give(port, connection)
        if (--running === 0 && sent >= total) {
          resolve({ ...summary(latencies, now - begin), p99Sent: p99(sinceSent), lag: p99(lag) })
        }
      }
      connection.send(requests[sent++ % requests.length])
    }
  }).finally(() => clearInterval(timer))
}

/**
 * Opens `count` connections, one request on each, and keeps them all.
 * @param {{ port: number, count: number }} options
 */
async function hold ({ port, count }) {
  const { requests, length } = asks.small
  const held = []
  for (let from = 0; from < count; from += 100) {
    await Promise.all(Array.from({ length: Math.min(100, count - from) }, (_, index) => {
      // one source address has some 28,000 ports
      const connection = createConnection({ port, localAddress: `127.0.0.${1 + Math.floor((from + index) / 20_000)}` })
      held.push(connection)
      return ask(connection, requests[0], length)
    }))
  }
  for (const connection of held) give(port, connection)
  return { held: held.length }
}

/**
 * One more request on each of `hold`'s connections: are they still there?
 * @param {{ port: number }} options
 */
async function askAll ({ port }) {
  const { requests, length } = asks.small
  const held = (idle.get(port) ?? []).slice()
  for (let from = 0; from < held.length; from += 64) {
    await Promise.all(held.slice(from, from + 64).map(connection => ask(connection, requests[0], length)))
  }
  return { answered: held.length }
}

/** @param {{ port: number }} options */
function drop ({ port }) {
  for (const connection of idle.get(port) ?? []) connection.close()
  idle.delete(port)
}

/** @param {{ port: number, bytes: number }} options */
async function upload ({ port, bytes }) {
  const begin = performance.now()
  const { request, response } = call(port, { method: 'POST', path: `/sink/${bytes}`, headers: { 'content-type': 'application/octet-stream', 'content-length': bytes } })
  await pipeline(chunks(bytes), request)
  await read(await response, small.length)
  return { seconds: (performance.now() - begin) / 1000 }
}

/** @param {{ port: number, bytes: number }} options */
async function download ({ port, bytes }) {
  const begin = performance.now()
  const { request, response } = call(port, { path: `/stream/${bytes}` })
  request.end()
  await read(await response, bytes, 1000)
  return { seconds: (performance.now() - begin) / 1000 }
}

function call (port, options) {
  const request = httpRequest({ host: '127.0.0.1', port, ...options })
  const response = new Promise((resolve, reject) => request.on('response', resolve).on('error', reject))
  return { request, response }
}

async function read (response, expected, pause = 0) {
  let received = 0
  for await (const chunk of response) {
    if (received === 0 && pause > 0) await sleep(pause)
    received += chunk.length
  }
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
  if (received !== expected) throw new Error(`body of ${received} bytes, not ${expected}`)
}

function * chunks (bytes) {
  for (let left = bytes; left > 0; left -= megabyte.length) {
    yield left >= megabyte.length ? megabyte : megabyte.subarray(0, left)
  }
}

function ask (connection, request, expected) {
  return new Promise((resolve, reject) => {
    connection.onError = reject
    connection.onAnswer = (_status, length) => {
      if (length === expected) resolve()
      else reject(new Error(`body of ${length} bytes, not ${expected}`))
    }
    connection.send(request)
  })
}

function gets (count, pathOf) {
  const paths = Array.from({ length: count }, (_, index) => pathOf(index))
  return { paths, requests: paths.map(path => serialize({ path })) }
}

function ofTenant (tenant) {
  return Array.from({ length: 10 }, (_, index) => serialize({ path: `/api/orders/${1000 + index}?limit=10&fields=id`, headers: { 'x-tenant-id': tenant } }))
}

function take (port, statuses, socket = false) {
  return idle.get(port)?.pop() ?? (socket ? createSocket({ port }) : createConnection({ port, statuses }))
}

function give (port, connection) {
  const list = idle.get(port) ?? []
  idle.set(port, list)
  list.push(connection)
  // closed while idle: not an error, the next slice opens another
  connection.onError = () => { list.splice(list.indexOf(connection), 1) }
}

/** A promise that fails when what should take so many seconds does not come to an end. */
function guarded (seconds, executor) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the load came to a standstill')), ((seconds === Infinity ? 0 : seconds) + 60) * 1000)
    executor(
      value => { clearTimeout(timer); resolve(value) },
      error => { clearTimeout(timer); reject(error) }
    )
  })
}

function p99 (values) {
  return percentile(values.sort(ascending), 0.99)
}

function summary (latencies, milliseconds) {
  latencies.sort(ascending)
  return {
    requests: latencies.length,
    seconds: milliseconds / 1000,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99)
  }
}

function percentile (sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

function ascending (a, b) {
  return a - b
}
