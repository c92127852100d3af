/**
 * The upstream: one small node:http server on as many ports as there are targets. No latency of its own.
 *
 * GET /1mb              1 MB
 * GET /stream/<bytes>   so many bytes, as fast as they are taken
 * GET /a, /b, /c        JSON documents, where `parts` says which: each part's versions in turn
 * GET *                 200 bytes of JSON
 * POST /sink/<bytes>    takes so many bytes, pausing once: a gateway without backpressure would have to store them
 * POST *                takes the 10 KB order, refuses anything else
 * WebSockets            echo
 *
 * Beside it a port that accepts and never answers.
 */
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { pipeline } from 'node:stream'
import { WebSocketServer } from 'ws'
import { createDocuments } from './documents.js'
import { megabyte, order, small } from './payloads.js'
import { answer, options, ready } from './processes.js'

const common = {
  'content-type': 'application/json; charset=utf-8',
  'cache-control': 'private, max-age=0',
  etag: '"5f2b-1a0c"',
  server: 'bench',
  'x-powered-by': 'node'
}
const heads = new Map([small, megabyte].map(body => [body, { ...common, 'content-length': body.length }]))

const parts = new Map(Object.entries(options.parts === undefined ? {} : createDocuments(options.parts)).map(([name, bodies]) => {
  for (const body of bodies) heads.set(body, { ...common, 'content-length': body.length })
  return [`/${name}`, { bodies, served: 0 }]
}))

answer({})
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
const ports = []
for (let index = 0; index < (options.ports ?? 1); index++) {
  // keepAliveTimeout 0: pools stay connected while other variants have their turn
  const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, onRequest)
  server.on('upgrade', (request, socket, head) => { sockets.handleUpgrade(request, socket, head, echo) })
  server.listen(0, '127.0.0.1', 4096)
  await once(server, 'listening')
  ports.push(server.address().port)
}
const silent = createTcpServer(socket => { socket.on('error', () => {}).resume() })
silent.listen(0, '127.0.0.1', 4096)
await once(silent, 'listening')
ready({ ports, silent: silent.address().port })

function echo (socket) {
  socket.on('error', () => {})
  socket.on('message', (data, binary) => { socket.send(data, { binary }) })
}

function onRequest (request, response) {
  if (request.method === 'POST') {
    if (request.url.startsWith('/sink/')) sink(request, response)
    else takeOrder(request, response)
  } else if (request.url === '/1mb') {
    send(response, megabyte)
  } else if (request.url.startsWith('/stream/')) {
    stream(response, lastNumber(request.url))
  } else {
    const part = parts.get(request.url)
    send(response, part === undefined ? small : part.bodies[part.served++ % part.bodies.length])
  }
}

function send (response, body) {
  response.writeHead(200, heads.get(body))
  response.end(body)
}

function refuse (response, message) {
  response.writeHead(400, { 'content-type': 'text/plain' })
  response.end(message)
}

function takeOrder (request, response) {
  let received = 0
  request.on('data', chunk => { received += chunk.length })
  request.on('end', () => {
    if (received === order.length) send(response, small)
    else refuse(response, `received ${received} bytes`)
  })
}

async function sink (request, response) {
  let received = 0
  try {
    for await (const chunk of request) {
      if (received === 0) await sleep(1000)
      received += chunk.length
    }
  } catch {
    return // the client sees the broken connection
  }
  if (received === lastNumber(request.url)) send(response, small)
  else refuse(response, `received ${received} bytes`)
}

function stream (response, bytes) {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes })
  pipeline(chunks(bytes), response, () => {})
}

function * chunks (bytes) {
  for (let left = bytes; left > 0; left -= megabyte.length) {
    yield left >= megabyte.length ? megabyte : megabyte.subarray(0, left)
  }
}

function lastNumber (url) {
  return Number(url.slice(url.lastIndexOf('/') + 1))
}
