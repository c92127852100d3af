/**
 * npm run bench, or after a build:
 *   node bench/run.js [--scenario name,…] [--rounds n] [--seconds s] [--copies n] [--paired] [--quick] [--json file] [--node-args='…']
 * Exit code 1 when a request went wrong; targets that were missed are told, not judged. See README.md beside this file.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { measure } from './measure.js'
import { chooseCores } from './processes.js'
import { judge, table, verdictTable } from './report.js'
import { scenarios } from './scenarios.js'

const { values } = parseArgs({
  options: {
    scenario: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    copies: { type: 'string' },
    paired: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    'node-args': { type: 'string' }
  }
})

/** @type {import('./measure.js').Settings} */
const settings = {
  rounds: Number(values.rounds ?? (values.quick ? 3 : 5)),
  seconds: Number(values.seconds ?? (values.quick ? 0.5 : 1)),
  warmUp: values.quick ? 5_000 : 25_000,
  copies: values.copies !== undefined ? Number(values.copies) : values.quick ? 1 : undefined,
  paired: values.paired,
  nodeArguments: values['node-args']?.split(/\s+/).filter(Boolean) ?? [],
  cores: chooseCores()
}

const built = existsSync(new URL('../dist/index.js', import.meta.url))
const begin = new Date()
const results = []

print(intro())
for (const [name, scenario] of chooseScenarios()) {
  if (Object.keys(scenario.variants).length === 0) continue
  const samples = await measure(scenario, settings).catch(error => stop(`${name}, ${error.message}`))
  results.push({ name, scenario, samples })
  print(table(results.at(-1)))
}
const verdicts = judge(results)
if (verdicts.length > 0) print(verdictTable(verdicts))
save()

function chooseScenarios () {
  const names = values.scenario?.split(',') ?? Object.keys(scenarios)
  return names.map(name => {
    const scenario = scenarios[name]
    if (scenario === undefined) throw new RangeError(`--scenario: ${name} is none of ${Object.keys(scenarios).join(', ')}`)
    return [name, built ? scenario : withoutGateway(scenario)]
  })
}

/** Before the first build the peers can still be compared. */
function withoutGateway (scenario) {
  const variants = Object.entries(scenario.variants).filter(([, { ours }]) => !ours)
  return { ...scenario, variants: Object.fromEntries(variants) }
}

function intro () {
  const { gateway, load, upstream } = settings.cores
  const lines = [
    `## Benchmark of ${begin.toISOString()}`,
    `Node ${process.version}, ${cpus()[0]?.model} × ${cpus().length}; ` +
      `${settings.rounds} rounds of ${settings.seconds} s ${settings.paired ? 'all at once' : 'in turn'}; ` +
      (gateway === undefined ? 'not pinned' : `gateways on core ${gateway}, load on ${load}, upstreams on ${upstream}`) +
      (settings.nodeArguments.length > 0 ? `; node ${settings.nodeArguments.join(' ')}` : '')
  ]
  if (!built) lines.push('dist/index.js is missing: peers only.')
  return lines.join('\n\n')
}

/** A run with one wrong answer is no run: nothing is written. */
function stop (message) {
  console.error(message)
  process.exit(1)
}

function print (text) {
  console.log(text + '\n')
}

function save () {
  const folder = new URL('results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const name = begin.toISOString().replaceAll(':', '').slice(0, 17)
  const text = [intro(), ...results.map(table), ...(verdicts.length > 0 ? [verdictTable(verdicts)] : [])].join('\n\n')
  const { cores: _, ...rest } = settings
  const data = JSON.stringify({ at: begin, node: process.version, settings: rest, verdicts, results: results.map(({ name, samples }) => ({ name, samples })) }, null, 1)
  writeFileSync(new URL(`${name}.md`, folder), text + '\n')
  writeFileSync(new URL(`${name}.json`, folder), data)
  if (values.json !== undefined) writeFileSync(values.json, data)
  print(`bench/results/${name}.md, ${Math.round((Date.now() - begin.getTime()) / 1000)} s`)
}
