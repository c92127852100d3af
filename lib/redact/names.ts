/** Which names stand for secrets. */
import { memo } from './memo.ts'
import type { RedactConfig } from './types.ts'

/** Where a name stands: some mean a secret in a URL, and next to nothing elsewhere. */
export type Place = 'header' | 'query' | 'json' | 'text'

export interface SecretNames {
  /** Whether what goes by this name is secret. */
  has (name: string, place: Place): boolean
  /** Ways of names from the top of a JSON value, `*` for any name. */
  readonly paths: ReadonlyArray<readonly string[]>
}

/** What no rule below finds. Without case and without what separates words; browsers can put a token nowhere else but in a subprotocol. */
const HEADERS = new Set(['cookie2', 'setcookie2', 'authenticationinfo', 'xamznoidcdata', 'secwebsocketprotocol'])

/** A name that ends so, whatever stands before it: `access_token`, `dbPassword`, `X-Api-Key`. */
const ENDINGS = [
  'token', 'password', 'passwd', 'passphrase', 'passcode', 'secret', 'apikey', 'authkey', 'secretkey', 'privatekey', 'accesskey', 'signingkey', 'encryptionkey',
  'signature', 'credential', 'credentials', 'authorization', 'cookie', 'jwt', 'assertion', 'sessionid', 'verifier'
]

const WHOLE = new Set([
  'key', 'code', 'pwd', 'pass', 'pin', 'otp', 'totp', 'sig', 'hmac', 'auth', 'sid', 'session', 'csrf', 'authentication', 'cardnumber', 'bearer', 'samlresponse', 'samlrequest', 'cvv', 'cvc',
  'tokens', 'passwords', 'secrets', 'apikeys', 'accesstokens', 'refreshtokens', 'phpsessid', 'jsessionid', 'connectsid'
])

/** They end as secrets do and are none: how a list goes on. */
const HARMLESS = new Set(['nextpagetoken', 'pagetoken', 'nexttoken', 'continuationtoken', 'publicsignature'])

/** In running text they are words like others. */
const ONLY_AS_PARAMETER = new Set(['key', 'code', 'pass', 'pin', 'auth'])

export function createSecretNames ({ headers, query, json, replaceDefaults }: RedactConfig): SecretNames {
  const own = {
    header: new Set(headers.map(name => name.toLowerCase())),
    query: new Set(query.map(plain)),
    json: new Set(json.filter(path => !path.includes('.')).map(plain))
  }
  const isOwn = (name: string, place: Place): boolean => {
    if (place === 'header') return own.header.has(name.toLowerCase())
    const whole = plain(name)
    return place === 'text' ? own.query.has(whole) || own.json.has(whole) : own[place].has(whole)
  }
  const at = (place: Place): (name: string) => boolean => memo(name => isOwn(name, place) || (!replaceDefaults && isCommon(name, place)))
  const secret: Record<Place, (name: string) => boolean> = { header: at('header'), query: at('query'), json: at('json'), text: at('text') }

  return {
    has: (name, place) => secret[place](name),
    paths: json.filter(path => path.includes('.')).map(path => path.split('.'))
  }
}

function isCommon (name: string, place: Place): boolean {
  const whole = plain(name)
  if (place === 'header') return HEADERS.has(whole) || whole.endsWith('auth') || isSecret(whole.replace(/^x/, ''))
  if (place === 'text' && ONLY_AS_PARAMETER.has(whole)) return false
  if (isSecret(whole)) return true
  // a form's `user[password]`
  const last = /[^.[\]]+(?=\]*$)/.exec(name)?.[0]
  return last !== undefined && last.length !== name.length && isSecret(plain(last))
}

function isSecret (whole: string): boolean {
  return WHOLE.has(whole) || (ENDINGS.some(ending => whole.endsWith(ending)) && !HARMLESS.has(whole))
}

function plain (name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '')
}
