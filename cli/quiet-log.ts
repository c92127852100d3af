/**
 * Fastify's own log lines, with those of single requests at `debug`: a gateway that logs two lines a request spends a third of
 * its time on them. Failures (5xx) stay at `error`.
 */
import { LogController, type FastifyReply, type FastifyRequest } from 'fastify'

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
