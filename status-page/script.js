// The status page: what it knows, and when it shows it. Everything else is in the files beside this one.

import { follow, token } from './api.js'
import { createBackends } from './backends.js'
import { attribute, byId, pill, show, text } from './dom.js'
import { span } from './format.js'
import { createHistory } from './history.js'
import { createOverview, problemsOf } from './overview.js'
import { createSamples } from './samples.js'
import { createSections } from './sections.js'
import { createTimeline } from './timeline.js'

const THEMES = ['auto', 'light', 'dark']
const history = createHistory()
const state = { status: undefined, backends: [], history }
/** What was told last: shown at once unless somebody has stopped the page. */
let connection = 'connecting'
let paused = false
let lostAt
let planned = false

function merge (backend) {
  state.backends = state.backends.map(one => one.name === backend.name ? backend : one)
  // somebody has pressed a button: they see what came of it, also while the page stands still
  backends.show(state.backends)
}

const backends = createBackends(history, merge)
const showOverview = createOverview(name => { backends.reveal(name) })
const showTimeline = createTimeline()
const showSamples = createSamples()
createSections()

// ---- what comes in

const TAKE = {
  status (status) { state.status = status },
  backends (all) { state.backends = all.backends ?? all },
  history: history.replace,
  point: history.point,
  transition: history.transition,
  sample: history.sample
}

function onEvent (name, data) {
  TAKE[name]?.(data)
  if (!paused) plan()
}

function onState (now, words = '') {
  if (now !== 'open' && connection === 'open') lostAt = Date.now()
  connection = now
  document.body.dataset.connection = now
  text(byId('door-error'), now === 'token' ? words : '')
  const asks = now === 'token'
  if (asks && byId('door').hidden) setTimeout(() => { byId('token').focus() })
  show(byId('door'), asks)
  show(byId('contents'), !asks && state.status !== undefined)
  show(byId('house'), !asks && state.status !== undefined)
  show(byId('forget'), token.get() !== undefined && !asks)
  if (now === 'refused') text(byId('about'), words)
  showConnection()
  showTitle(problemsOf(state))
}

// ---- what is shown

function showConnection () {
  const place = byId('connection')
  const words = {
    connecting: ['idle', 'Connecting'],
    open: paused ? ['warn', 'Paused'] : ['good', 'Live'],
    lost: ['bad', 'Connection lost, trying again'],
    token: ['idle', 'Token needed'],
    refused: ['bad', 'Refused']
  }[connection]
  pill(place, words[0], words[1], lostAt === undefined || connection === 'open' ? undefined : `The numbers are those of ${new Date(lostAt).toLocaleTimeString('en-GB')}`)
}

function showHead (problems) {
  const { status } = state
  const { state: now, ready, version, node, pid, worker, startedAt } = status
  pill(byId('state'), now === 'draining' ? 'warn' : ready ? 'good' : 'bad', now === 'draining' ? 'Draining' : ready ? 'Serving' : 'Not ready')
  text(byId('about'), [`version ${version}`, `up ${span(history.now() - Date.parse(startedAt))}`, worker === null ? '' : `worker ${worker}`, `pid ${pid}`, `Node ${node}`].filter(part => part !== '').join(' · '))
  attribute(byId('about'), 'title', `since ${new Date(startedAt).toString()}`)
  showTitle(problems)
}

function showTitle (problems) {
  const colour = problems.length === 0 ? '%231a7f4b' : '%23c0272d'
  const shape = problems.length === 0 ? "%3Ccircle cx='8' cy='8' r='7'/%3E" : "%3Cpath d='M8 1l7 14H1z'/%3E"
  document.title = `${['lost', 'refused'].includes(connection) ? '(offline) ' : ''}${problems.length === 0 ? '' : `(${problems.length}) `}Gateway status`
  attribute(byId('icon'), 'href', `data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='${colour}'%3E${shape}%3C/svg%3E`)
}

function render () {
  planned = false
  if (state.status === undefined) return
  if (byId('house').hidden && connection === 'open') {
    show(byId('house'), true)
    show(byId('contents'), true)
  }
  const problems = problemsOf(state)
  showHead(problems)
  showOverview(state, problems)
  backends.show(state.backends)
  showTimeline(history)
  showSamples(history)
}

/** Once a frame at most. A page that nobody sees keeps its title up to date, for that is what is seen of it. */
function plan () {
  if (document.hidden && state.status !== undefined) showTitle(problemsOf(state))
  if (planned) return
  planned = true
  requestAnimationFrame(render)
}

// ---- what people do

byId('pause').addEventListener('click', () => {
  paused = !paused
  attribute(byId('pause'), 'aria-pressed', String(paused))
  document.body.classList.toggle('paused', paused)
  showConnection()
  if (!paused) plan()
})

function setTheme (theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
  text(byId('theme'), `Theme: ${theme}`)
}

let theme = 'auto'
try {
  theme = THEMES.find(one => one === localStorage.getItem('reverseproxy-theme')) ?? 'auto'
} catch {}
setTheme(theme)
byId('theme').addEventListener('click', () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]
  setTheme(theme)
  try {
    localStorage.setItem('reverseproxy-theme', theme)
  } catch {}
})

const beginAnew = follow(onEvent, onState)
byId('door-form').addEventListener('submit', event => {
  event.preventDefault()
  token.set(byId('token').value.trim())
  byId('token').value = ''
  beginAnew()
})
byId('forget').addEventListener('click', () => {
  token.set(undefined)
  state.status = undefined
  state.backends = []
  history.replace({ interval: 1_000, points: [], transitions: [], samples: [] })
  beginAnew()
})
