/**
 * `server` of a configuration file: the Fastify instance around the gateway. And the file as a whole.
 */
import { Type, type Static } from '@sinclair/typebox'
import { DEFAULTS } from '../defaults.ts'
import { caSchema, certSchema, keySchema, minVersionSchema } from './tls.ts'
import { declarativeProperties, misplaced } from './gateway.ts'
import { duration, object, size, text, words } from './values.ts'

/** From few lines to many, and none. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const level = { default: DEFAULTS.server.logLevel, description: 'How much is logged. Lines of single requests are at "debug".' }

export const serverFileSchema = object({
  host: Type.Optional(text('listenHost', { default: DEFAULTS.server.host, description: 'Address to listen on; 0.0.0.0 for all of them.' })),
  port: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 65535 }), text('portText')], {
    default: DEFAULTS.server.port,
    rule: 'must be a port between 0 and 65535',
    description: 'Port to listen on; 0 takes a free one.'
  })),
  trustProxy: Type.Optional(Type.Union([
    Type.Boolean(),
    text('proxyAddress'),
    Type.Array(text('proxyAddress'), { minItems: 1 })
  ], {
    default: DEFAULTS.server.trustProxy,
    rule: 'must be true, false, an address or network, or a list of those',
    description: 'Whose forwarded headers are believed: nobody\'s, everybody\'s, or those of proxies with these addresses or in these networks.'
  })),
  https: Type.Optional(object({ cert: certSchema, key: keySchema, ca: Type.Optional(caSchema), minVersion: Type.Optional(minVersionSchema) }, { description: 'Serve TLS with this certificate. With `ca`, clients must show a certificate of it.' })),
  http2: Type.Optional(Type.Boolean({ default: DEFAULTS.server.http2, description: 'HTTP/2 beside HTTP/1.1; needs https.' })),
  maxHeaderSize: Type.Optional(size({ minimum: 1, description: 'Largest header block of a request; more is a 431. Default: what serverOptions sets.' })),
  requestTimeout: Type.Optional(duration({ description: 'Longest time for receiving a whole request; 0 switches it off. Default: what serverOptions sets.' })),
  connectionTimeout: Type.Optional(duration({ description: 'Longest silence of a connection; 0 switches it off. Default: what serverOptions sets.' })),
  keepAliveTimeout: Type.Optional(duration({ description: 'How long an idle connection is kept. Default: what serverOptions sets.' })),
  logger: Type.Optional(Type.Union([
    Type.Boolean(),
    words(LOG_LEVELS),
    object({ level: words(LOG_LEVELS, level) })
  ], { ...level, rule: `must be true, false, { level }, or one of ${LOG_LEVELS.join(', ')}` }))
}, {
  hints: { bodyLimit: 'set limits.body', logLevel: 'did you mean "logger"?' },
  description: 'The server: where it listens and what it accepts.'
})
export type ServerFileOptions = Static<typeof serverFileSchema>

/** A configuration file: the server, and the options of the gateway as far as a file can hold them. */
export const fileSchema = object({
  $schema: Type.Optional(Type.String({ description: 'For editors: where the JSON Schema of this file is.' })),
  server: Type.Optional(serverFileSchema),
  ...declarativeProperties
}, {
  title: 'Configuration of fastify-reverseproxy',
  // A place for anchors that YAML merges elsewhere.
  patternProperties: { '^x-': Type.Unknown() },
  hints: {
    ...misplaced,
    balancers: 'balancers of your own are functions: register the plugin in code',
    strategies: 'strategies of your own are functions: register the plugin in code',
    random: 'it is a function for tests: register the plugin in code'
  }
})
