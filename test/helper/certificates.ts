/** A certificate authority and a certificate for localhost and 127.0.0.1, made by openssl for one test run. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificates {
  /** PEM. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export function makeCertificates (): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'rp-tls-'))
  const file = (name: string): string => join(folder, name)
  const openssl = (...args: string[]): void => { execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] }) }
  try {
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    openssl('req', '-x509', ...ec, '-keyout', file('ca.key'), '-out', file('ca.pem'), '-days', '2', '-subj', '/CN=test authority')
    openssl('req', ...ec, '-keyout', file('key.pem'), '-out', file('request.pem'), '-subj', '/CN=localhost')
    writeFileSync(file('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    openssl('x509', '-req', '-in', file('request.pem'), '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-out', file('cert.pem'), '-days', '2', '-extfile', file('names'))
    const read = (name: string): string => readFileSync(file(name), 'utf8')
    return { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
