/**
 * Fastify's own log lines, with those of single requests at `debug`: a gateway that logs two lines a request spends a third of
 * its time on them. Failures (5xx) stay at `error`. And without secrets.
 */
import { LogController, type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { createRedactor, DEFAULT_REDACTION } from '../lib/redact/index.ts'
import type { RedactConfig } from '../lib/redact/index.ts'

/** Fastify's logger; URLs in its lines are without the secrets that they hold. */
export function quietLogger (logger: FastifyServerOptions['logger'], redaction: RedactConfig = DEFAULT_REDACTION): NonNullable<FastifyServerOptions['logger']> {
  if (logger === undefined || logger === false) return false
  const redactor = createRedactor(redaction)
  return {
    ...(logger === true ? undefined : logger),
    serializers: {
      // as Fastify's own
      req: ({ method, url, host, ip, socket }: FastifyRequest) => ({
        method, url: redactor.url(url), host: redactor.header('host', host), remoteAddress: ip, ...(socket?.remotePort === undefined ? undefined : { remotePort: socket.remotePort })
      })
    }
  }
}

export class QuietLog extends LogController {
  override incomingRequest (request: FastifyRequest): void {
    request.log.debug({ req: request }, 'incoming request')
  }

  override requestCompleted (error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    if (error != null) super.requestCompleted(error, request, reply)
    else reply.log.debug({ res: reply, responseTime: reply.elapsedTime }, 'request completed')
  }

  override defaultErrorLog (error: Error, request: FastifyRequest, reply: FastifyReply): void {
    if (reply.statusCode >= 500) super.defaultErrorLog(error, request, reply)
    else reply.log.debug({ res: reply, err: error }, error.message)
  }

  override routeNotFound (request: FastifyRequest): void {
    request.log.debug({ req: request }, 'no route')
  }
}
