// What has changed its state: a lane for each thing that did, and all changes in words.

import { attribute, byId, h, list, s, show, text } from './dom.js'
import { absolute, ago, clock, host, plural } from './format.js'
import { WINDOW } from './plots.js'

const MOST_LANES = 24
const FEW = 10
const KINDS = { breaker: 'circuit', health: 'health', target: 'target' }
/** How a state looks (a pattern and a colour each), and what has happened, in words. */
const STATES = {
  closed: ['good', 'closed', 'circuit closed'],
  open: ['bad', 'open', 'circuit opened'],
  'half-open': ['warn', 'half-open', 'circuit half-open: it lets a trial through'],
  healthy: ['good', 'healthy', 'healthy'],
  unhealthy: ['bad', 'unhealthy', 'unhealthy'],
  ejected: ['bad', 'ejected', 'taken out for a while, after failures'],
  active: ['good', 'active', 'active'],
  inactive: ['idle', 'inactive', 'switched off'],
  draining: ['warn', 'draining', 'draining'],
  added: ['good', 'added', 'added'],
  removed: ['idle', 'removed', 'removed']
}

/** The patterns of all lanes: stripes for bad, dots for warn, thin lines for idle; good is plain. */
function createPatterns () {
  const pattern = (tone, size, ...marks) => s('pattern', { id: `pattern-${tone}`, width: size, height: size, patternUnits: 'userSpaceOnUse', class: `pattern ${tone}` }, s('rect', { class: 'ground', width: size, height: size }), ...marks)
  return s('svg', { class: 'sr', 'aria-hidden': 'true', width: 0, height: 0 }, s('defs', {},
    pattern('bad', 8, s('path', { class: 'ink', d: 'M-2 2L2 -2M0 8L8 0M6 10L10 6' })),
    pattern('warn', 6, s('circle', { class: 'dot', cx: 3, cy: 3, r: 1.2 })),
    pattern('idle', 6, s('path', { class: 'ink', d: 'M0 3H6' }))))
}

function lanesOf (transitions, since) {
  const lanes = new Map()
  for (const transition of transitions) {
    const { kind, scope, backend, target } = transition
    const key = [kind, scope, backend, target].join('\n')
    const lane = lanes.get(key) ?? { key, kind, scope, backend, target, changes: [], last: 0 }
    lane.changes.push(transition)
    lane.last = transition.at
    lanes.set(key, lane)
  }
  return [...lanes.values()].filter(({ last }) => last > since).sort((a, b) => b.last - a.last)
}

/** A stretch of one state: a rectangle and its name where there is room. */
function createBand () {
  const rect = s('rect', { y: 2, height: 18, rx: 3 })
  const name = s('text', { y: 15 })
  return {
    node: s('g', {}, rect, name),
    update ({ from, to, state, width }) {
      const [tone, words] = STATES[state] ?? ['idle', state]
      attribute(rect, 'class', `band ${tone}`)
      attribute(rect, 'x', from.toFixed(1))
      attribute(rect, 'width', Math.max(3, to - from - 1).toFixed(1))
      attribute(name, 'class', `band-name ${tone}`)
      attribute(name, 'x', (from + 6).toFixed(1))
      text(name, to - from > words.length * 7 + 12 ? words : '')
      attribute(name, 'visibility', width === 0 ? 'hidden' : undefined)
    }
  }
}

function createLane (widthOf) {
  const title = h('span', { class: 'lane-title' })
  const about = h('span', { class: 'note' })
  const bands = s('g', {})
  const svg = s('svg', { class: 'bands', role: 'img' }, s('line', { class: 'grid', x1: 0, x2: '100%', y1: 11, y2: 11 }), bands)
  return {
    node: h('div', { class: 'lane' }, h('p', {}, title, about), svg),
    update ({ kind, scope, backend, target, changes, end }) {
      const width = widthOf()
      const x = at => Math.max(0, width * (1 - (end - at) / WINDOW))
      text(title, host(target))
      text(about, `${backend}, ${KINDS[kind]}${scope === '' ? '' : `, tenant ${scope}`}`)
      const stretches = changes.map(({ id, at, to }, index) => ({ id, state: to, from: x(at), to: x(changes[index + 1]?.at ?? end), width })).filter(({ to }) => to > 0)
      list(bands, stretches, ({ id }) => id, createBand)
      attribute(svg, 'aria-label', `${KINDS[kind]} of ${host(target)}: ${changes.filter(({ at }) => at > end - WINDOW).map(({ at, to }) => `${STATES[to]?.[1] ?? to} at ${clock(at)}`).join(', ')}`)
    }
  }
}

function createChange ({ at, kind, scope, backend, target, to }) {
  const when = h('time', { datetime: new Date(at).toISOString(), title: absolute(at) })
  const [tone, , words] = STATES[to] ?? ['idle', to, `${KINDS[kind]}: ${to}`]
  return {
    node: h('li', { 'data-tone': tone }, when, ' ', h('span', {}, h('b', {}, `${backend} ${host(target)}`), `: ${words}${scope === '' ? '' : ` (tenant ${scope})`}`)),
    update ({ now }) { text(when, `${clock(at)}, ${ago(at, now)}`) }
  }
}

export function createTimeline () {
  const lanes = byId('lanes')
  const rows = h('div', {})
  const more = h('p', { class: 'quiet' })
  const times = h('p', { class: 'lane-times axis-labels', 'aria-hidden': 'true' }, ...['−5 min', '−4', '−3', '−2', '−1', 'now'].map(words => h('span', {}, words)))
  lanes.append(createPatterns(), rows, times, more)
  let width = 0
  let all = false
  let last
  new ResizeObserver(([{ contentRect }]) => {
    ({ width } = contentRect)
    if (last !== undefined) render(last)
  }).observe(times)
  byId('changes-more').addEventListener('click', () => {
    all = !all
    render(last)
  })

  function render (history) {
    last = history
    const now = history.now()
    const recent = history.transitions.filter(({ at }) => at > now - WINDOW)
    const found = lanesOf(history.transitions, now - WINDOW)
    list(rows, found.slice(0, MOST_LANES).map(lane => ({ ...lane, end: now })), ({ key }) => key, () => createLane(() => width))
    text(more, found.length > MOST_LANES ? `and ${plural(found.length - MOST_LANES, 'more')}` : '')
    show(byId('timeline-none'), recent.length === 0)
    show(lanes, recent.length > 0)
    show(byId('changes-title'), recent.length > 0)
    const changes = recent.reverse()
    list(byId('changes'), (all ? changes : changes.slice(0, FEW)).map(change => ({ ...change, now })), ({ id }) => id, createChange)
    show(byId('changes-more'), changes.length > FEW)
    text(byId('changes-more'), all ? `Show the last ${FEW} only` : `Show all ${changes.length}`)
  }
  return render
}
