// The backends: a card each, found by the filter, in the chosen order. Only cards that are on the screen are kept up to date.

import { createAction } from './actions.js'
import { attribute, byId, h, list, pill, s, show, text } from './dom.js'
import { absolute, ago, count, latency, percent, plural, rate } from './format.js'
import { createSpark } from './plots.js'
import { createTargets, wordsOf } from './targets.js'

/** With more backends than these, those without problems begin folded; on a small screen there is less room. */
const FEW = matchMedia('(max-width: 760px)').matches ? 2 : 8
const TONES = { ok: ['good', 'OK'], degraded: ['warn', 'Degraded'], down: ['bad', 'Down'] }
const BADNESS = { down: 0, degraded: 1, ok: 2 }
const METER = 132

const hasProblem = ({ state, discovery }) => state !== 'ok' || (discovery?.fault ?? null) !== null

/** A number with a name, and a very small plot under it. */
function createFigure (name, extra) {
  const value = h('span', { class: 'number' }, '–')
  const note = h('span', { class: 'note' })
  return {
    node: h('div', { class: 'figure-box' }, h('dt', {}, name), h('dd', {}, value, note, extra)),
    update (number, more = '', tone = '') {
      text(value, number)
      text(note, more)
      value.dataset.tone = tone
    }
  }
}

function createMeter () {
  const bar = s('rect', { class: 'taken', height: 8, rx: 2 })
  const node = s('svg', { class: 'meter', viewBox: `0 0 ${METER} 8`, 'aria-hidden': 'true' }, s('rect', { class: 'places', width: METER, height: 8, rx: 2 }), bar)
  return { node, update: share => { attribute(bar, 'width', (METER * Math.min(1, share)).toFixed(1)) } }
}

function createCard (first, { history, open, seen, onResult }) {
  let backend = first
  const now = () => backend
  const id = `backend-${encodeURIComponent(first.name)}`
  const state = h('span', { class: 'pill' })
  const about = h('p', { class: 'quiet' })
  const fault = h('p', { class: 'fault' })
  const paceSpark = createSpark(['all', 'failed'])
  const latencySpark = createSpark(['high'])
  const meter = createMeter()
  const pace = createFigure('Attempts', paceSpark.node)
  const failed = createFigure('Failed')
  const slow = createFigure('Latency p95', latencySpark.node)
  const again = createFigure('Retried')
  const rejected = createFigure('Rejected')
  const places = createFigure('At once', meter.node)
  const fold = h('button', { type: 'button', class: 'fold', 'aria-expanded': String(open), 'aria-controls': `${id}-targets`, onclick () { setOpen(fold.getAttribute('aria-expanded') !== 'true') } })
  const all = createAction('check', undefined, now, onResult)
  attribute(all.node, 'aria-label', `Check all targets of ${first.name}`)
  text(all.node, 'Check all')
  const rows = h('div', { id: `${id}-targets`, class: 'rows' })
  const node = h('article', { class: 'card', 'aria-labelledby': id },
    h('header', {}, h('h3', { id, tabindex: '-1' }, first.name), state, about, h('div', { class: 'actions' }, all.node, fold)),
    fault,
    h('dl', { class: 'figures' }, ...[pace, failed, slow, again, rejected, places].map(({ node }) => node)),
    rows)
  let targets
  let visible = false

  function setOpen (wanted) {
    attribute(fold, 'aria-expanded', String(wanted))
    show(rows, wanted)
    if (wanted && targets === undefined) rows.append((targets = createTargets(now, onResult)).node)
    render()
  }

  function render () {
    const { balancer, attempts, failures, retries, concurrency, discovery } = backend
    const usable = backend.targets.filter(({ excluded }) => excluded === null).length
    const [tone, words] = TONES[backend.state]
    attribute(node, 'data-tone', tone)
    pill(state, tone, words)
    text(about, [backend.isDefault ? 'default' : '', balancer, discovery === null ? '' : `discovered by ${discovery.source}${discovery.lastSuccess === null ? ', not yet' : `, ${ago(Date.parse(discovery.lastSuccess), history.now())}`}`].filter(part => part !== '').join(' · '))
    attribute(about, 'title', discovery === null ? undefined : `${plural(discovery.lists, 'list')} so far${discovery.lastSuccess === null ? '' : `, the last one ${absolute(Date.parse(discovery.lastSuccess))}`}`)
    const trouble = discovery?.fault ?? null
    text(fault, trouble === null ? '' : `Discovery fails: ${trouble}`)
    show(fault, trouble !== null)
    text(fold, `${count(usable)} of ${plural(backend.targets.length, 'target')} usable`)
    show(all.node, backend.targets.some(({ health }) => health.check !== null))

    const lately = history.lately(backend.name)
    pace.update(`${rate(lately.rate)} /s`, `${count(attempts)} in all`)
    failed.update(percent(lately.failures, lately.count), `${count(failures)} in all`, lately.failures > 0 ? 'bad' : '')
    slow.update(lately.p95 === undefined ? '–' : latency(lately.p95), lately.p50 === undefined ? '' : `p50 ${latency(lately.p50)}`)
    again.update(count(retries), 'in all')
    rejected.update(count(backend.rejected), 'in all')
    places.update(concurrency === null ? 'no limit' : `${count(concurrency.taken)} of ${count(concurrency.max)}`, concurrency === null ? '' : `${count(concurrency.waiting)} waiting`, concurrency?.waiting > 0 ? 'warn' : '')
    meter.update(concurrency === null ? 0 : concurrency.taken / concurrency.max)
    attribute(meter.node, 'visibility', concurrency === null ? 'hidden' : undefined)
    const strips = history.strips(backend.name)
    const end = strips.at(-1)?.at ?? 0
    paceSpark.update(strips.map(({ at, count, failures }) => ({ at, a: count, b: failures })), end, 'area')
    latencySpark.update(strips.map(({ at, p95 }) => ({ at, a: p95 })), end, 'line')
    if (!rows.hidden) targets?.update()
  }

  const unsee = seen(node, isVisible => {
    visible = isVisible
    if (visible) render()
  })
  rows.hidden = !open
  if (open) setOpen(true)
  else render()
  return {
    node,
    update (changed) {
      backend = changed
      if (visible) render()
    },
    remove: unsee,
    reveal () {
      setOpen(true)
      node.querySelector('h3').focus()
      node.scrollIntoView({ block: 'start' })
    }
  }
}

/** Calls back when a node comes on the screen, and when it leaves. */
function createSight () {
  const watched = new WeakMap()
  const sight = new IntersectionObserver(found => {
    for (const { target, isIntersecting } of found) watched.get(target)?.(isIntersecting)
  }, { rootMargin: '200px' })
  return (node, tell) => {
    watched.set(node, tell)
    sight.observe(node)
    return () => { sight.unobserve(node) }
  }
}

export function createBackends (history, onResult) {
  const seen = createSight()
  const cards = new Map()
  const parent = byId('backend-list')
  const filter = byId('filter')
  const sort = byId('sort')
  let backends = []
  /** Places by name. */
  let order = new Map()
  /** Somebody points at a card or works in it: the cards stay where they are, so that nobody hits another one's button. */
  const busy = () => parent.matches(':hover') || parent.contains(document.activeElement)

  const ORDERS = {
    problems: (a, b) => BADNESS[a.state] - BADNESS[b.state] || Number(hasProblem(b)) - Number(hasProblem(a)),
    given: () => 0,
    name: (a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }),
    busy: (a, b) => history.lately(b.name).rate - history.lately(a.name).rate
  }

  function arrange () {
    order = new Map([...backends].sort(ORDERS[sort.value]).map(({ name }, index) => [name, index]))
  }

  function render () {
    const words = filter.value.toLowerCase().split(/\s+/).filter(word => word !== '')
    const fits = backend => words.length === 0 || words.every(word => wordsOf(backend).includes(word))
    const sorted = [...backends].sort((a, b) => (order.get(a.name) ?? Infinity) - (order.get(b.name) ?? Infinity))
    let found = 0
    list(parent, sorted, ({ name }) => name, backend => {
      const card = createCard(backend, { history, seen, onResult, open: backends.length <= FEW || hasProblem(backend) })
      cards.set(backend.name, card)
      return card
    })
    for (const backend of backends) {
      const wanted = fits(backend)
      found += Number(wanted)
      show(cards.get(backend.name).node, wanted)
    }
    text(byId('backends-found'), backends.length === 0 ? 'There are no backends.' : words.length === 0 ? '' : `${count(found)} of ${plural(backends.length, 'backend')}`)
  }

  filter.addEventListener('input', render)
  sort.addEventListener('change', () => {
    arrange()
    render()
  })
  byId('backend-tools').addEventListener('submit', event => { event.preventDefault() })
  return {
    show (all) {
      backends = all
      if (order.size === 0 || !busy()) arrange()
      render()
    },
    reveal (name) {
      filter.value = ''
      render()
      cards.get(name)?.reveal()
    }
  }
}
