/** A histogram of Prometheus as plain numbers: prom-client's own looks its labels up anew for every value. */
import type { Sample } from './types.ts'

/** A class for its memory. Seconds. */
export class Durations {
  #sum = 0
  /** How many are at most as long as the bound of the same index; the last ones are longer than all. */
  readonly #counts: Float64Array
  readonly #bounds: readonly number[]

  constructor (bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  observe (seconds: number): void {
    const bounds = this.#bounds
    let index = 0
    while (index < bounds.length && seconds > bounds[index]!) index++
    this.#counts[index]!++
    this.#sum += seconds
  }

  samples (name: string, labels: Sample['labels']): Sample[] {
    let count = 0
    const buckets = Array.from(this.#counts, (own, index): Sample => {
      count += own
      return { metricName: `${name}_bucket`, labels: { ...labels, le: this.#bounds[index] ?? '+Inf' }, value: count }
    })
    return [...buckets, { metricName: `${name}_sum`, labels, value: this.#sum }, { metricName: `${name}_count`, labels, value: count }]
  }
}
