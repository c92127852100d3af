/**
 * The client side of HTTP/1.1, as little of it as a load generator needs: requests are ready-made buffers, answers are
 * counted, not stored. Cheaper than any full client, so the gateway's core is the one that is full.
 */
import { connect } from 'node:net'

// One for all: a read is handed over before the next begins.
const readBuffer = Buffer.allocUnsafe(256 * 1024)
const ok = [200]
const contentLength = /\r\ncontent-length: *(\d+)/i

/**
 * @typedef {object} Connection
 * @property {(request: Buffer) => void} send One at a time: wait for the answer.
 * @property {() => void} close
 * @property {(status: number, length: number) => void} onAnswer Set by the user of the connection.
 * @property {(error: Error) => void} onError Set by the user; also called when the server closes.
 */

/**
 * @param {{ port: number, localAddress?: string, statuses?: readonly number[] }} where `statuses`: which are right; others are an error.
 * @returns {Connection}
 */
export function createConnection ({ port, localAddress, statuses = ok }) {
  const idle = -1
  let held
  let status = 0
  let length = 0
  let left = idle
  const socket = connect({
    port,
    host: '127.0.0.1',
    localAddress,
    noDelay: true,
    onread: { buffer: readBuffer, callback: onRead }
  })
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('connection closed')))

  const connection = {
    onAnswer: () => {},
    onError: () => {},
    send (request) { socket.write(request) },
    close () {
      connection.onError = () => {}
      socket.destroy()
    }
  }
  return connection

  function onRead (count, buffer) {
    if (left === idle) readHead(buffer.subarray(0, count))
    else finish(left - count)
    return true
  }

  function readHead (bytes) {
    if (held !== undefined) bytes = Buffer.concat([held, bytes])
    const end = bytes.indexOf('\r\n\r\n')
    if (end === -1) {
      held = Buffer.from(bytes)
      return
    }
    held = undefined
    const head = bytes.latin1Slice(0, end)
    status = Number(head.slice(9, 12))
    const match = contentLength.exec(head)
    if (match === null) return fail(new Error(`no content-length:\n${head}`))
    if (!statuses.includes(status)) return fail(new Error(`status ${status}:\n${bytes.toString('latin1', 0, 2000)}`))
    length = Number(match[1])
    finish(length - (bytes.length - end - 4))
  }

  function finish (remaining) {
    left = remaining
    if (left > 0) return
    if (left < 0) return fail(new Error('more bytes than content-length'))
    left = idle
    connection.onAnswer(status, length)
  }

  function fail (error) {
    const { onError } = connection
    connection.close()
    onError(error)
  }
}

/**
 * A request with the headers that a browser or an API client sends.
 * @param {{ method?: string, path: string, headers?: Record<string, string>, body?: Buffer }} request
 */
export function serialize ({ method = 'GET', path, headers = {}, body }) {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: api.example.com',
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36',
    'Accept: application/json, text/plain, */*',
    'Accept-Encoding: gzip, deflate, br',
    'Accept-Language: en-GB,en;q=0.9,de;q=0.7',
    'Cookie: session=0d8f1c52b6e94f47a1; theme=dark',
    'X-Client-Version: 7.4.1',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    'Connection: keep-alive'
  ]
  if (body !== undefined) lines.push('Content-Type: application/json', `Content-Length: ${body.length}`)
  return Buffer.concat([Buffer.from(lines.join('\r\n') + '\r\n\r\n'), body ?? Buffer.alloc(0)])
}
