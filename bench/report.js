/** From samples to figures, from figures to tables. Medians throughout; ratios are taken within a round. */

/** @typedef {{ name: string, scenario: import('./scenarios.js').Scenario, samples: import('./measure.js').Sample[] }} Result */

const columns = {
  closed: { cpu: 'CPU µs/request', rate: 'requests/s', p50: 'p50 ms', p99: 'p99 ms', rss: 'RSS MB' },
  throughput: { rate: 'requests/s', cpu: 'CPU µs/request', p50: 'p50 ms', p99: 'p99 ms', rss: 'RSS MB' },
  open: { p50: 'p50 ms', p99: 'p99 ms', p99Sent: 'p99 ms since sent', cpu: 'CPU µs/request', lag: 'client lag p99 ms', rss: 'RSS MB' },
  delay: { delay: 'loop delay p99 ms', delayMax: 'max ms', p50: 'p50 ms', p99: 'p99 ms', cpu: 'CPU µs/request', rss: 'RSS MB' },
  idle: { held: 'connections', bare: 'RSS MB before', rss: 'RSS MB' },
  body: { bare: 'RSS MB before', up: 'growth MB, up', upSeconds: 's, up', down: 'growth MB, down', downSeconds: 's, down' }
}
const compared = { throughput: 'rate', open: 'p99', delay: 'delay' }
const digits = { cpu: 1, delay: 1, delayMax: 1, p50: 2, p99: 2, p99Sent: 2, lag: 2, upSeconds: 1, downSeconds: 1 }

/**
 * One scenario as markdown: its table, the noise, the targets.
 * @param {Result} result
 */
export function table ({ name, scenario, samples }) {
  const metrics = columns[scenario.kind]
  const metric = compared[scenario.kind] ?? 'cpu'
  const { reference } = scenario
  const present = new Set(samples.map(sample => sample.variant))
  const withRatio = reference !== undefined && present.has(reference)
  const head = ['variant', 'copies', ...Object.values(metrics)]
  if (withRatio) head.push(`${metric} ratio to ${reference}`, 'min … max')

  const rows = [...present].map(variant => {
    const cells = [variant, String(countCopies(samples, variant))]
    for (const name of Object.keys(metrics)) cells.push(figure(samples, variant, name).toFixed(digits[name] ?? 0))
    if (withRatio) cells.push(...ratioCells(ratio(samples, variant, reference, metric)))
    return cells
  })
  const parts = [`### ${name}: ${scenario.title}`, grid(head, rows)]
  const spread = withRatio ? copySpread(samples, reference, metric) : undefined
  if (spread !== undefined) parts.push(`Copies of ${reference} among themselves: ${spread.min.toFixed(2)} … ${spread.max.toFixed(2)} (the noise floor).`)
  if (scenario.note !== undefined) parts.push(scenario.note)
  return parts.join('\n\n')
}

/**
 * The targets of all scenarios, as data.
 * @param {Result[]} results
 */
export function judge (results) {
  return results.flatMap(({ name, scenario, samples }) => scenario.targets.flatMap(({ metric, of, over, atMost, aim, unit = '' }) => {
    const present = variant => samples.some(sample => sample.variant === variant)
    if (!present(of) || (over !== undefined && !present(over))) return []
    const { median: value, min, max } = over === undefined ? whole(figure(samples, of, metric)) : ratio(samples, of, over, metric)
    const what = over === undefined ? `${of}: ${metric}` : `${of} / ${over}: ${metric}`
    return [{ scenario: name, what, atMost, aim, value, min, max, unit, met: value <= atMost }]
  }))
}

/** @param {ReturnType<typeof judge>} verdicts */
export function verdictTable (verdicts) {
  const rows = verdicts.map(({ scenario, what, atMost, aim, value, min, max, unit, met }) => {
    const places = { '': 2, ms: 1 }[unit] ?? 0
    const range = min === max ? '' : `${min.toFixed(2)} … ${max.toFixed(2)}`
    const limit = aim === undefined ? atMost.toFixed(places) : `${atMost.toFixed(places)} (aim ${aim.toFixed(places)})`
    return [scenario, what, `${limit} ${unit}`, `${value.toFixed(places)} ${unit}`, range, met ? 'yes' : '**no**']
  })
  return ['### Targets', grid(['scenario', 'figure', 'at most', 'measured', 'min … max', 'met'], rows)].join('\n\n')
}

/** The median over the rounds of the median over the copies. */
function figure (samples, variant, metric) {
  return median(perRound(samples, variant, metric))
}

/**
 * Ratio of two variants: per round, each the median of its copies; then the median, and the range as a sign of noise.
 * @returns {{ median: number, min: number, max: number }}
 */
function ratio (samples, variant, reference, metric) {
  const below = perRound(samples, reference, metric)
  const ratios = perRound(samples, variant, metric).map((value, round) => value / below[round])
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) }
}

function perRound (samples, variant, metric) {
  return groupByRound(of(samples, variant)).map(group => median(group.map(sample => sample[metric])))
}

/** How far copies of the same code are apart: each copy's median to the median of all. */
function copySpread (samples, variant, metric) {
  const count = countCopies(samples, variant)
  if (count < 2) return undefined
  const own = of(samples, variant)
  const each = Array.from({ length: count }, (_, copy) => median(own.filter(sample => sample.copy === copy).map(sample => sample[metric])))
  const middle = median(each)
  return { min: Math.min(...each) / middle, max: Math.max(...each) / middle }
}

function countCopies (samples, variant) {
  return new Set(of(samples, variant).map(sample => sample.copy)).size
}

function of (samples, variant) {
  return samples.filter(sample => sample.variant === variant)
}

function groupByRound (samples) {
  const groups = []
  for (const sample of samples) (groups[sample.round] ??= []).push(sample)
  return groups
}

function median (values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function whole (value) {
  return { median: value, min: value, max: value }
}

function ratioCells ({ median, min, max }) {
  return [median.toFixed(2), `${min.toFixed(2)} … ${max.toFixed(2)}`]
}

function grid (head, rows) {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map(row => row[column].length)))
  const line = cells => `| ${cells.map((cell, column) => column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])).join(' | ')} |`
  const rule = `|${widths.map((width, column) => column === 0 ? '-'.repeat(width + 2) : '-'.repeat(width + 1) + ':').join('|')}|`
  return [line(head), rule, ...rows.map(line)].join('\n')
}
