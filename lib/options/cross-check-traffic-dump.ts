/** What the options of the traffic dump say about each other. */
import type { OptionProblem } from '../errors.ts'
import { intervalWord } from '../traffic-dump/interval.ts'
import { isRecord } from './copy.ts'
import { isDuration } from './rules.ts'
import { DEFAULTS } from './defaults.ts'
import { milliseconds } from './units.ts'

export function crossCheckTrafficDump ({ trafficDump }: Readonly<Record<string, unknown>>, problems: OptionProblem[]): void {
  if (!isRecord(trafficDump)) return
  const { interval, routes, redact, sampleRate = DEFAULTS.trafficDump.sampleRate, errorSampleRate = DEFAULTS.trafficDump.errorSampleRate } = trafficDump
  if (isDuration(interval) && milliseconds(interval) > 0 && intervalWord(milliseconds(interval)) === undefined) {
    problems.push({ path: 'trafficDump.interval', rule: 'must be a part of a minute, an hour or a day without a rest, or whole days: "10m", "1h", "1d"', value: interval })
  }
  if (sampleRate === 0 && errorSampleRate === 0 && isRecord(routes) && Object.keys(routes).length > 0 && Object.values(routes).every(rate => rate === 0)) {
    problems.push({ path: 'trafficDump.routes', rule: 'has no effect: nothing is sampled anyway', value: routes })
  }
  if (isRecord(redact) && redact['replaceDefaults'] === true && ['headers', 'query', 'json'].every(name => redact[name] === undefined)) {
    problems.push({ path: 'trafficDump.redact.replaceDefaults', rule: 'needs something to replace them with: headers, query or json, which may be empty', value: true })
  }
}
