/**
 * Time, chance and memory for tests: waiting for a condition, a clock that only moves when told, seeded randomness,
 * growth of the resident set.
 */
import { sleep } from './messages.ts'

/** What these helpers need of a tap test: somewhere to put what must be undone. */
export interface TestLike {
  teardown (undo: () => unknown): unknown
}

/**
 * Polls until the predicate holds.
 * @param ms longest wait; generous values cost nothing when the condition comes early
 * @returns whether it came to hold; never throws, so that a test can say what it was waiting for
 */
export async function waitFor (predicate: () => boolean, ms = 3000): Promise<boolean> {
  const end = performance.now() + ms
  while (!predicate()) {
    if (performance.now() > end) return false
    await sleep(3)
  }
  return true
}

/** A stream of numbers in [0, 1) that is the same for the same seed (mulberry32). */
export function seededRandom (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** `size` bytes that are the same for the same seed and do not compress. */
export function seededBytes (size: number, seed = 1): Buffer {
  const random = seededRandom(seed)
  const bytes = Buffer.allocUnsafe(size)
  for (let at = 0; at < size; at++) bytes[at] = Math.floor(random() * 256)
  return bytes
}

/** A clock that stands still until `advance`. Its timers fire in order of time, then of creation. */
export interface VirtualClock {
  /** Milliseconds since the clock was made. */
  now (): number
  setTimeout (run: () => void, ms: number): number
  clearTimeout (id: number): void
  /** Moves time on and fires what is due, timers set meanwhile included. */
  advance (ms: number): void
  /** Timers that have neither fired nor been cleared. */
  readonly pending: number
}

/** See {@link VirtualClock}. */
export function virtualClock (start = 0): VirtualClock {
  let time = start
  let lastId = 0
  const timers = new Map<number, { at: number, run: () => void }>()

  const nextDue = (until: number): number | undefined => {
    let best: number | undefined
    for (const [id, timer] of timers) {
      if (timer.at > until) continue
      // ids grow, and a Map keeps their order: among equals the first set stays
      if (best === undefined || timer.at < (timers.get(best)?.at ?? Infinity)) best = id
    }
    return best
  }

  return {
    now: () => time,
    setTimeout (run, ms) {
      lastId += 1
      timers.set(lastId, { at: time + Math.max(0, ms), run })
      return lastId
    },
    clearTimeout (id) { timers.delete(id) },
    advance (ms) {
      const until = time + ms
      for (let id = nextDue(until); id !== undefined; id = nextDue(until)) {
        const timer = timers.get(id)
        timers.delete(id)
        if (timer === undefined) continue
        time = Math.max(time, timer.at)
        timer.run()
      }
      time = until
    },
    get pending () { return timers.size }
  }
}

/**
 * Samples a resident set while `work` runs.
 * @param readRss how to read it in bytes; default: this process. A gateway of its own process gives a truer figure.
 * @returns the largest growth over the value before, in bytes
 */
export async function rssGrowth (work: () => Promise<void>, readRss: () => number | Promise<number> = () => process.memoryUsage.rss()): Promise<number> {
  const before = await readRss()
  let peak = before
  const done = new AbortController()
  const sampling = (async () => {
    while (!done.signal.aborted) {
      peak = Math.max(peak, await readRss())
      await sleep(20)
    }
  })()
  try {
    await work()
  } finally {
    done.abort()
    await sampling
  }
  return peak - before
}
