/**
 * What the wire tests check again and again.
 */
import type { Test } from 'tap'
import { get, rawRequest, respond, waitFor } from '../helper.ts'
import type { Pair, RawClient, RawResponse, RawResult, RecordedRequest, Step } from '../helper.ts'

/** What an upstream answers when a test does not care. */
export const OK = respond(200, { 'Content-Type': 'text/plain' }, 'ok')

/** `[name, bytes]` of a variant. */
export type Variant = readonly [name: string, bytes: Step | readonly Step[]]

export interface RefusalOptions {
  /** Whether the contract wants the connection closed after it. Default true. */
  readonly closes?: boolean
}

/** The request gets one answer with one of the statuses, the upstream sees not a byte, and the connection closes. */
export async function checkRefused (t: Test, pair: Pair, [name, bytes]: Variant, statuses: readonly number[], { closes = true }: RefusalOptions = {}): Promise<RawResult> {
  const before = pair.upstream.bytes
  const result = await rawRequest(pair.port, bytes, { untilClose: closes, ms: 2500 })
  t.ok(statuses.includes(result.status), `${name}: refused with ${statuses.join('/')}`, { found: result.status, raw: result.raw.toString('latin1').slice(0, 300) })
  t.equal(result.responses.length <= 1, true, `${name}: nothing after the refusal`)
  if (closes) t.ok(result.closed, `${name}: the connection closes`)
  t.equal(pair.upstream.bytes, before, `${name}: the upstream sees nothing`)
  return result
}

/** Like {@link checkRefused} for a table, and the gateway still works afterwards. */
export async function checkAllRefused (t: Test, pair: Pair, variants: readonly Variant[], statuses: readonly number[], options?: RefusalOptions): Promise<void> {
  for (const variant of variants) await checkRefused(t, pair, variant, statuses, options)
  const seen = pair.upstream.requests.length
  await checkHealthy(t, pair)
  t.equal(pair.upstream.requests.length, seen + 1, 'nothing of it reaches the upstream later')
}

/** The request is answered 200 and the upstream's record of it is returned. */
export async function forwarded (t: Test, pair: Pair, [name, bytes]: Variant): Promise<RecordedRequest | undefined> {
  const before = pair.upstream.requests.length
  const result = await rawRequest(pair.port, bytes)
  t.equal(result.status, 200, `${name}: forwarded`, { raw: result.raw.toString('latin1').slice(0, 400) })
  t.equal(pair.upstream.requests.length, before + 1, `${name}: the upstream sees one request`)
  return pair.upstream.requests[before]
}

/** A new client is answered 200 within a second. */
export async function checkHealthy (t: Test, pair: { readonly port: number }, what = 'the next request succeeds'): Promise<void> {
  const result = await rawRequest(pair.port, get('/healthy'), { ms: 3000 })
  t.equal(result.status, 200, what, { raw: result.raw.toString('latin1').slice(0, 300) })
  t.ok(result.elapsed < 1000, `${what} within a second`, { elapsed: result.elapsed })
}

/** The same client connection serves another request. */
export async function checkAlive (t: Test, client: RawClient, name = 'keep-alive'): Promise<void> {
  if (client.closed) {
    t.fail(`${name}: the client connection was closed`)
    return
  }
  const response = await client.exchange(get('/alive'))
  t.equal(response.status, 200, `${name}: the client connection still works`)
}

/** The body holds what an error of the suite may say, and nothing of the inside. */
export function checkErrorBody (t: Test, response: RawResponse, status: number, name = 'error body'): void {
  t.equal(response.status, status, `${name}: ${status}`)
  t.ok(response.complete, `${name}: complete`)
  let body: Record<string, unknown> = {}
  try {
    body = JSON.parse(response.text) as Record<string, unknown>
  } catch {
    t.fail(`${name}: the body is JSON`, { text: response.text })
  }
  t.strictSame(Object.keys(body).sort(), ['code', 'error', 'message', 'statusCode'], `${name}: only the four fields`)
  t.match(body['code'], /^RP_ERR_[A-Z_]+$/, `${name}: a coded error`)
  t.equal(body['statusCode'], status, `${name}: the status in the body`)
  t.notMatch(response.text, /127\.0\.0\.1|localhost|\.invalid|\/work\/|node_modules|\bat .*:\d+|\bE[A-Z]{4,}\b|UND_/, `${name}: no address, path, stack or system code`)
}

/** Ends with the answer cut: the client can tell that it is incomplete. */
export async function checkCut (t: Test, client: RawClient, response: RawResponse, name: string, ms = 4000): Promise<void> {
  t.ok(await client.closes(ms), `${name}: the client's connection is cut`)
  t.notOk(response.complete && response.framing !== 'close', `${name}: no clean end`)
  if (response.framing === 'close') t.ok(client.reset, `${name}: a close-delimited answer can only be cut by a reset`)
}

/** Lower-cased names, values as they are: what must survive the way. */
export function pick (headers: ReadonlyArray<readonly [string, string]>, names: ReadonlySet<string>): Array<[string, string]> {
  return headers.filter(([name]) => names.has(name.toLowerCase())).map(([name, value]) => [name.toLowerCase(), value])
}

/** Waits until the upstream has seen `count` requests. */
export async function seen (pair: Pair, count: number, ms?: number): Promise<boolean> {
  return await waitFor(() => pair.upstream.requests.length >= count, ms)
}

/** No connection stays open at the upstream on which a request was begun and not finished. */
export async function checkHalvesDropped (t: Test, pair: Pair, name: string): Promise<void> {
  const halves = pair.upstream.requests.filter(request => !request.complete)
  t.ok(await pair.upstream.dropped(halves, 2000), `${name}: the upstream's connection is dropped`)
}
