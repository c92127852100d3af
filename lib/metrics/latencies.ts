/**
 * Percentiles of durations in bounded memory: buckets that grow with the value, 16 to each power of two, after HdrHistogram
 * (Gil Tene). A value is off by half a bucket at most: 1/32. Below 32 µs each microsecond has a bucket of its own.
 */

/** Microseconds with a bucket of their own. */
const EXACT = 32
/** 2 ** 5 is `EXACT`. */
const FIRST_POWER = 5
const PER_POWER = 16
/** Longest duration that is told apart, µs: 35 minutes. */
const LONGEST = 2 ** 31 - 1
const BUCKETS = EXACT + (31 - FIRST_POWER) * PER_POWER

/** A class for its memory: 1.8 KB once something was recorded. Milliseconds. */
export class Latencies {
  count = 0
  sum = 0
  #least = Infinity
  #most = 0
  #counts: Uint32Array | undefined = undefined

  record (ms: number): void {
    this.count++
    this.sum += ms
    if (ms < this.#least) this.#least = ms
    if (ms > this.#most) this.#most = ms
    this.#counts ??= new Uint32Array(BUCKETS)
    this.#counts[bucketOf(ms)]!++
  }

  /** Takes in what another one has. */
  add (other: Latencies): void {
    const theirs = other.#counts
    if (theirs === undefined) return
    this.count += other.count
    this.sum += other.sum
    this.#least = Math.min(this.#least, other.#least)
    this.#most = Math.max(this.#most, other.#most)
    const counts = this.#counts ??= new Uint32Array(BUCKETS)
    for (let index = 0; index < BUCKETS; index++) counts[index]! += theirs[index]!
  }

  /** The value that a share of all, such as 0.95, does not exceed (nearest rank); 0 when there is none. */
  quantile (share: number): number {
    if (this.#counts === undefined || this.count === 0) return 0
    let left = Math.min(this.count, Math.max(1, Math.ceil(share * this.count)))
    let index = -1
    while (left > 0) left -= this.#counts[++index]!
    return Math.min(this.#most, Math.max(this.#least, middleOf(index)))
  }

  get average (): number {
    return this.count === 0 ? 0 : this.sum / this.count
  }

  reset (): void {
    this.count = 0
    this.sum = 0
    this.#least = Infinity
    this.#most = 0
    this.#counts = undefined
  }

  /** As `reset`, but keeps its memory for what comes next. */
  clear (): void {
    const counts = this.#counts
    this.reset()
    this.#counts = counts?.fill(0)
  }
}

function bucketOf (ms: number): number {
  const us = Math.min(LONGEST, Math.max(0, Math.round(ms * 1000)))
  if (us < EXACT) return us
  const power = 31 - Math.clz32(us)
  return EXACT + (power - FIRST_POWER) * PER_POWER + ((us >>> (power - 4)) & (PER_POWER - 1))
}

/** ms */
function middleOf (bucket: number): number {
  if (bucket < EXACT) return bucket / 1000
  const power = FIRST_POWER + Math.floor((bucket - EXACT) / PER_POWER)
  const width = 2 ** (power - 4)
  return (2 ** power + ((bucket - EXACT) % PER_POWER) * width + (width - 1) / 2) / 1000
}
