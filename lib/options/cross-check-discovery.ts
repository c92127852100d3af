/**
 * What one option of discovery says about another. Like `cross-check.ts` it looks only at what has the shape it knows.
 */
import type { OptionProblem } from '../errors.ts'
import { isRecord } from './copy.ts'
import { DEFAULTS } from './defaults.ts'
import { reportTwins } from './names.ts'
import { at } from './paths.ts'
import { isDuration } from './rules.ts'
import { splitTargetUrl } from './target-url.ts'
import { milliseconds } from './units.ts'

const { discovery: INITIAL } = DEFAULTS

type Options = Readonly<Record<string, unknown>>

/** `discovery` of a backend. */
export function crossCheckDiscovery (discovery: unknown, path: string, problems: OptionProblem[]): void {
  if (!isRecord(discovery)) return
  const { static: targets, dns, consul, backoff } = discovery
  if (Array.isArray(targets)) checkTargets(targets, at(path, 'static'), problems)
  if (isRecord(dns)) checkDns(dns, at(path, 'dns'), problems)
  if (isRecord(consul)) checkConsul(consul, at(path, 'consul'), problems)
  if (isRecord(backoff)) checkOrder(backoff, ['initial', 'max'], INITIAL.backoff, at(path, 'backoff'), problems)
}

function checkTargets (targets: readonly unknown[], path: string, problems: OptionProblem[]): void {
  reportTwins(targets.map((target, index) => {
    const place = at(path, index)
    return isRecord(target) ? [normalUrl(target['url']), at(place, 'url')] : [normalUrl(target), place]
  }), 'must not be a target twice', problems)
}

function checkDns (dns: Options, path: string, problems: OptionProblem[]): void {
  checkOne(dns, 'server', 'servers', path, problems)
  checkOrder(dns, ['minInterval', 'maxInterval'], INITIAL.dns, path, problems)
  if (dns['type'] === 'SRV' && dns['port'] !== undefined) {
    problems.push({ path: at(path, 'port'), rule: 'does nothing beside type: SRV, whose records have ports', value: dns['port'] })
  }
}

function checkConsul (consul: Options, path: string, problems: OptionProblem[]): void {
  checkOne(consul, 'tag', 'tags', path, problems)
  const { address = INITIAL.consul.address, tls } = consul
  if (tls !== undefined && typeof address === 'string' && !/^https:/i.test(address)) {
    problems.push({ path: at(path, 'tls'), rule: 'does nothing unless address begins with https://' })
  }
}

function checkOne (options: Options, one: string, many: string, path: string, problems: OptionProblem[]): void {
  if (options[one] !== undefined && options[many] !== undefined) problems.push({ path: at(path, one), rule: `must not stand beside ${many}`, value: options[one] })
}

/** The first must not be above the second; it is reported where something is said. */
function checkOrder (options: Options, [low, high]: readonly [string, string], initial: Readonly<Record<string, unknown>>, path: string, problems: OptionProblem[]): void {
  const { [low]: least = initial[low], [high]: most = initial[high] } = options
  if (!isDuration(least) || !isDuration(most) || milliseconds(least) <= milliseconds(most)) return
  const isLow = options[low] !== undefined
  problems.push({
    path: at(path, isLow ? low : high),
    rule: isLow ? `must not be above ${high} (${String(most)})` : `must not be below ${low} (${String(least)})`,
    value: options[isLow ? low : high]
  })
}

function normalUrl (url: unknown): string | undefined {
  const split = typeof url === 'string' ? splitTargetUrl(url) : ''
  return typeof split === 'string' ? undefined : split.url
}
