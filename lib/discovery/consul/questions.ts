/**
 * Questions to Consul's health endpoint, and what their answers say: the index, the entries, or why there are none.
 */
import { explainConnectFailure } from '../../connect/failure.ts'
import { parseRetryAfter } from '../../retry/retry-after.ts'
import { oneLine, readJson, readMessage } from './body.ts'
import { consulAddress } from './line.ts'
import type { Dispatcher } from 'undici'
import type { Line } from './line.ts'
import type { ConsulDiscoveryConfig, ProviderTools } from '../types.ts'

/** Longest `Retry-After` that is followed, ms. */
const LONGEST_REST = 60_000

export interface Question {
  /** Answer when the state has passed this index, or after `wait`; 0: at once. */
  readonly index: bigint
  readonly signal: AbortSignal
}

export interface ConsulAnswer {
  /** Where the state stands, at least 1; 0: Consul has not said. */
  readonly index: bigint
  readonly entries: readonly unknown[]
}

export interface Questions {
  /** Resolves when Consul wants to be asked again; at once unless an answer had a `Retry-After`. */
  ready (signal: AbortSignal): Promise<void>
  ask (line: Line, question: Question): Promise<ConsulAnswer>
}

/** @throws RangeError for an address that is none */
export function createQuestions (config: ConsulDiscoveryConfig, { now, sleep, warn }: ProviderTools): Questions {
  const { service, token, timeout, wait } = config
  const where = `Consul at ${consulAddress(config.address).url}`
  const path = `${consulAddress(config.address).basePath}/v1/health/service/${encodeURIComponent(service)}`
  const headers = { accept: 'application/json', 'user-agent': 'fastify-reverseproxy', ...(token === undefined || token === '' ? undefined : { 'x-consul-token': token }) }
  let restUntil = -Infinity

  /** Consul itself may add a sixteenth to the wait. */
  const patienceFor = (index: bigint): number => timeout + (index > 0n ? wait + wait / 16 : 0)

  function pathOf (index: bigint): string {
    const query = queryOf(config)
    if (index > 0n) {
      query.set('index', String(index))
      query.set('wait', `${Math.ceil(wait)}ms`)
    }
    return query.size === 0 ? path : `${path}?${query}`
  }

  async function send (line: Line, { index, signal }: Question): Promise<Dispatcher.ResponseData> {
    try {
      return await line.request({ method: 'GET', path: pathOf(index), headers, headersTimeout: patienceFor(index), bodyTimeout: timeout })
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw new Error(`${where} cannot be asked: ${reasonOf(error as NodeJS.ErrnoException)}`, { cause: error })
    }
  }

  async function entriesOf ({ body }: Dispatcher.ResponseData, { signal }: Question): Promise<readonly unknown[]> {
    const until = now() + timeout
    try {
      const entries = await readJson(body, () => now() > until)
      if (!Array.isArray(entries)) throw new Error('it is no list of instances')
      return entries
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw new Error(`the answer of ${where} cannot be used: ${(error as Error).message}`, { cause: error })
    }
  }

  async function refused ({ statusCode, headers: said, body }: Dispatcher.ResponseData, { signal }: Question): Promise<Error> {
    const text = await readMessage(body)
    if (signal.aborted) throw signal.reason
    const rest = restOf(said)
    if (rest > 0) restUntil = now() + rest
    const message = oneLine(token === undefined || token === '' ? text : text.replaceAll(token, '…'))
    return new Error(`${where} answered ${statusCode} when asked for the service "${service}"${message === '' ? '' : `: ${message}`}`)
  }

  /** Where the token may read nothing of the service the list is empty, and that is not what there is. */
  function checkCompleteness (said: Dispatcher.ResponseData['headers'], entries: readonly unknown[]): void {
    if (said['x-consul-results-filtered-by-acls'] === 'true') {
      const missing = `the token may not read all of the service "${service}": it needs service:read and node:read`
      if (entries.length === 0) throw new Error(`${where} has hidden every instance, for ${missing}`)
      warn(`Consul has hidden instances, for ${missing}`)
    }
    // to read without a leader is what `stale` is for
    if (said['x-consul-knownleader'] === 'false' && config.consistency !== 'stale') warn('Consul has no leader: its list may be out of date', { service })
  }

  return {
    async ready (signal) {
      const rest = restUntil - now()
      if (rest > 0) await sleep(rest, signal)
    },

    async ask (line, question) {
      const response = await send(line, question)
      if (response.statusCode !== 200) throw await refused(response, question)
      const entries = await entriesOf(response, question)
      checkCompleteness(response.headers, entries)
      return { index: indexOf(response.headers['x-consul-index']), entries }
    }
  }
}

/** The token has no place in it: URLs end up in logs. */
function queryOf ({ datacenter, tags, namespace, partition, passing, consistency }: ConsulDiscoveryConfig): URLSearchParams {
  const query = new URLSearchParams()
  if (datacenter !== undefined) query.set('dc', datacenter)
  if (namespace !== undefined) query.set('ns', namespace)
  if (partition !== undefined) query.set('partition', partition)
  for (const tag of tags) query.append('tag', tag)
  if (passing) query.set('passing', 'true')
  if (consistency !== 'default') query.set(consistency, '')
  return query
}

/** Why a question got no answer, in words. */
function reasonOf (error: NodeJS.ErrnoException): string {
  if (error.code === 'UND_ERR_HEADERS_TIMEOUT') return 'it does not answer in time'
  return error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' ? 'it has closed the connection' : explainConnectFailure(error).reason
}

/** uint64 in Consul, so more than a number can hold. */
function indexOf (header: string | string[] | undefined): bigint {
  return typeof header === 'string' && /^\d{1,20}$/.test(header) ? BigInt(header) : 0n
}

/** ms. A date is taken by Consul's own clock. */
function restOf (headers: Dispatcher.ResponseData['headers']): number {
  const date = headers['date']
  const rest = parseRetryAfter(headers['retry-after'], typeof date === 'string' ? Date.parse(date) : NaN) ?? 0
  return Number.isNaN(rest) ? 0 : Math.min(rest, LONGEST_REST)
}
