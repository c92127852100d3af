/**
 * The request log: one line for each request that the gateway forwards, on Fastify's own logger.
 *
 * Stage: a hook where a request begins, the end of its answer or its connection. Reads: the request's record,
 * the outcomes of attempts, the parts of composites, the state of the target. Writes nothing that others read.
 * Without the option there are no hooks.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { createEndings } from '../lib/endings.ts'
import { explainingOf } from '../lib/explain/mark.ts'
import { isFailure, lineOf } from '../lib/request-log/line.ts'
import { forwardingName, markForwarding } from '../lib/routes/forwarding.ts'
import type { LogConfig, Logged, LogLevel } from '../lib/request-log/types.ts'
import type { RouteNameOf } from '../lib/routes/forwarding.ts'
import type { Backend, RequestRecord, Target } from '../lib/types.ts'

const requestLog: FastifyPluginAsync = async function requestLog (fastify) {
  const { log: config } = fastify.reverseproxy.config
  if (config !== undefined) write(fastify, config)
}

function write (fastify: FastifyInstance, config: LogConfig): void {
  const { reverseproxy } = fastify
  const { clock } = reverseproxy
  const tools = {
    config,
    // rooms that come later
    tenantOf: (record: RequestRecord) => reverseproxy.tenantInLogs(record),
    fitnessOf: (target: Target, backend: Backend) => reverseproxy.health.reason(target, backend),
    traceOf: (request: FastifyRequest) => reverseproxy.traceOf?.(request)
  }

  const endings = createEndings<Logged>(function writeLine (logged, request, reply, finished) {
    const ended = { status: reply.raw.statusCode, headersSent: reply.raw.headersSent, finished }
    const total = clock.now() - logged.startedAt
    const level = levelOf(isFailure(request.reverseproxy, ended), total)
    if (level === undefined || isSilent(request, level)) return
    request.log[level](lineOf(logged, request, reply, ended, total, tools), 'request')
  })

  function levelOf (failed: boolean, total: number): LogLevel | undefined {
    if (failed) return config.failures
    return total >= config.slow ? config.requests : undefined
  }

  function begin (request: FastifyRequest, reply: FastifyReply, startedAt: number, nameOf: RouteNameOf): Logged {
    const logged: Logged = { startedAt, nameOf, target: undefined, backend: undefined, parts: undefined }
    endings.begin(request, reply, logged)
    return logged
  }

  fastify.addHook('onRoute', function findForwarding (route) { markForwarding(route, reverseproxy.handler) })
  fastify.addHook('onRequest', function beginLine (request, reply, done) {
    const nameOf = explainingOf(request.raw) === undefined ? forwardingName(request) : undefined
    if (nameOf !== undefined) begin(request, reply, clock.now(), nameOf)
    done()
  })
  reverseproxy.observers.push(function noteTarget (attempt, { backend, reply, request, record }, target) {
    // a call that no client has asked for has no reply that could send
    if (reply.from === undefined) return
    // a handler of the app's own has forwarded it
    const logged = endings.of(reply) ?? begin(request, reply, record.startedAt, () => record.route)
    // what was ended from outside decides nothing
    if (attempt.outcome === 'aborted' && logged.target !== undefined) return
    logged.target = target
    logged.backend = backend
  })
  fastify.addHook('onReady', function watchParts (ready) {
    reverseproxy.gatherings?.push(function noteParts ({ reply, parts }) {
      const logged = endings.of(reply)
      if (logged !== undefined) logged.parts = parts
    })
    ready()
  })
}

/** Fastify's loggers know; one of the app's own may not. */
function isSilent ({ log }: FastifyRequest, level: LogLevel): boolean {
  return (log as { isLevelEnabled? (level: string): boolean }).isLevelEnabled?.(level) === false
}

export default fp(requestLog, { name: 'reverseproxy-request-log', fastify: '5.x', dependencies: ['reverseproxy-core'] })
