/**
 * `Expect: 100-continue` (RFC 9110 section 10.1.1), lazily: the client gets its 100 when somebody first reads the
 * body. A hook that refuses the request before that has stopped the upload; Node then closes the connection.
 */
import { IncomingMessage } from 'node:http'
import type { Server, ServerResponse } from 'node:http'

const kInstalled = Symbol.for('reverseproxy.expect')

/** Once per server, however many gateways it has; a server with a handler of the user's own is left alone. */
export function answerContinueLazily (server: Server & { [kInstalled]?: boolean }): void {
  if (server[kInstalled] === true || server.listenerCount('checkContinue') > 0) return
  server[kInstalled] = true
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    // Node looks for the word anywhere in the field
    if (request.headers.expect?.trim().toLowerCase() !== '100-continue') {
      response.writeHead(417, { connection: 'close', 'content-length': '0' }).end()
      return
    }
    request._read = function continueAndRead (size: number): void {
      Reflect.deleteProperty(this, '_read')
      if (!response.headersSent && !response.writableEnded && !response.destroyed) response.writeContinue()
      this._read(size)
    }
    server.emit('request', request, response)
  })
}
