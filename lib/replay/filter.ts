/** Which lines of a dump are sent: `route=users`, `backend=orders`, `status>=400`, `status=5xx`, `method=GET`, joined by commas. Pure. */
import type { DumpLine } from './types.ts'

export type LineFilter = (line: DumpLine) => boolean

const CONDITION = /^\s*(route|backend|method|status)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*$/

/** All conditions must hold. Returns the sentence that was broken where it is none. */
export function parseFilter (text: string): LineFilter | string {
  const conditions: LineFilter[] = []
  for (const part of text.split(',')) {
    const [, field = '', operator = '', value = ''] = CONDITION.exec(part) ?? []
    if (field === '' || value === '') return `"${part.trim()}" is no condition: route, backend, method or status, then = or != (for status also >, >=, <, <=), then a value`
    const condition = field === 'status' ? statusCondition(operator, value) : textCondition(field, operator, value)
    if (typeof condition === 'string') return condition
    conditions.push(condition)
  }
  return line => conditions.every(condition => condition(line))
}

function statusCondition (operator: string, value: string): LineFilter | string {
  const [, group] = /^([1-5])xx$/i.exec(value) ?? []
  const [low, high] = group === undefined ? [Number(value), Number(value)] : [Number(group) * 100, Number(group) * 100 + 99]
  if (!Number.isInteger(low)) return `"${value}" is no status: a number, or a class such as 5xx`
  return ({ status_code: status }) => {
    switch (operator) {
      case '=': return status >= low && status <= high
      case '!=': return status < low || status > high
      case '>': return status > high
      case '>=': return status >= low
      case '<': return status < low
      default: return status <= high
    }
  }
}

function textCondition (field: string, operator: string, value: string): LineFilter | string {
  if (operator !== '=' && operator !== '!=') return `${field} can be = or != only`
  return line => {
    const found = field === 'route' ? line.rule : field === 'backend' ? line.backend : line.method
    return (found === value) === (operator === '=')
  }
}
