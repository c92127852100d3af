/** Which requests are dumped. */
import type { TrafficDumpConfig } from './types.ts'

export interface Sampling {
  /** Whether there is anything to sample. */
  readonly active: boolean
  /** At a request's beginning: `yes`; `maybe` while it can still fail; `no`. Its route's name is asked for only where routes differ. */
  begin<Request> (request: Request, nameOf: (request: Request) => string): 'yes' | 'maybe' | 'no'
  /** Whether a request that was `maybe` and failed is dumped. */
  failed (): boolean
}

export function createSampling ({ sampleRate, routes, errorSampleRate }: Pick<TrafficDumpConfig, 'sampleRate' | 'routes' | 'errorSampleRate'>, random: () => number): Sampling {
  const rates = new Map(Object.entries(routes))
  return {
    active: sampleRate > 0 || errorSampleRate > 0 || [...rates.values()].some(rate => rate > 0),
    begin (request, nameOf) {
      const own = rates.size === 0 ? undefined : rates.get(nameOf(request))
      if (own === 0) return 'no'
      const rate = own ?? sampleRate
      // no chance is asked where there is none
      if (rate >= 1 || (rate > 0 && random() < rate)) return 'yes'
      return errorSampleRate > 0 ? 'maybe' : 'no'
    },
    failed: () => errorSampleRate >= 1 || random() < errorSampleRate
  }
}
