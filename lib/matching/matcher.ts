/**
 * A route's conditions beyond path and method as one function of the raw request.
 */
import type { IncomingMessage } from 'node:http'
import type { RouteMatch, ValueMatch } from '../types.ts'
import { createHostTest, hostOf } from './host.ts'
import { queryValues } from './query.ts'
import { createValueTest } from './value.ts'

/** Whether a request meets a route's conditions. */
export type Matcher = (request: IncomingMessage) => boolean

/** undefined when there are no conditions: every request will do. */
export function createMatcher (match: RouteMatch): Matcher | undefined {
  const tests: Matcher[] = [
    ...match.hosts.length > 0 ? [hostMatcher(match)] : [],
    ...match.headers.map(headerMatcher),
    ...match.query.map(queryMatcher)
  ]
  const [first, ...rest] = tests
  return rest.length === 0 ? first : request => tests.every(test => test(request))
}

function hostMatcher ({ hosts }: RouteMatch): Matcher {
  const tests = hosts.map(createHostTest)
  return (request) => {
    const host = hostOf(request)
    return tests.some(test => test(host))
  }
}

function headerMatcher ([name, match]: readonly [string, ValueMatch]): Matcher {
  const key = name.toLowerCase()
  const test = createValueTest(match)
  return request => test(headerValues(request.headers[key]))
}

/**
 * Node joins most repeated headers with a comma, which is also how one line carries a list (RFC 9110 section 5.3).
 * So each part is a value, and the whole as well, for values that hold commas themselves.
 */
function headerValues (value: string | string[] | undefined): readonly string[] {
  if (value === undefined) return []
  if (typeof value !== 'string') return value
  return value.includes(',') ? [value, ...value.split(',').map(part => part.trim())] : [value]
}

function queryMatcher ([name, match]: readonly [string, ValueMatch]): Matcher {
  const test = createValueTest(match)
  return request => test(queryValues(request.url ?? '', name))
}
