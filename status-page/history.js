// What has happened lately, as far as this page was told, and what follows from it.

import { WINDOW } from './plots.js'

const MOST_TRANSITIONS = 200
const MOST_SAMPLES = 50
/** Numbers of "now" are those of the last ten seconds: single seconds of little traffic say nothing. */
const NOW = 10_000
const STRIP = 5_000

/** A backend may well be called `constructor`. */
const of = ({ backends }, name) => Object.hasOwn(backends, name) ? backends[name] : undefined

export function createHistory () {
  let interval = 1_000
  /** The gateway's clock less ours, ms; 0 where they agree. */
  let ahead = 0
  const history = {
    points: [],
    transitions: [],
    samples: [],
    /** By the gateway's clock. */
    now: () => Date.now() + ahead,
    perSecond: number => number * 1000 / interval,
    replace (all) {
      interval = all.interval
      const end = all.points.at(-1)?.at
      history.points = all.points.filter(({ at }) => at <= end)
      history.transitions = [...all.transitions]
      history.samples = [...all.samples]
      if (all.points.length > 0) adjust(all.points.at(-1).at)
    },
    point (point) {
      // the one that the history ended with
      if (point.at === history.points.at(-1)?.at) return
      // the gateway's clock was set back: nothing lies ahead of now
      if (point.at < history.points.at(-1)?.at) history.points = history.points.filter(({ at }) => at < point.at)
      history.points.push(point)
      adjust(point.at)
      while (history.points[0].at <= point.at - WINDOW) history.points.shift()
    },
    transition (transition) {
      if (transition.id <= (history.transitions.at(-1)?.id ?? 0)) return
      history.transitions.push(transition)
      if (history.transitions.length > MOST_TRANSITIONS) history.transitions.shift()
    },
    sample (sample) {
      if (history.samples.some(({ id }) => id === sample.id)) return
      history.samples.push(sample)
      if (history.samples.length > MOST_SAMPLES) history.samples.shift()
    },
    /** Of everybody (no name) or of a backend: what the last ten seconds come to. */
    lately (backend) {
      let count = 0
      let failures = 0
      let last
      let intervals = 0
      const { points } = history
      const end = points.at(-1)?.at ?? 0
      for (let index = points.length - 1; index >= 0 && points[index].at > end - NOW; index--) {
        const one = backend === undefined ? points[index].requests : of(points[index], backend)
        intervals += 1
        count += one?.count ?? 0
        failures += one?.failures ?? 0
        if (last === undefined && one?.count > 0) last = one
      }
      const seconds = intervals * interval / 1000
      return { count, failures, rate: seconds === 0 ? 0 : count / seconds, p50: last?.p50, p95: last?.p95 }
    },
    /** Of a backend in strips of five seconds: `{ at, count, failures, p95 }`. */
    strips (backend) {
      const strips = new Map()
      for (const point of history.points) {
        const { at } = point
        const key = Math.ceil(at / STRIP) * STRIP
        let strip = strips.get(key)
        if (strip === undefined) strips.set(key, strip = { at: key, count: 0, failures: 0, p95: undefined })
        const one = of(point, backend)
        if (one === undefined || one.count === 0) continue
        strip.count += one.count
        strip.failures += one.failures
        strip.p95 = Math.max(strip.p95 ?? 0, one.p95)
      }
      return [...strips.values()]
    }
  }

  function adjust (at) {
    const difference = at - Date.now()
    ahead = Math.abs(difference) < 2_500 ? 0 : difference
  }
  return history
}
