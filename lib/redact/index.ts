/** Keeps secrets out of what is written down: one redactor for the dump, logs and whatever else shows requests. */
import { redactBody } from './body.ts'
import { redactUrl } from './form.ts'
import { memo } from './memo.ts'
import { createSecretNames } from './names.ts'
import { isSuspicious, redactText } from './text.ts'
import { REDACTED } from './types.ts'
import type { RedactConfig, Redactor } from './types.ts'

export { memo } from './memo.ts'
export { REDACTED } from './types.ts'
export type { BodyToRedact, RedactConfig, RedactedBody, Redactor } from './types.ts'

/** Only what is secret by its common name. */
export const DEFAULT_REDACTION: RedactConfig = Object.freeze({ headers: [], query: [], json: [], replaceDefaults: false })

const HOSTS = new Set(['host', 'x-forwarded-host', 'x-forwarded-server', 'x-original-host'])

/** What goes by the name of a secret is replaced by {@link REDACTED}; bearer tokens, JWTs, private keys and users in URLs are so wherever they stand. */
export function createRedactor (config: RedactConfig = DEFAULT_REDACTION): Redactor {
  const names = createSecretNames(config)

  // `max-age=60`, `timeout=5`, `charset=utf-8`: most values that need a look are always the same; no secret is remembered
  const shownValue = memo(value => value.includes('?') ? redactUrl(value, names) : redactText(value, names), (value, shown) => value === shown)

  function header (name: string, value: string): string {
    if (names.has(name, 'header')) return REDACTED
    // of a request target in absolute form it may have what stood before the host
    if (value.includes('@') && HOSTS.has(name.toLowerCase())) return `${REDACTED}${value.slice(value.lastIndexOf('@'))}`
    return isSuspicious(value) ? shownValue(value) : value
  }

  return {
    header,
    url: url => redactUrl(url, names),
    text: text => redactText(text, names),
    urlOrText: value => value.includes('://') || value.startsWith('/') ? redactUrl(value, names) : redactText(value, names),
    body: body => redactBody(body, names)
  }
}
