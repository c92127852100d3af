// Requests that were looked at closely: a line each, which opens to a waterfall of where the time went.

import { byId, h, list, s, show, text } from './dom.js'
import { absolute, ago, clock, host, latency, plural } from './format.js'

const FEW = 12
const FAILED = new Set(['server-error', 'connect-error', 'reset', 'timeout', 'bad-response', 'rejected'])
const PART_TONES = { ok: 'good', failed: 'bad', fallback: 'warn', partial: 'warn', skipped: 'idle', empty: 'idle' }

const toneOf = outcome => outcome === null ? 'idle' : FAILED.has(outcome) ? 'bad' : outcome === 'ok' ? 'good' : 'warn'

/** The rows of the waterfall: `{ depth, name, tone, words, start, duration, pattern }`; a start of null: it did not begin. */
function rowsOf ({ duration, queued, outcome, status, parts, attempts }) {
  const attemptRow = depth => ({ target, backend, start, duration: took, outcome, status }) =>
    ({ depth, kind: 'attempt', name: `${backend === null ? '' : `${backend} `}${host(target)}`, tone: toneOf(outcome), words: `${outcome ?? 'not ended'}${status === null ? '' : `, ${status}`}`, start, duration: took ?? Math.max(0, duration - start) })
  return [
    { depth: 0, kind: 'whole', name: 'Request', tone: status >= 500 ? 'bad' : toneOf(outcome), words: `${outcome}, ${status}`, start: 0, duration },
    ...queued > 0 ? [{ depth: 1, kind: 'queue', name: 'Waited for a place', tone: 'idle', words: 'all calls together', start: 0, duration: queued }] : [],
    ...attempts.filter(({ part }) => part === null).map(attemptRow(1)),
    ...parts.flatMap(part => [
      { depth: 1, kind: 'part', name: part.name, tone: PART_TONES[part.state] ?? 'idle', words: `${part.state}${part.status === null ? '' : `, ${part.status}`}`, start: part.start, duration: part.duration },
      ...attempts.filter(attempt => attempt.part === part.name).map(attemptRow(2))
    ])
  ]
}

/** Bars in thousandths of the whole, as wide as there is room. The numbers stand beside it: nobody has to see it. */
function bar ({ kind, tone, start, duration }, whole) {
  const x = 1000 * start / whole
  return s('svg', { class: 'bar-line', viewBox: '0 0 1000 16', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...[250, 500, 750].map(at => s('line', { class: 'grid', x1: at, x2: at, y1: 0, y2: 16 })),
    s('rect', { class: `time ${kind} ${tone}`, x: x.toFixed(1), y: kind === 'whole' ? 5 : 2, width: Math.max(4, 1000 * duration / whole).toFixed(1), height: kind === 'whole' ? 6 : 12 }))
}

function waterfall (sample) {
  const rows = rowsOf(sample)
  const whole = Math.max(0.001, ...rows.map(({ start, duration }) => (start ?? 0) + duration))
  const columns = [['What'], ['When', 'axis-cell'], ['State'], ['Begins'], ['Takes']]
  const axis = h('span', { class: 'axis-labels', 'aria-hidden': 'true' }, ...[0, 0.25, 0.5, 0.75, 1].map(part => h('span', {}, part === 0 ? '0' : latency(part * whole))))
  return h('table', { class: 'waterfall', role: 'table', 'aria-label': `Where the time of ${sample.method} ${sample.url} went` },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...columns.map(([name, kind]) => h('th', { role: 'columnheader', scope: 'col', class: kind }, ...kind === undefined ? [name] : [h('span', { class: 'sr' }, name), axis])))),
    h('tbody', { role: 'rowgroup' }, ...rows.map(row => h('tr', { role: 'row', 'data-depth': row.depth },
      h('th', { role: 'rowheader', scope: 'row' }, row.name),
      h('td', { role: 'cell', class: 'bar-cell' }, row.start === null ? '' : bar(row, whole)),
      h('td', { role: 'cell' }, h('span', { class: 'pill', 'data-tone': row.tone }, row.words)),
      h('td', { role: 'cell', class: 'number' }, row.start === null ? '' : row.start === 0 ? '0 ms' : latency(row.start)),
      h('td', { role: 'cell', class: 'number' }, row.start === null ? '' : latency(row.duration))))))
}

function createSample (sample) {
  const { id, at, method, url, route, tenant, status, outcome, duration, requestId, attempts, parts } = sample
  const when = h('time', { datetime: new Date(at).toISOString(), title: absolute(at) })
  const tone = status >= 500 || FAILED.has(outcome) ? 'bad' : toneOf(outcome)
  const detail = h('div', { id: `sample-${id}`, class: 'detail', hidden: true })
  const toggle = h('button', { type: 'button', class: 'sample', 'aria-expanded': 'false', 'aria-controls': `sample-${id}` },
    when,
    h('span', { class: 'pill', 'data-tone': tone }, `${status}${tone === 'good' ? '' : ` ${outcome}`}`),
    h('span', { class: 'what' }, h('b', {}, method), ` ${url}`),
    h('span', { class: 'note' }, route),
    h('span', { class: 'number' }, latency(duration)))
  toggle.addEventListener('click', () => {
    const opened = detail.hidden
    if (opened && detail.firstChild === null) {
      detail.append(
        h('p', { class: 'quiet' }, [`request ${requestId}`, tenant === null ? '' : `tenant ${tenant}`, plural(attempts.length, 'attempt'), parts.length === 0 ? '' : plural(parts.length, 'part')].filter(part => part !== '').join(' · ')),
        waterfall(sample))
    }
    detail.hidden = !opened
    toggle.setAttribute('aria-expanded', String(opened))
  })
  return { node: h('li', {}, toggle, detail), update ({ now }) { text(when, now - at < 60_000 ? ago(at, now) : clock(at)) } }
}

export function createSamples () {
  const parent = byId('sample-list')
  const more = byId('samples-more')
  const whole = byId('samples-all')
  let all = false
  let shown = []
  let last
  /** What somebody reads, or points at, stays where it is. */
  const read = () => parent.matches(':hover') || parent.contains(document.activeElement) || parent.querySelector('[aria-expanded=true]') !== null

  function render (history, anyway = false) {
    last = history
    const now = history.now()
    const newest = [...history.samples].reverse()
    const ids = new Set(shown.map(({ id }) => id))
    const fresh = newest.filter(({ id }) => !ids.has(id)).length
    if (anyway || fresh === 0 || !read()) shown = newest
    const waiting = shown === newest ? 0 : fresh
    show(more, waiting > 0)
    text(more, `Show ${waiting} new`)
    show(byId('samples-none'), shown.length === 0)
    show(whole, shown.length > FEW)
    text(whole, all ? `Show the last ${FEW} only` : `Show all ${shown.length}`)
    list(parent, (all ? shown : shown.slice(0, FEW)).map(sample => ({ ...sample, now })), ({ id }) => id, createSample)
  }

  whole.addEventListener('click', () => {
    all = !all
    render(last)
  })
  more.addEventListener('click', () => {
    parent.closest('section').focus({ preventScroll: true })
    render(last, true)
  })
  return render
}
