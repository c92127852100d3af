/**
 * What the fault tests of composites share: one part that goes wrong in every role a part may have, next to a healthy
 * sibling, and what the client, the log and the backend then have to see.
 */
import { Writable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { rawUpstream, respond, startGateway, waitFor } from './helper.ts'
import type { GatewayOptions, RawUpstream, RawUpstreamOptions, Script, StartedGateway, TestLike } from './helper.ts'

export type CompositeOptions = Parameters<FastifyInstance['reverseproxy']['composite']['add']>[2]
export type PartOptions = NonNullable<CompositeOptions['parts']>[string]

export const JSON_TYPE = [['Content-Type', 'application/json']] as const

/** 200 with a JSON body. */
export function jsonAnswer (body: string | Buffer, headers: ReadonlyArray<readonly [string, string]> = []): Buffer {
  return respond(200, [...JSON_TYPE, ...headers], body)
}

// ---- the log

export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly reqId?: string
  readonly composite?: string
  readonly parts?: ReadonlyArray<{ readonly name: string, readonly state: string, readonly code?: string, readonly status?: number, readonly cause?: string }>
}

export interface Log {
  readonly lines: LogLine[]
  readonly stream: Writable
  /** Lines about failed parts of one route. */
  partsOf (route: string): LogLine[]
  /** Lines at level error and above. */
  errors (): LogLine[]
}

export function collectLog (): Log {
  const lines: LogLine[] = []
  const stream = new Writable({
    write (chunk, _encoding, done) {
      for (const line of String(chunk).split('\n')) if (line !== '') lines.push(JSON.parse(line) as LogLine)
      done()
    }
  })
  return {
    lines,
    stream,
    partsOf: route => lines.filter(({ composite }) => composite === route),
    errors: () => lines.filter(({ level }) => level >= 50)
  }
}

// ---- gateways with a log

export interface Logged extends StartedGateway {
  readonly log: Log
  /** Requests under way by target, over all backends. */
  inflight (): number
}

/** A gateway with these composites, by path. */
export async function startComposites (t: TestLike, backends: GatewayOptions['backends'], routes: Readonly<Record<string, CompositeOptions>>, options: GatewayOptions = {}): Promise<Logged> {
  const log = collectLog()
  const gateway = await startGateway(t, { circuitBreaker: false, ...options, backends } as GatewayOptions, app => {
    for (const [path, composite] of Object.entries(routes)) app.reverseproxy.composite.add('GET', path, composite)
  }, { logger: { level: 'warn', stream: log.stream } })
  const { app } = gateway
  return {
    ...gateway,
    log,
    inflight: () => app.reverseproxy.backends.list().flatMap(({ targets }) => targets).reduce((sum, { inflight }) => sum + inflight, 0)
  }
}

// ---- one part that goes wrong, in every role

export const STRATEGIES = ['merge', 'object'] as const
export type Strategy = typeof STRATEGIES[number]
export const ROLES = ['optional', 'required', 'fallback', 'alone'] as const
export type Role = typeof ROLES[number]

export interface FaultOptions extends RawUpstreamOptions {
  /** Options of the part that goes wrong. */
  readonly part?: PartOptions
  readonly composite?: Partial<CompositeOptions>
  /** Options of its backend besides the target. */
  readonly backend?: Readonly<Record<string, unknown>>
  /** The target's URL, where it is not the upstream's. */
  readonly url?: string
  /** More backends. */
  readonly backends?: Readonly<Record<string, string>>
}

export interface Faulty extends Logged {
  readonly bad: RawUpstream
  readonly good: RawUpstream
}

/** Routes `/<strategy>/<role>`, each with `_meta`; `/object/required` and so on. */
export async function startFaulty (t: TestLike, script: Script, { part = {}, composite = {}, backend = {}, url, backends = {}, ...upstream }: FaultOptions = {}): Promise<Faulty> {
  const bad = await rawUpstream(t, script, upstream)
  const good = await rawUpstream(t, jsonAnswer('{"good":1}'))
  const routes: Record<string, CompositeOptions> = {}
  for (const strategy of STRATEGIES) {
    for (const role of ROLES) {
      const faulty: PartOptions = { backend: 'bad', path: '/bad', timeout: 5_000, ...part, ...(role === 'required' ? { required: true } : role === 'fallback' ? { fallback: { from: 'fallback' } } : undefined) }
      const parts: Record<string, PartOptions> = role === 'alone' ? { bad: faulty } : { bad: faulty, good: { backend: 'good', path: '/good' } }
      routes[`/${strategy}/${role}`] = { strategy, meta: true, ...composite, parts }
    }
  }
  const gateway = await startComposites(t, { bad: { targets: [url ?? bad.url], ...backend }, good: good.url, ...backends } as GatewayOptions['backends'], routes)
  return { ...gateway, bad, good }
}

/** What a fault has to come to. */
export interface Expected {
  /** Code of the part. */
  readonly code: string
  /** Status of the part, where it answered. */
  readonly status?: number | undefined
  /** What the client gets when the part is required. Default 502 with the code. */
  readonly required?: readonly [status: number, code: string]
  /** What the client gets when it is the only part. Default: 504 for a timeout, else 502 RP_ERR_NOTHING_USABLE. */
  readonly alone?: readonly [status: number, code: string]
  /** Longest time, ms. Default: less than the 5 s that a part has where a fault says nothing else. */
  readonly within?: number
  /** Whether the backend can be made well again. Default true. */
  readonly heals?: boolean
}

export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly ms: number
}

export async function ask (url: string, init: RequestInit = {}): Promise<Answered> {
  const startedAt = performance.now()
  const response = await fetch(url, { signal: AbortSignal.timeout(15_000), ...init })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, ms: performance.now() - startedAt }
}

interface Meta { complete: boolean, parts: Array<{ name: string, state: string, status?: number, code?: string, ms: number }> }

/** The answer without its `_meta`, and that. */
export function withoutMeta (text: string): { body: unknown, meta: Meta } {
  const { _meta: meta, ...body } = JSON.parse(text) as { _meta: Meta }
  return { body, meta }
}

/** Asks every route once, all at the same time, checks what came of it, and then that the backend can be asked again. */
export async function checkFault (t: Test, gateway: Faulty, expected: Expected): Promise<void> {
  const { code, status, within = 4_500, heals = true } = expected
  const routes = STRATEGIES.flatMap(strategy => ROLES.map(role => ({ strategy, role, path: `/${strategy}/${role}` })))
  const answers = await Promise.all(routes.map(async route => ({ ...route, answer: await ask(gateway.url + route.path) })))
  for (const { strategy, role, path, answer } of answers) {
    t.ok(answer.ms < within, `${path}: over within ${within} ms (${Math.round(answer.ms)})`)
    if (role === 'optional' || role === 'fallback') checkPartial(t, path, answer, strategy, role, { code, status })
    else checkError(t, path, answer, role === 'required' ? expected.required ?? [502, code] : aloneOf(expected))
    checkLog(t, gateway.log, path, role === 'fallback' ? 'fallback' : 'failed', code)
  }
  checkSecrets(t, answers.map(({ answer }) => answer.text), gateway)
  if (heals) await checkHealed(t, gateway)
}

function aloneOf ({ code, alone }: Expected): readonly [status: number, code: string] {
  return alone ?? (code === 'RP_ERR_TIMEOUT' ? [504, code] : [502, 'RP_ERR_NOTHING_USABLE'])
}

function checkPartial (t: Test, path: string, answer: Answered, strategy: Strategy, role: Role, { code, status }: Expected): void {
  t.equal(answer.status, 200, `${path}: status`)
  t.equal(answer.headers.get('x-composite-complete'), 'false', `${path}: says that it is not complete`)
  t.equal(answer.headers.get('cache-control'), 'no-store', `${path}: not to be kept`)
  t.match(answer.headers.get('content-type'), /^application\/json/, `${path}: type`)
  const { body, meta } = withoutMeta(answer.text)
  const fallback = role === 'fallback' ? { from: 'fallback' } : undefined
  t.same(body, strategy === 'merge' ? { ...fallback, good: 1 } : { ...(fallback === undefined ? undefined : { bad: fallback }), good: { good: 1 } }, `${path}: body`)
  t.equal(meta.complete, false, `${path}: _meta.complete`)
  const [bad, good] = meta.parts
  t.same({ ...bad, ms: 0 }, { name: 'bad', state: role === 'fallback' ? 'fallback' : 'failed', ...(status === undefined ? undefined : { status }), code, ms: 0 }, `${path}: _meta of the part`)
  t.same({ ...good, ms: 0 }, { name: 'good', state: 'ok', status: 200, ms: 0 }, `${path}: _meta of its sibling`)
}

function checkError (t: Test, path: string, answer: Answered, [status, code]: readonly [status: number, code: string]): void {
  t.equal(answer.status, status, `${path}: status`)
  const body = JSON.parse(answer.text) as Record<string, unknown>
  t.same(Object.keys(body).sort(), ['code', 'error', 'message', 'statusCode'], `${path}: Fastify's error shape`)
  t.match(body, { statusCode: status, code }, `${path}: code`)
}

function checkLog (t: Test, log: Log, path: string, state: string, code: string): void {
  const lines = log.partsOf(path)
  t.equal(lines.length, 1, `${path}: one line in the log`)
  t.equal(lines[0]?.level, 40, `${path}: a warning`)
  t.same(lines[0]?.parts?.filter(({ name }) => name === 'bad').map(part => [part.state, part.code]), [[state, code]], `${path}: which names the part`)
}

function checkSecrets (t: Test, texts: readonly string[], { bad, good }: Faulty): void {
  for (const text of texts) {
    t.notMatch(text, /127\.0\.0\.1|localhost|\.invalid|ECONN|ENOTFOUND|UND_ERR|HPE_|node_modules|\bat \w+ \(/, 'no address or stack in the answer')
    for (const { port } of [bad, good]) t.notMatch(text, new RegExp(`\\b${port}\\b`), 'no port in the answer')
  }
}

/** The backend is well again: so is the route, within a second. */
export async function checkHealed (t: Test, gateway: Faulty, path = '/object/optional'): Promise<void> {
  gateway.bad.answer(jsonAnswer('{"well":true}'))
  const answer = await ask(gateway.url + path)
  t.equal(answer.headers.get('x-composite-complete'), 'true', 'complete again')
  t.same(withoutMeta(answer.text).body, path.startsWith('/object') ? { bad: { well: true }, good: { good: 1 } } : { well: true, good: 1 }, 'well again')
  t.ok(answer.ms < 1_000, `within a second (${Math.round(answer.ms)})`)
  t.ok(await waitFor(() => gateway.inflight() === 0), 'nothing is under way')
}
