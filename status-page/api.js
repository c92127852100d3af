// The admin interface: questions, actions, and its stream of events. It stands where this page stands.

const prefix = location.pathname.replace(/\/+$/, '')
const KEY = `reverseproxy-admin-token:${prefix}`
/** Something comes every second; after this many ms without anything the connection is dead. */
const SILENCE = 6_000
const LONGEST_WAIT = 15_000

let kept
export const token = {
  get () {
    try {
      return sessionStorage.getItem(KEY) ?? kept
    } catch {
      // storage is forbidden here: it is asked for again after a reload
      return kept
    }
  },
  set (value) {
    kept = value
    try {
      if (value === undefined) sessionStorage.removeItem(KEY)
      else sessionStorage.setItem(KEY, value)
    } catch {}
  }
}

function ask (path, options = {}) {
  const secret = token.get()
  const authorization = secret === undefined ? undefined : { authorization: `Bearer ${secret}` }
  return fetch(prefix + path, { cache: 'no-store', credentials: 'same-origin', ...options, headers: { ...options.headers, ...authorization } })
}

async function refusalOf (response) {
  const body = await response.json().catch(() => undefined)
  const said = body?.message ?? response.statusText
  return Object.assign(new Error(`${said === '' ? 'refused' : said} (${response.status}${body?.code === undefined ? '' : `, ${body.code}`})`), { status: response.status })
}

/** @throws an Error with words for people, and `status` where there was an answer */
export async function call (path, body) {
  let response
  try {
    response = await ask(path, body === undefined
      ? { headers: { accept: 'application/json' } }
      : { method: 'POST', headers: { accept: 'application/json', 'content-type': 'application/json' }, body: JSON.stringify(body) })
  } catch {
    throw new Error('the gateway cannot be reached')
  }
  if (!response.ok) throw await refusalOf(response)
  return response.json()
}

/** Events of a stream, as `tell(name, data)`. */
async function read (body, tell, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    alive()
    const blocks = (rest + value).split(/\r?\n\r?\n/)
    rest = blocks.pop()
    for (const block of blocks) {
      let name = 'message'
      const data = []
      for (const line of block.split(/\r?\n/)) {
        if (line.startsWith('event:')) name = line.slice(6).trim()
        else if (line.startsWith('data:')) data.push(line.slice(5).trimStart())
      }
      if (data.length > 0) tell(name, JSON.parse(data.join('\n')))
    }
  }
}

/**
 * Reads `/events` for ever. `onState`: `open`, `lost`, `token` (one is asked for), `refused` (with words).
 * Returns what begins anew at once: with a new token, or without one.
 */
export function follow (onEvent, onState) {
  let wake = () => {}
  let patient = false
  let hurry = false
  let current

  /** What it came to, unless somebody has asked for a new beginning. */
  async function once () {
    const stop = current = new AbortController()
    let silence
    const alive = () => {
      clearTimeout(silence)
      silence = setTimeout(() => stop.abort(), SILENCE)
    }
    try {
      alive()
      const response = await ask('/events', { headers: { accept: 'text/event-stream' }, signal: stop.signal })
      if (response.status === 401) return { state: 'token', words: token.get() === undefined ? '' : 'This token was not accepted.' }
      if (!response.ok) return { state: response.status === 403 ? 'refused' : 'lost', words: (await refusalOf(response)).message }
      onState('open')
      await read(response.body, onEvent, alive)
    } catch {
      // it was cut, or was silent for too long
    } finally {
      clearTimeout(silence)
      stop.abort()
    }
    return { state: 'lost' }
  }

  async function forever () {
    let failures = 0
    for (;;) {
      const begun = Date.now()
      hurry = false
      const { state, words } = await once()
      if (hurry) continue
      failures = Date.now() - begun > SILENCE ? 0 : failures + 1
      patient = state === 'token'
      onState(state, words)
      await new Promise(resolve => {
        wake = resolve
        // up to half of it by chance: the pages of a gateway that comes back do not all knock at once
        if (!patient) setTimeout(resolve, Math.min(LONGEST_WAIT, 250 * 2 ** failures) * (0.5 + Math.random() / 2))
      })
    }
  }

  const again = () => { if (!patient) wake() }
  addEventListener('online', again)
  document.addEventListener('visibilitychange', () => { if (!document.hidden) again() })
  forever()
  return () => {
    hurry = true
    current.abort()
    wake()
  }
}
