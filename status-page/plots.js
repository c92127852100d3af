// Plots over the last five minutes. Drawn in pixels of their own size, so that texts and lines stay sharp.

import { attribute, h, s, text } from './dom.js'
import { clock } from './format.js'

export const WINDOW = 300_000
const LEFT = 52
const BELOW = 20
const ABOVE = 8
const RIGHT = 10

/** Not less than the value, and its half is as short as itself. */
function round (value) {
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 3, 4, 6, 8, 10].map(step => step * power).find(step => step >= value * 0.999) ?? 10 * power
}

const fixed = number => number.toFixed(1)

/** A line through the points that have a value; where one is missing it is interrupted, and a lonely one is a dash. */
function line (points, x, y, valueOf) {
  let d = ''
  let drawing = false
  points.forEach((point, index) => {
    const value = valueOf(point)
    if (value === undefined) {
      drawing = false
      return
    }
    d += `${drawing ? 'L' : 'M'}${fixed(x(point.at))} ${fixed(y(value))}`
    if (!drawing && (index + 1 === points.length || valueOf(points[index + 1]) === undefined)) d += 'h2'
    drawing = true
  })
  return d
}

function area (points, x, y, valueOf) {
  if (points.length === 0) return ''
  const d = points.map(point => `L${fixed(x(point.at))} ${fixed(y(valueOf(point) ?? 0))}`).join('')
  return `M${fixed(x(points[0].at))} ${fixed(y(0))}${d}V${fixed(y(0))}Z`
}

/** From the ground up, at least `least` pixels high: one failure among thousands is to be seen. */
function bars (points, x, y, valueOf, least) {
  return points.map(point => {
    const value = valueOf(point)
    return value > 0 ? `M${fixed(x(point.at))} ${fixed(y(0))}V${fixed(Math.min(y(value), y(0) - least))}` : ''
  }).join('')
}

const SHAPES = { line, area, bars: (points, x, y, valueOf) => bars(points, x, y, valueOf, 5) }

/**
 * `series`: `{ name, kind, shape, value(point) }`, drawn in this order; `say(point)`: one second in words; `unit`: of the axis.
 * A slider for the keyboard: each arrow is a second.
 */
export function createPlot ({ title, unit, series, say, least }) {
  const grid = [0, 0.5, 1].map(part => ({ part, line: s('line', { class: 'grid' }), label: s('text', { class: 'axis', 'text-anchor': 'end' }) }))
  const times = [5, 4, 3, 2, 1, 0].map(minutes => ({
    minutes,
    label: s('text', { class: 'axis', 'text-anchor': minutes === 0 ? 'end' : minutes === 5 ? 'start' : 'middle' }, minutes === 0 ? 'now' : `−${minutes} min`)
  }))
  const paths = series.map(one => ({ ...one, node: s('path', { class: `series ${one.kind}` }) }))
  const cursor = s('line', { class: 'cursor', visibility: 'hidden' })
  const svg = s('svg', { 'aria-hidden': 'true' }, ...grid.flatMap(({ line, label }) => [line, label]), ...times.map(({ label }) => label), ...paths.map(({ node }) => node), cursor)
  const reading = h('output', { class: 'reading' }, '–')
  const legend = h('span', { class: 'legend', 'aria-hidden': 'true' }, ...series.map(({ name, kind }) => h('span', { class: `key ${kind}` }, name)))
  const stage = h('div', { class: 'stage', tabindex: '0', role: 'slider', 'aria-label': `${title}, second by second`, 'aria-valuemin': '0', 'aria-valuemax': '0', 'aria-valuenow': '0', 'aria-valuetext': 'nothing yet' }, svg)
  const node = h('figure', { class: 'plot' }, h('figcaption', {}, h('span', { class: 'title' }, title), legend, reading), stage)

  let points = []
  let width = 0
  let height = 0
  /** The second that is looked at; undefined: the last one. */
  let pinned

  const x = at => LEFT + (width - LEFT - RIGHT) * (1 - (points.at(-1).at - at) / WINDOW)

  function draw () {
    if (width === 0) return
    const top = round(Math.max(least, ...points.flatMap(point => series.map(({ value }) => value(point) ?? 0))))
    const y = value => height - BELOW - (height - BELOW - ABOVE) * value / top
    for (const { part, line, label } of grid) {
      const at = fixed(y(part * top))
      for (const [name, value] of [['x1', LEFT], ['x2', width - RIGHT], ['y1', at], ['y2', at]]) attribute(line, name, value)
      attribute(label, 'x', LEFT - 6)
      attribute(label, 'y', Number(at) + 4)
      text(label, part === 0 ? '0' : unit(part * top))
    }
    const narrow = width < 460
    for (const { minutes, label } of times) {
      attribute(label, 'x', LEFT + (width - LEFT - RIGHT) * (1 - minutes / 5))
      attribute(label, 'y', height - 4)
      attribute(label, 'visibility', narrow && [1, 4].includes(minutes) ? 'hidden' : undefined)
    }
    for (const { node, shape, value } of paths) attribute(node, 'd', points.length === 0 ? '' : SHAPES[shape](points, x, y, value))
    tell()
  }

  /** The second that is looked at, and its words. */
  function tell () {
    let index = points.findIndex(({ at }) => at === pinned)
    if (index < 0) {
      pinned = undefined
      index = points.length - 1
    }
    const point = points[index]
    attribute(cursor, 'visibility', pinned === undefined ? 'hidden' : 'visible')
    if (point === undefined) return
    const words = say(point)
    text(reading, `${pinned === undefined ? 'Now' : clock(point.at)}: ${words}`)
    attribute(stage, 'aria-valuemax', points.length - 1)
    // the last second changes all the time: it is not read aloud again and again
    if (pinned === undefined) return
    attribute(stage, 'aria-valuenow', index)
    attribute(stage, 'aria-valuetext', `${clock(point.at)}: ${words}`)
    for (const [name, value] of [['x1', x(point.at)], ['x2', x(point.at)], ['y1', ABOVE], ['y2', height - BELOW]]) attribute(cursor, name, fixed(value))
  }

  function pin (index) {
    pinned = points[Math.max(0, Math.min(points.length - 1, index))]?.at
    tell()
  }

  function point (event) {
    if (points.length === 0) return
    const at = points.at(-1).at - WINDOW * (1 - (event.clientX - stage.getBoundingClientRect().left - LEFT) / (width - LEFT - RIGHT))
    pin(points.reduce((best, { at: time }, index) => Math.abs(time - at) < Math.abs(points[best].at - at) ? index : best, 0))
  }

  function leave () {
    pinned = undefined
    tell()
  }

  stage.addEventListener('pointermove', point)
  stage.addEventListener('pointerdown', point)
  stage.addEventListener('pointerleave', event => { if (event.pointerType !== 'touch') leave() })
  stage.addEventListener('focus', () => { if (pinned === undefined && stage.matches(':focus-visible')) pin(points.length - 1) })
  stage.addEventListener('blur', leave)
  stage.addEventListener('keydown', event => {
    const last = points.length - 1
    const now = pinned === undefined ? last : points.findIndex(({ at }) => at === pinned)
    const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - 10, PageUp: now + 10, Home: 0, End: last }[event.key]
    if (event.key === 'Escape') leave()
    if (to === undefined) return
    event.preventDefault()
    pin(to)
  })
  new ResizeObserver(([{ contentRect }]) => {
    ({ width, height } = contentRect)
    attribute(svg, 'viewBox', `0 0 ${width} ${height}`)
    draw()
  }).observe(stage)

  return {
    node,
    update (now) {
      points = now
      draw()
    }
  }
}

const SPARK = { width: 132, height: 30 }

/** Five minutes in very small, beside the numbers that say it: 60 strips of five seconds each. */
export function createSpark (kinds) {
  const paths = kinds.map(kind => s('path', { class: `series ${kind}` }))
  const node = s('svg', { class: 'spark', viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, 'aria-hidden': 'true' }, s('line', { class: 'grid', x1: 0, x2: SPARK.width, y1: SPARK.height - 0.5, y2: SPARK.height - 0.5 }), ...paths)
  return {
    node,
    /** `points`: `{ at, a, b }`; a is drawn as an area with failures b, or as a line. */
    update (points, end, shape) {
      const top = Math.max(1e-9, ...points.map(({ a }) => a ?? 0))
      const x = at => SPARK.width * (1 - (end - at) / WINDOW)
      const y = value => SPARK.height - 1 - (SPARK.height - 3) * value / top
      const a = ({ a }) => a
      attribute(paths[0], 'd', shape === 'area' ? area(points, x, y, a) : line(points, x, y, a))
      if (paths[1] !== undefined) attribute(paths[1], 'd', bars(points, x, y, ({ b }) => b, 4))
    }
  }
}
