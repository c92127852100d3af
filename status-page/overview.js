// The first things to look at: problems, numbers of now, two plots.

import { attribute, byId, h, list, show, text } from './dom.js'
import { absolute, count, latency, percent, plural, rate, upper } from './format.js'
import { createPlot } from './plots.js'

/** More problems are only counted. */
const MOST = 8
const TILES = ['Requests', 'Failed', 'Latency p50', 'Latency p95', 'In flight', 'WebSockets', 'Event streams', 'Traffic dump']

/** What somebody should look at: `{ key, words, backend? }`. */
export function problemsOf ({ status, backends }) {
  const problems = []
  if (status?.state === 'draining') problems.push({ key: 'draining', words: 'The gateway is closing: it finishes what it has begun.' })
  if (status !== undefined && !status.ready) problems.push({ key: 'ready', words: `Not ready${status.notReady.length === 0 ? '' : `: ${status.notReady.join('; ')}`}` })
  for (const { name, state, targets, discovery } of backends) {
    // those that are drained or switched off were meant to be
    const wanted = targets.filter(({ state, weight }) => state === 'active' && weight > 0)
    const out = wanted.filter(({ excluded }) => excluded !== null).length
    if (state === 'down') problems.push({ key: `state ${name}`, backend: name, words: downInWords(targets, wanted) })
    if (state === 'degraded') problems.push({ key: `state ${name}`, backend: name, words: `is degraded: ${count(out)} of ${plural(wanted.length, 'target')} ${out === 1 ? 'takes' : 'take'} no requests` })
    if ((discovery?.fault ?? null) !== null) problems.push({ key: `discovery ${name}`, backend: name, words: `cannot be discovered: ${discovery.fault}` })
  }
  return problems
}

function downInWords (targets, wanted) {
  if (targets.length === 0) return 'has no targets'
  if (wanted.length === 0) return 'is down: all of its targets are drained or switched off'
  return wanted.length === 1 ? 'is down: its only target takes no requests' : `is down: none of its ${count(wanted.length)} targets takes requests`
}

export function createOverview (openBackend) {
  const tiles = new Map(TILES.map(name => {
    const value = h('span', { class: 'value' }, '–')
    const unit = h('span', { class: 'unit' })
    const note = h('span', { class: 'note' }, '\u00a0')
    byId('tiles').append(h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, h('span', { class: 'figure' }, value, unit), note)))
    return [name, (number, words, tone) => {
      const [, figure, measure = ''] = /^(\S+)(?: (.*))?$/.exec(number)
      text(value, figure)
      text(unit, measure)
      text(note, words)
      value.parentNode.dataset.tone = tone ?? ''
    }]
  }))
  let perSecond = number => number
  const ratePlot = createPlot({
    title: 'Requests per second',
    unit: number => rate(number),
    least: 1,
    series: [
      { name: 'all', kind: 'all', shape: 'area', value: ({ requests }) => perSecond(requests.count) },
      { name: 'failed', kind: 'failed', shape: 'bars', value: ({ requests }) => perSecond(requests.failures) }
    ],
    say: ({ requests }) => `${rate(perSecond(requests.count))} requests/s, ${count(requests.failures)} failed`
  })
  const known = ({ requests }, value) => requests.count > 0 ? value : undefined
  const latencyPlot = createPlot({
    title: 'Latency',
    unit: number => latency(number),
    least: 1,
    series: [
      { name: 'p95', kind: 'high', shape: 'line', value: point => known(point, point.requests.p95) },
      { name: 'p50', kind: 'middle', shape: 'line', value: point => known(point, point.requests.p50) }
    ],
    say: ({ requests }) => requests.count === 0 ? 'no requests' : `p50 ${latency(requests.p50)}, p95 ${latency(requests.p95)}`
  })
  byId('plots').append(ratePlot.node, latencyPlot.node)

  function showTiles ({ status, history }) {
    const { count: requests, failures, rate: pace, p50, p95 } = history.lately()
    const { requests: total, trafficDump: dump } = status
    tiles.get('Requests')(`${rate(pace)} /s`, `${count(total.total)} in all`)
    tiles.get('Failed')(percent(failures, requests), `${count(total.failures)} in all`, failures > 0 ? 'bad' : '')
    tiles.get('Latency p50')(p50 === undefined ? '–' : latency(p50), `${latency(total.p50)} in all`)
    tiles.get('Latency p95')(p95 === undefined ? '–' : latency(p95), `${latency(total.p95)} in all`)
    tiles.get('In flight')(count(total.inFlight), plural(status.targets.usable, 'usable target'))
    tiles.get('WebSockets')(count(status.websockets), 'open now')
    tiles.get('Event streams')(count(status.eventStreams), 'open now')
    if (dump === null) tiles.get('Traffic dump')('off', 'nothing is written')
    else {
      const facts = [['dropped', dump.dropped], ['failed', dump.failed], ['waiting', dump.queued]].filter(([, number]) => number > 0).map(([name, number]) => `${count(number)} ${name}`).join(', ')
      tiles.get('Traffic dump')(`${count(dump.written)} lines`, facts, dump.dropped + dump.failed > 0 ? 'warn' : '')
    }
    attribute(byId('tiles'), 'title', `In all: since ${absolute(Date.parse(status.since))}`)
  }

  function showProblems (problems) {
    text(byId('problems-title'), problems.length === 0 ? 'No problems' : plural(problems.length, 'problem'))
    byId('problems').dataset.tone = problems.length === 0 ? 'good' : 'bad'
    const items = byId('problems').querySelector('ul')
    show(items, problems.length > 0)
    const more = problems.length - MOST
    list(items, more > 0 ? [...problems.slice(0, MOST), { key: 'more', words: `and ${count(more)} more` }] : problems, ({ key }) => key, ({ backend }) => {
      const words = h('span', {})
      const node = h('li', {}, backend === undefined ? undefined : h('a', { href: '#backends', onclick (event) { event.preventDefault(); openBackend(backend) } }, backend), backend === undefined ? undefined : ' ', words)
      return { node, update: problem => { text(words, problem.words) } }
    })
  }

  return function showOverview (state, problems) {
    ({ perSecond } = state.history)
    showProblems(problems)
    if (state.status === undefined) return
    showTiles(state)
    ratePlot.update(state.history.points)
    latencyPlot.update(state.history.points)
    byId('now-title').textContent = `${upper(state.status.state)} now`
  }
}
