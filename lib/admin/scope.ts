/** A scope of its own for the admin interface: nothing of the app's parsers, validators and serializers holds there. */
import { STATUS_CODES } from 'node:http'
import { Ajv, type ErrorObject } from 'ajv'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** Of the bodies that actions take. */
export const BODY_LIMIT = 65_536

export function isolate (context: FastifyInstance): void {
  const ajv = new Ajv({ strict: false, allErrors: false })
  const coercing = new Ajv({ strict: false, allErrors: false, coerceTypes: 'array' })
  context.removeAllContentTypeParsers()
  const parseJson = context.getDefaultJsonParser('error', 'error')
  context.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit: BODY_LIMIT }, (request, body, done) => {
    if (body === '') done(null, {})
    else parseJson(request, body as string, done)
  })
  context.setValidatorCompiler(({ schema, httpPart }) => (httpPart === 'querystring' ? coercing : ajv).compile(schema as object))
  // schemas tell what comes; what goes is told as it is
  context.setSerializerCompiler(() => data => JSON.stringify(data))
  context.setReplySerializer(payload => JSON.stringify(payload))
  context.setSchemaErrorFormatter((errors, part) => new Error(describe(errors[0] as ErrorObject, part)))
  context.setErrorHandler(answerError)
  context.addHook('preValidation', function readInput (request, _reply, done) {
    // not as the app reads them
    request.query = queryOf(request.raw.url!)
    if (request.method === 'POST') request.body ??= {}
    done()
  })
}

function describe ({ instancePath, keyword, message = 'is wrong', params }: ErrorObject, part: string): string {
  const where = `${part}${instancePath}`
  return keyword === 'additionalProperties' ? `${where} must not have ${JSON.stringify((params as { additionalProperty?: string }).additionalProperty)}` : `${where} ${message}`
}

function queryOf (url: string): Record<string, string | string[]> {
  const query = Object.create(null) as Record<string, string | string[]>
  const at = url.indexOf('?')
  if (at === -1) return query
  const found = new URLSearchParams(url.slice(at + 1))
  for (const name of new Set(found.keys())) {
    const values = found.getAll(name)
    query[name] = values.length === 1 ? values[0]! : values
  }
  return query
}

function answerError (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { statusCode: said = 500, code, message, headers = {} } = (thrown ?? {}) as { statusCode?: number, code?: string, message?: string, headers?: Record<string, string> }
  const statusCode = Number.isInteger(said) && said >= 400 && said < 600 ? said : 500
  const error = STATUS_CODES[statusCode] ?? 'Error'
  if (statusCode === 500) request.log.error({ err: thrown }, 'the admin interface has failed')
  reply.code(statusCode).headers(headers).type('application/json; charset=utf-8')
    .send({ statusCode, ...(typeof code === 'string' ? { code } : undefined), error, message: statusCode === 500 ? error : message ?? error })
}
