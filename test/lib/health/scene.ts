/** Configs with everything filled in, and the virtual clock as a Clock. */
import type { Clock } from '../../../lib/deadlines.ts'
import type { HealthConfig, OutlierConfig } from '../../../lib/resilience/types.ts'
import { virtualClock } from '../../helper/time.ts'
import type { VirtualClock } from '../../helper/time.ts'

export function healthConfig (config: Partial<HealthConfig> = {}): HealthConfig {
  return {
    path: '/health',
    method: 'GET',
    headers: {},
    interval: 100,
    unhealthyInterval: 100,
    jitter: 0,
    timeout: 20,
    expectedStatus: [[200, 299]],
    expectedBody: undefined,
    rise: 2,
    fall: 3,
    initial: 'healthy',
    skipIfRecent: false,
    onChange: undefined,
    ...config
  }
}

export function outlierConfig (config: Partial<OutlierConfig> = {}): OutlierConfig {
  return {
    consecutive: 3,
    failureRate: undefined,
    minVolume: 20,
    window: 1000,
    baseEjection: 100,
    maxEjection: 1000,
    maxEjectedPercent: 50,
    outcomes: ['server-error', 'connect-error', 'reset', 'timeout', 'bad-response'],
    ...config
  }
}

/** The same clock twice: to move, and to pass in. */
export function clocks (start = 0): { time: VirtualClock, clock: Clock } {
  const time = virtualClock(start)
  return { time, clock: time as unknown as Clock }
}
