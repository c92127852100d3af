/** Latencies as numbers for programs. */
import type { Latencies } from './latencies.ts'
import type { LatencyNumbers } from './types.ts'

export function numbersOf (latencies: Latencies): LatencyNumbers {
  return {
    averageMs: latencies.average,
    p50: latencies.quantile(0.5),
    p90: latencies.quantile(0.9),
    p95: latencies.quantile(0.95),
    p99: latencies.quantile(0.99)
  }
}
