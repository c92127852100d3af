// What can be done here: asked first where it takes traffic away, then told how it went.

import { call } from './api.js'
import { attribute, byId, h, show, text } from './dom.js'
import { host } from './format.js'

/** A success is told for this long, ms; an error until it is dismissed. */
const TOLD = 8_000

/** By what a button says. `sure`: what it means, where it takes traffic away. */
const ACTIONS = {
  drain: {
    path: 'drain',
    words: 'Drain',
    done: target => `${target} is being drained.`,
    sure: (target, backend) => `${target} finishes what it has begun and gets no new requests of ${backend} until it is undrained.`
  },
  undrain: { path: 'undrain', words: 'Undrain', done: target => `${target} takes requests again.` },
  open: {
    path: 'breaker/open',
    words: 'Open circuit',
    done: target => `The circuit of ${target} is open.`,
    sure: (target, backend) => `${target} gets no requests of ${backend} until its circuit lets a trial through.`
  },
  close: { path: 'breaker/close', words: 'Close circuit', done: target => `The circuit of ${target} is closed.` },
  check: { path: 'check', words: 'Check now', done: (target, { healthy }) => healthy === false ? `${target} is not healthy.` : healthy === true ? `${target} is healthy.` : `${target} has no health check.` }
}

let opener
byId('sure-no').addEventListener('click', () => { byId('sure').close() })
byId('sure').addEventListener('close', () => { opener?.focus() })

/** Asks; undefined where nobody has to be asked. */
function confirmed (action, backend, target) {
  if (action.sure === undefined) return true
  text(byId('sure-title'), `${action.words}: ${host(target)}?`)
  text(byId('sure-text'), action.sure(host(target), backend.name))
  const others = backend.targets.filter(({ url, excluded }) => url !== target && excluded === null)
  text(byId('sure-warning'), others.length === 0 ? `No other target of ${backend.name} takes requests: it would be down.` : '')
  show(byId('sure-warning'), others.length === 0)
  text(byId('sure-yes'), action.words)
  opener = document.activeElement
  const dialog = byId('sure')
  dialog.showModal()
  byId('sure-no').focus()
  return new Promise(resolve => {
    const { signal, abort } = (control => ({ signal: control.signal, abort: () => { control.abort() } }))(new AbortController())
    byId('sure-yes').addEventListener('click', () => {
      resolve(true)
      dialog.close()
    }, { signal })
    dialog.addEventListener('close', () => {
      resolve(false)
      abort()
    }, { signal })
  })
}

let timer
function tell (place, words) {
  const other = place === 'news-result' ? 'news-error' : 'news-result'
  byId(other).replaceChildren()
  const dismiss = h('button', { type: 'button', 'aria-label': 'Dismiss', onclick () { byId(place).replaceChildren() } }, '×')
  byId(place).replaceChildren(h('p', {}, h('span', {}, words), dismiss))
  clearTimeout(timer)
  if (place === 'news-result') timer = setTimeout(() => { byId(place).replaceChildren() }, TOLD)
}

/**
 * A button that does it. `now()` gives the backend as it is; `onResult` gets it as it is afterwards. `target` undefined: all.
 * `become(name)` makes it another action's button, with the focus where it was.
 */
export function createAction (name, target, now, onResult) {
  let running = false
  let action = ACTIONS[name]
  const label = () => `${action.words} ${target === undefined ? '' : host(target)}`.trim()

  async function run () {
    const doing = action
    const backend = now()
    if (running || !await confirmed(doing, backend, target)) return
    running = true
    attribute(node, 'aria-disabled', 'true')
    const who = target === undefined ? backend.name : host(target)
    try {
      const result = await call(`/backends/${encodeURIComponent(backend.name)}/${doing.path}`, target === undefined ? {} : { target })
      tell('news-result', doing.done(who, result))
      onResult(result.backend)
    } catch ({ message }) {
      tell('news-error', `${doing.words} ${who}: ${message}`)
    } finally {
      running = false
      attribute(node, 'aria-disabled', undefined)
    }
  }

  const node = h('button', { type: 'button', class: 'small', onclick: run, 'aria-label': label() }, action.words)
  return {
    node,
    become (other) {
      if (ACTIONS[other] === action) return
      action = ACTIONS[other]
      text(node, action.words)
      attribute(node, 'aria-label', label())
    }
  }
}
