/** What ends within one interval, in numbers. */
import { Latencies } from '../metrics/latencies.ts'
import type { Interval } from './types.ts'

/** A class for its memory: one for each backend, used again for each interval. */
export class Meter {
  count = 0
  #failures = 0
  readonly #latencies = new Latencies()

  /** `ms`: undefined where its duration says nothing: somebody went away. */
  record (ms: number | undefined, failed: boolean): void {
    this.count++
    if (failed) this.#failures++
    if (ms !== undefined) this.#latencies.record(ms)
  }

  /** What it has counted; it begins anew. */
  take (): Interval {
    if (this.count === 0) return NOTHING
    const { count } = this
    const failures = this.#failures
    const taken = { count, failures, p50: rounded(this.#latencies.quantile(0.5)), p95: rounded(this.#latencies.quantile(0.95)) }
    this.count = this.#failures = 0
    this.#latencies.clear()
    return taken
  }
}

const NOTHING: Interval = Object.freeze({ count: 0, failures: 0, p50: 0, p95: 0 })

function rounded (ms: number): number {
  return Math.round(ms * 100) / 100
}
