/**
 * A plan as a text for people: `+` comes, `-` goes, `~` changes.
 */
import { isEmptyPlan } from './index.ts'
import { HIDDEN } from './show.ts'
import type { BackendChange, Change, Changes, NamedChange, Plan, RouteName } from './types.ts'

/** Longest value that is shown in full, in characters. */
const LONGEST = 60

/** Ends with a newline. */
export function planText (plan: Plan): string {
  if (isEmptyPlan(plan)) return 'Nothing would change.\n'
  const { server, global, backends, routes, tenants, effects } = plan
  const blocks = [
    block('server', server.map(change => `${changeText(change)}${change.how === 'restart' ? '  (needs a restart)' : ''}`)),
    block('gateway', global.map(changeText)),
    block('backends', changesText(backends, name => name, backendText)),
    block('routes', changesText(routes, routeName, change => [`~ ${routeName(change)}`, ...indented(change.options.map(changeText))])),
    block('tenants', changesText(tenants, name => name, tenantText)),
    block('open connections', effects),
    [summary(plan)]
  ]
  return blocks.filter(lines => lines.length > 0).map(lines => `${lines.join('\n')}\n`).join('\n')
}

function block (title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...indented(lines)]
}

function indented (lines: readonly string[]): string[] {
  return lines.map(line => `  ${line}`)
}

function changesText<Name, Changed> ({ added, removed, changed }: Changes<Name, Changed>, nameOf: (name: Name) => string, textOf: (change: Changed) => string[]): string[] {
  return [...added.map(name => `+ ${nameOf(name)}`), ...removed.map(name => `- ${nameOf(name)}`), ...changed.flatMap(textOf)]
}

function backendText ({ name, options, targets, poolsKept }: BackendChange): string[] {
  return [`~ ${name}`, ...indented([
    ...options.map(changeText),
    ...targets.added.map(url => `+ ${url}`),
    ...targets.removed.map(url => `- ${url}  (drains)`),
    ...targets.changed.flatMap(({ url, options }) => [`~ ${url}`, ...indented(options.map(changeText))]),
    ...(poolsKept ? [] : ['all connections are closed and made anew'])
  ])]
}

function tenantText ({ name, options }: NamedChange): string[] {
  return [`~ ${name}`, ...indented(options.map(change => change.path === '' ? `~ ${valuesText(change)}` : changeText(change)))]
}

function routeName ({ name, path }: RouteName): string {
  return name === path ? name : `${name} (${path})`
}

function changeText (change: Change): string {
  return `${change.from === undefined ? '+' : change.to === undefined ? '-' : '~'} ${change.path}: ${valuesText(change)}`
}

function valuesText ({ from, to }: Change): string {
  if (from === HIDDEN && to === HIDDEN) return HIDDEN
  const texts = [from, to].filter(value => value !== undefined).map(value => value === HIDDEN ? HIDDEN : JSON.stringify(value))
  const same = texts.length === 2 ? sameStart(texts[0]!, texts[1]!) : 0
  return texts.map(text => short(text, same)).join(' -> ')
}

function sameStart (one: string, other: string): number {
  let length = 0
  while (length < one.length && one[length] === other[length]) length++
  return length
}

/** The beginning; what two long ones differ in when that is the same. */
function short (text: string, same: number): string {
  const start = same > LONGEST / 2 && text.length > LONGEST ? same - LONGEST / 4 : 0
  const rest = start === 0 ? text : `...${text.slice(start)}`
  return rest.length > LONGEST ? `${rest.slice(0, LONGEST - 3)}...` : rest
}

function summary ({ server, global, backends, routes, tenants }: Plan): string {
  const kinds = [backends, routes, tenants]
  const sum = (count: (changes: Changes<unknown, unknown>) => number) => kinds.reduce((all, changes) => all + count(changes), 0)
  const options = server.length + global.length
  return `Plan: ${sum(({ added }) => added.length)} to add, ${sum(({ changed }) => changed.length)} to change, ${sum(({ removed }) => removed.length)} to remove` +
    `${options === 0 ? '' : `, ${options} ${options === 1 ? 'option' : 'options'} of the gateway`}; ${sum(({ unchanged }) => unchanged)} unchanged.`
}
