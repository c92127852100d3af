/**
 * The client side of a WebSocket, as little of it as a load generator needs: frames are ready-made buffers, messages are
 * counted, not stored. The same shape as an HTTP connection of client.js, so that the loops of load.js drive both.
 */
import { connect } from 'node:net'

const handshake = 'GET /echo HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/**
 * @param {{ port: number }} where
 * @returns {import('./client.js').Connection}
 */
export function createSocket ({ port }) {
  let open = false
  let pending
  let held = Buffer.alloc(0)
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('connection closed')))
  socket.on('data', onData)
  socket.write(handshake)

  const connection = {
    onAnswer: () => {},
    onError: () => {},
    send (frame) {
      if (open) socket.write(frame)
      else pending = frame
    },
    close () {
      connection.onError = () => {}
      socket.destroy()
    }
  }
  return connection

  function onData (bytes) {
    if (held.length > 0) bytes = Buffer.concat([held, bytes])
    held = bytes
    if (!open && !opened()) return
    while (held.length >= 4) {
      const short = held[1] < 126
      const length = short ? held[1] : held.readUInt16BE(2)
      const end = (short ? 2 : 4) + length
      if (held[0] !== 0x81 || held[1] > 126) return fail(new Error(`a frame that was not sent: ${held.subarray(0, 4).toString('hex')}`))
      if (held.length < end) return
      held = held.subarray(end)
      connection.onAnswer(200, length)
    }
  }

  function opened () {
    const end = held.indexOf('\r\n\r\n')
    if (end === -1) return false
    const head = held.latin1Slice(0, end)
    if (!head.startsWith('HTTP/1.1 101 ')) {
      fail(new Error(`no WebSocket:\n${head}`))
      return false
    }
    held = held.subarray(end + 4)
    open = true
    if (pending !== undefined) socket.write(pending)
    return true
  }

  function fail (error) {
    const { onError } = connection
    connection.close()
    onError(error)
  }
}

/**
 * A text message of at most 64 KB, masked as a client's must be.
 * @param {Buffer} payload
 */
export function frameOf (payload) {
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78])
  const size = payload.length < 126 ? Buffer.from([0x80 | payload.length]) : Buffer.from([0x80 | 126, payload.length >> 8, payload.length & 255])
  return Buffer.concat([Buffer.from([0x81]), size, mask, payload.map((byte, index) => byte ^ mask[index & 3])])
}
