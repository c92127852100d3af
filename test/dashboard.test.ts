/** The dashboard shows what there is: every metric in it exists, with the labels that it asks for, and every expression is one. */
import t from 'tap'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Registry } from 'prom-client'
import { CATALOGUE } from '../lib/metrics/index.ts'
import type { MetricInfo } from '../lib/metrics/index.ts'
import { meteringOf } from './lib/metrics/scene.ts'
import { ROOT } from './helper-readme.ts'

interface Panel { readonly id: number, readonly title: string, readonly type: string, readonly gridPos: { readonly x: number, readonly y: number, readonly w: number, readonly h: number }, readonly targets?: ReadonlyArray<{ readonly expr: string, readonly legendFormat: string }> }
interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: ReadonlyArray<{ readonly name: string, readonly query: string | { readonly query: string } }> }
  readonly annotations: { readonly list: ReadonlyArray<{ readonly expr: string }> }
}

const dashboard = JSON.parse(await readFile(join(ROOT, 'deploy/grafana/reverseproxy.json'), 'utf8')) as Dashboard
const targets = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(target => ({ title, ...target })))
const expressions = [...targets.map(({ expr }) => expr), ...dashboard.annotations.list.map(({ expr }) => expr)]
const queries = dashboard.templating.list.flatMap(({ query }) => typeof query === 'string' ? [] : [query.query])

/** Names of the process that prom-client gives. */
const registry = new Registry()
meteringOf({ registry }).addProcess()
const ofProcess = registry.getMetricsAsArray().map(({ name }) => name).filter(name => !name.startsWith('reverseproxy_'))

const ours = (text: string): string[] => [...text.matchAll(/\breverseproxy_\w+/g)].map(([name]) => name.replace(/^reverseproxy_/, ''))
const infoOf = (name: string): MetricInfo | undefined => (CATALOGUE as Readonly<Record<string, MetricInfo>>)[name] ?? histogramOf(name)
function histogramOf (name: string): MetricInfo | undefined {
  const info = (CATALOGUE as Readonly<Record<string, MetricInfo>>)[name.replace(/_(bucket|sum|count)$/, '')]
  return info?.type === 'histogram' ? info : undefined
}

t.test('every metric exists', async t => {
  for (const text of [...expressions, ...queries]) {
    for (const name of ours(text)) t.ok(infoOf(name), name)
    for (const [name] of text.matchAll(/\b(?:process|nodejs)_\w+/g)) t.ok(ofProcess.includes(name), name)
  }
})

t.test('every metric is shown', async t => {
  const shown = new Set(expressions.flatMap(ours).map(name => name.replace(/_(bucket|sum|count)$/, '')))
  for (const name of Object.keys(CATALOGUE)) t.ok(shown.has(name), name)
})

t.test('labels are those of the metrics', async t => {
  for (const { expr, legendFormat, title } of targets) {
    const known = new Set(['job', 'instance', 'le', ...ours(expr).flatMap(name => infoOf(name)?.labels ?? [])])
    const asked = [
      ...[...expr.matchAll(/(\w+)\s*=~?"/g)].map(([, label]) => label!),
      ...[...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, labels]) => labels!.split(', ')),
      ...[...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!)
    ]
    for (const label of asked) t.ok(known.has(label), `${title}: ${label} in ${expr}`)
  }
})

t.test('a counter is only shown as a rate', async t => {
  for (const expr of expressions) {
    for (const name of ours(expr)) if (infoOf(name)?.type !== 'gauge') t.match(expr, new RegExp(`(?:rate|increase)\\(reverseproxy_${name}`))
  }
})

t.test('promtool takes every expression for one', async t => {
  const rules = expressions.map((expr, index) => ({ record: `dashboard:${index}`, expr: expr.replaceAll('$__rate_interval', '5m') }))
  const folder = t.testdir({ 'rules.json': JSON.stringify({ groups: [{ name: 'dashboard', rules }] }) })
  const { stdout } = await promisify(execFile)('promtool', ['check', 'rules', join(folder, 'rules.json')]).catch((error: Error & { code: unknown, stdout: string, stderr: string }) => {
    throw error.code === 'ENOENT' ? new Error('promtool is missing: apt-get install prometheus') : new Error(`${error.stdout}${error.stderr}`)
  })
  t.match(stdout, new RegExp(`SUCCESS: ${rules.length} rules found`))
})

t.test('panels have numbers of their own and do not overlap', async t => {
  const { panels } = dashboard
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  for (const [index, { title, gridPos: one }] of panels.entries()) {
    t.ok(one.x + one.w <= 24, title)
    for (const { title: second, gridPos: other } of panels.slice(index + 1)) {
      const apart = one.x + one.w <= other.x || other.x + other.w <= one.x || one.y + one.h <= other.y || other.y + other.h <= one.y
      t.ok(apart, `${title} and ${second}`)
    }
  }
})
