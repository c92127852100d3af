/**
 * Certificates and what else TLS towards others may say.
 */
import { Type } from '@sinclair/typebox'
import { DEFAULTS } from '../defaults.ts'
import { bytes, object, text, words } from './values.ts'

const pem = (what: string, secret: boolean) => Type.Union([text('pem', { secret }), bytes()], {
  secret,
  rule: 'must be PEM text, in code also a Buffer, in a file also a path',
  description: `${what}: PEM text; in code also a Buffer, in a file also a path relative to it.`
})

/** One PEM, or a list of them. */
export const caSchema = Type.Union([
  text('pem'),
  bytes(),
  Type.Array(Type.Union([text('pem'), bytes()]), { minItems: 1 })
], {
  rule: 'must be PEM text (in code also a Buffer, in a file also a path), or a list of those',
  description: 'Certificates to trust instead of the system\'s: PEM text; in code also a Buffer, in a file also a path relative to it; or a list.'
})
export const certSchema = pem('Certificate', false)
export const keySchema = pem('Private key of the certificate', true)

/** Older ones are refused by OpenSSL itself. */
export const minVersionSchema = words(['TLSv1.2', 'TLSv1.3'], { description: 'Oldest version of TLS that will do. Default: what Node says, TLSv1.2.' })

export const tlsSchema = object({
  ca: Type.Optional(caSchema),
  cert: Type.Optional(certSchema),
  key: Type.Optional(keySchema),
  servername: Type.Optional(text('listenHost', { description: 'Name for SNI and for the check of the certificate. Default: the target\'s host.' })),
  minVersion: Type.Optional(minVersionSchema),
  rejectUnauthorized: Type.Optional(Type.Boolean({ default: DEFAULTS.tls.rejectUnauthorized, description: 'Whether the target\'s certificate must be valid. Switch it off for experiments only.' }))
}, { together: ['cert', 'key'], description: 'TLS to the targets.' })
