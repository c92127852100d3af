/**
 * Outcomes of the last so many milliseconds, in ten buckets. Nothing ticks: the buckets turn when somebody counts or looks.
 */

const BUCKETS = 10

/** A class: there may be one per tenant and target. Covers the running bucket and the nine before it: 90 to 100 % of its length. */
export class RollingWindow {
  readonly #width: number
  /** Failures at the even places, all outcomes at the odd ones. */
  readonly #counts: number[] = new Array<number>(2 * BUCKETS).fill(0)
  /** Number of the running bucket since time 0 of the clock. */
  #newest: number
  #failures = 0
  #total = 0

  /** @param length in ms, like `now` */
  constructor (length: number, now: number) {
    this.#width = Math.max(1, length) / BUCKETS
    this.#newest = Math.floor(now / this.#width)
  }

  /** Up to the last `add` or `turn`. */
  get failures (): number { return this.#failures }
  get total (): number { return this.#total }

  add (failed: boolean, now: number): void {
    this.turn(now)
    const at = 2 * (this.#newest % BUCKETS)
    this.#total++
    this.#counts[at + 1]!++
    if (!failed) return
    this.#failures++
    this.#counts[at]!++
  }

  /** Forgets what is too old by now. */
  turn (now: number): void {
    const newest = Math.floor(now / this.#width)
    // After a long silence one round empties all there is.
    let bucket = Math.max(this.#newest, newest - BUCKETS)
    while (bucket < newest) {
      const at = 2 * (++bucket % BUCKETS)
      this.#failures -= this.#counts[at]!
      this.#total -= this.#counts[at + 1]!
      this.#counts[at] = this.#counts[at + 1] = 0
    }
    this.#newest = bucket
  }
}
