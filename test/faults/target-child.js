/**
 * A backend of its own process, in plain JavaScript so that it is up at once: `target-child.js <port>`.
 *
 * Answers `/…` after a few milliseconds with its own id and what it was sent. Says `{ port }` when it listens.
 */
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  let size = 0
  request.on('data', piece => { size += piece.length })
  request.on('end', () => {
    setTimeout(() => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ pid: process.pid, method: request.method, size }))
    }, 5)
  })
})
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => { process.send?.({ port: server.address().port }) })
// a parent that died must not leave a backend behind
process.on('disconnect', () => { process.exit() })
