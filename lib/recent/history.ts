/**
 * What happened lately: a number of points, transitions and samples. It outlives the gateway that has begun it, so it knows
 * none. No timer of its own: whoever keeps it calls `tick`.
 */
import { createListeners } from './listeners.ts'
import { Meter } from './meter.ts'
import { createPlaces } from './places.ts'
import { createRing } from './ring.ts'
import type { Listeners } from './listeners.ts'
import type { Places } from './places.ts'
import type { Point, RecentHistory, Sample, Transition } from './types.ts'

/** ms */
const INTERVAL = 1_000
const POINTS = 300
const TRANSITIONS = 200
const SAMPLES = 50
/** Most that a point has. */
const BACKENDS = 200

export interface HistoryTools {
  /** ms that never go backwards. */
  now (): number
  /** ms since 1970 */
  wall (): number
}

export interface History {
  readonly listeners: Listeners
  readonly places: Places
  /** A client's request has begun. */
  begin (): void
  /** It has ended. `ms`: undefined where the client went away. */
  end (ms: number | undefined, failed: boolean): void
  /** An attempt has its outcome. `ms`: undefined where it was given up. */
  attempt (backend: string, ms: number | undefined, failed: boolean): void
  transition (transition: Omit<Transition, 'id' | 'at'>): void
  sample (sample: Omit<Sample, 'id'>): void
  /** From now on there are points; again it does nothing. */
  start (): void
  /** Ends every interval whose time is over; backends that are not known any more are forgotten. */
  tick (isKnown: (backend: string) => boolean): void
  /** ms until `tick` is wanted. */
  readonly wait: number
  read (): RecentHistory
}

export function createHistory ({ now, wall }: HistoryTools): History {
  const points = createRing<Point>(POINTS)
  const transitions = createRing<Transition>(TRANSITIONS)
  const samples = createRing<Sample>(SAMPLES)
  const listeners = createListeners()
  const places = createPlaces()
  const requests = new Meter()
  const backends = new Map<string, Meter>()
  let inFlight = 0
  let lastTransition = 0
  let lastSample = 0
  /** When the interval ends that runs; undefined: none does. */
  let due: number | undefined

  function close (at: number): void {
    const taken = [...backends].flatMap(([name, meter]) => meter.count > 0 ? [[name, meter.take()] as const] : [])
    const point: Point = { at, requests: { ...requests.take(), inFlight }, backends: Object.fromEntries(taken) }
    places.clear()
    points.push(point)
    if (listeners.size > 0) listeners.tell({ kind: 'point', point })
  }

  /** Those that have had nothing to do make room. */
  function prune (isKnown: (backend: string) => boolean): void {
    const isFull = backends.size >= BACKENDS
    for (const [name, { count }] of backends) if (count === 0 && (isFull || !isKnown(name))) backends.delete(name)
  }

  return {
    listeners,
    places,
    begin () { inFlight++ },
    end (ms, failed) {
      inFlight--
      requests.record(ms, failed)
    },
    attempt (backend, ms, failed) {
      let meter = backends.get(backend)
      if (meter === undefined) {
        if (backends.size >= BACKENDS) return
        backends.set(backend, meter = new Meter())
      }
      meter.record(ms, failed)
    },
    transition (made) {
      const transition = { id: ++lastTransition, at: wall(), ...made }
      transitions.push(transition)
      if (listeners.size > 0) listeners.tell({ kind: 'transition', transition })
    },
    sample (made) {
      const sample = { id: ++lastSample, ...made }
      samples.push(sample)
      if (listeners.size > 0) listeners.tell({ kind: 'sample', sample })
    },
    start () { due ??= now() + INTERVAL },
    tick (isKnown) {
      // half a millisecond of grace: a timer may fire a hair before its time
      const time = now() + 0.5
      if (due === undefined || time < due) return
      prune(isKnown)
      // what has stood still for so long has nothing to tell of before
      if (time - due > POINTS * INTERVAL) due = time - POINTS * INTERVAL + INTERVAL
      for (const offset = wall() - time; due <= time; due += INTERVAL) close(Math.round(offset + due))
    },
    get wait () { return due === undefined ? INTERVAL : Math.max(1, due - now()) },
    read: () => ({ interval: INTERVAL, points: points.list(), transitions: transitions.list(), samples: samples.list() })
  }
}
