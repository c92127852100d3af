/**
 * Wrong options are told with their values, on terminals and in logs. What their names or their looks say is a secret is not,
 * wherever it stands: who mistypes an option puts it where no schema knows what it is.
 */
import { createSecretNames } from '../redact/names.ts'
import { createRedactor, DEFAULT_REDACTION } from '../redact/index.ts'
import { segments } from './paths.ts'

/** In the place of a secret. */
export const NOT_SHOWN = '(not shown)'
const DEEPEST = 16

/** Of options, also mistyped ones; what requests carry has other names besides. */
const SECRET_OPTION = /token|secret|passw|passphrase|api-?key|credential|pfx/i

/** Names that mean a secret in requests, and something else in options. */
const OPTIONS = new Set(['key', 'code', 'auth', 'session', 'cookie'])

/** Gives the value of the option at `path` as it may be told. */
export function createVeil (): (path: string, value: unknown) => unknown {
  const names = createSecretNames(DEFAULT_REDACTION)
  const redactor = createRedactor(DEFAULT_REDACTION)

  function isSecret (name: string, isHeader: boolean): boolean {
    // that without a dash is an option of composites
    if (isHeader) return name !== 'setCookie' && names.has(name, 'header')
    return SECRET_OPTION.test(name) || (!OPTIONS.has(name.toLowerCase()) && names.has(name, 'json'))
  }

  function within (value: unknown, isHeader: boolean, depth: number): unknown {
    if (typeof value === 'string') return redactor.urlOrText(value)
    if (typeof value !== 'object' || value === null || depth > DEEPEST) return value
    if (Array.isArray(value)) return value.map(item => within(item, isHeader, depth + 1))
    if (![Object.prototype, null].includes(Object.getPrototypeOf(value) as null)) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, isData(item) && isSecret(key, isHeader) ? NOT_SHOWN : within(item, isHeader || key === 'headers', depth + 1)]))
  }

  return function veil (path, value) {
    const ways = segments(path).filter(segment => typeof segment === 'string')
    const isHeader = ways.slice(0, -1).includes('headers')
    const name = ways.at(-1)
    // a name that is wrong is told itself
    return name !== undefined && value !== name && isData(value) && isSecret(name, isHeader) ? NOT_SHOWN : within(value, isHeader || name === 'headers', 0)
  }
}

/** There is nothing to hide in nothing, yes and no. */
function isData (value: unknown): boolean {
  return value !== undefined && value !== null && typeof value !== 'boolean' && value !== NOT_SHOWN
}
