// The targets of one backend: a row each, which a narrow page folds into a block.

import { createAction } from './actions.js'
import { attribute, h, list, pill, show, text } from './dom.js'
import { count, host, latency, percent, plural, span, upper } from './format.js'

const COLUMNS = ['Target', 'State', 'Health', 'Circuit', 'In flight', 'Attempts', 'Actions']
const STATES = { active: ['good', 'Active'], draining: ['warn', 'Draining'], inactive: ['idle', 'Inactive'] }
const CIRCUITS = { closed: ['good', 'Closed'], open: ['bad', 'Open'], 'half-open': ['warn', 'Half-open'] }
const REASONS = [
  ['draining', () => 'it is being drained'],
  ['inactive', () => 'it is switched off'],
  ['weight 0', () => 'its weight is 0'],
  ['unhealthy', () => 'its health checks fail'],
  ['ejected', () => 'it has failed too often and was taken out for a while'],
  ['circuit-open', rest => `its circuit is open${rest}`],
  ['limit', rest => `its limit of connections is reached${rest}`],
  ['warming', () => 'it has just come back and warms up']
]

/** `circuit-open: a trial in 12 s` in words for people. */
export function reasonInWords (excluded) {
  const [start, words] = REASONS.find(([start]) => excluded.startsWith(start)) ?? ['', () => excluded]
  return words(excluded.slice(start.length).replace(/^:/, ','))
}

/** Broken between the facts only, where they are short. */
const facts = parts => parts.filter(part => part !== undefined && part !== '').map(part => part.length < 24 ? part.replaceAll(' ', '\u00a0') : part).join(' · ')

function metadataInWords (metadata) {
  return Object.entries(metadata).map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join(' ')
}

function healthOf ({ health: { healthy, reason, ejectedFor, check } }) {
  const words = healthy ? 'Healthy' : ejectedFor === null ? 'Unhealthy' : 'Ejected'
  const checked = check === null
    ? 'no checks'
    : check.agoMs === null ? 'not checked yet' : `${check.ok === false ? `failed${check.detail === null ? '' : ` (${check.detail})`}` : 'ok'} ${span(check.agoMs)} ago`
  const why = reason === null || reason === check?.detail ? undefined : reason
  return { tone: healthy ? 'good' : 'bad', words, note: facts([ejectedFor === null ? why : `${facts([why, `back in ${span(ejectedFor)}`])}`, checked]), title: check === null ? undefined : `${plural(check.checks, 'check')}, ${count(check.failures)} failed` }
}

function circuitOf ({ breaker }) {
  if (breaker === null) return { tone: 'idle', words: 'None', note: 'no call yet' }
  const { state, retryAfter, stats: { consecutive, opened, window } } = breaker
  const [tone, words] = CIRCUITS[state]
  const note = state === 'closed' ? (consecutive > 0 ? `${plural(consecutive, 'failure')} in a row` : '') : retryAfter > 0 ? `trial in ${span(Math.ceil(retryAfter / 1000) * 1000)}` : 'trial now'
  return { tone, words, note: facts([note, opened > 0 ? `opened ${count(opened)}×` : '']), title: window === undefined ? undefined : `${count(window.failures)} of ${count(window.total)} failed in its window` }
}

function createCell (label, ...children) {
  return h('td', { role: 'cell', 'data-label': label }, ...children)
}

/** A pill over a quiet line. */
function createFact (label) {
  const mark = h('span', { class: 'pill' })
  const note = h('span', { class: 'note' })
  return {
    node: createCell(label, mark, note),
    update ({ tone, words, note: more, title }) {
      pill(mark, tone, words, title)
      text(note, more)
    }
  }
}

/** Two lines of numbers. */
function createNumbers (label) {
  const first = h('span', { class: 'number' })
  const note = h('span', { class: 'note' })
  return {
    node: createCell(label, first, note),
    update (number, more, title) {
      text(first, number)
      text(note, more)
      attribute(first, 'title', title)
    }
  }
}

function createTarget (url, now, onResult) {
  const [state, health, circuit] = ['State', 'Health', 'Circuit'].map(createFact)
  const [running, attempts] = ['In flight', 'Attempts'].map(createNumbers)
  const about = h('span', { class: 'note' })
  const why = h('span', { class: 'why' })
  const drain = createAction('drain', url, now, onResult)
  const breaker = createAction('open', url, now, onResult)
  const check = createAction('check', url, now, onResult)
  const node = h('tr', { role: 'row' },
    h('th', { role: 'rowheader', scope: 'row' }, h('span', { class: 'url' }, host(url)), about, why),
    state.node, health.node, circuit.node, running.node, attempts.node,
    createCell('Actions', h('div', { class: 'actions' }, drain.node, breaker.node, check.node)))

  return {
    node,
    update (target) {
      const { weight, maxConnections, metadata, excluded, inflight, pool, started } = target
      attribute(node, 'data-tone', excluded === null ? undefined : target.state === 'active' && weight > 0 ? 'bad' : 'warn')
      text(about, facts([`weight ${weight}`, metadataInWords(metadata)]))
      text(why, excluded === null ? '' : `Gets no requests: ${reasonInWords(excluded)}.`)
      const [tone, words] = STATES[target.state]
      state.update({ tone, words, note: '' })
      health.update(healthOf(target))
      circuit.update(circuitOf(target))
      running.update(`${count(inflight)}${maxConnections === null ? '' : ` of ${count(maxConnections)}`}`,
        pool === null ? 'no connections' : facts([plural(pool.connected, 'connection'), `${count(pool.free)} free`, pool.queued > 0 ? `${count(pool.queued)} queued` : '']), `${count(started)} started ever`)
      attempts.update(count(target.attempts),
        target.attempts === 0 ? '' : `${percent(target.failures, target.attempts)} failed\n${facts([`p50 ${latency(target.latency.p50)}`, `p95 ${latency(target.latency.p95)}`])}`, `${count(target.failures)} failed`)
      drain.become(target.state === 'draining' ? 'undrain' : 'drain')
      breaker.become(target.breaker?.state === 'closed' ? 'open' : 'close')
      show(drain.node, target.state !== 'inactive')
      show(breaker.node, target.breaker !== null)
      show(check.node, target.health.check !== null)
    }
  }
}

/** `now()`: the backend as it is. */
export function createTargets (now, onResult) {
  const body = h('tbody', { role: 'rowgroup' })
  const node = h('table', { role: 'table', class: 'targets', 'aria-label': `Targets of ${now().name}` },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...COLUMNS.map(name => h('th', { role: 'columnheader', scope: 'col' }, name)))), body)
  return {
    node,
    update () {
      list(body, now().targets, ({ url }) => url, ({ url }) => createTarget(url, now, onResult))
    }
  }
}

/** For the filter: everything that somebody may look for. */
export const wordsOf = ({ name, state, balancer, targets, discovery }) =>
  [name, state, balancer, discovery?.source ?? '', ...targets.map(target => [target.url, target.state, upper(target.excluded ?? ''), metadataInWords(target.metadata)].join(' '))].join('\n').toLowerCase()
