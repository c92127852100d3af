/**
 * Backends that say who they are and what they were asked.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { TestLike } from './time.ts'
import { httpUpstream } from './upstream.ts'

/** One request as the backend got it, and what it answers with as JSON. */
export interface Echo {
  /** The backend that was asked. */
  readonly name: string
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface EchoUpstream {
  readonly url: string
  /** Every request, in order of arrival. */
  readonly seen: Echo[]
}

/** A backend; a path that holds `/status/<code>` is answered with that status. The test's teardown stops it. */
export async function echoUpstream (t: TestLike, name: string, headers: Readonly<Record<string, string>> = {}): Promise<EchoUpstream> {
  const seen: Echo[] = []
  const { url } = await httpUpstream(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const echo: Echo = { name, method: request.method!, url: request.url!, headers: request.headers, body: Buffer.concat(chunks).toString() }
      seen.push(echo)
      const [, status = '200'] = /\/status\/(\d+)/.exec(echo.url) ?? []
      response.writeHead(Number(status), { 'content-type': 'application/json', server: 'echo', ...headers })
      response.end(JSON.stringify(echo))
    })
  })
  return { url, seen }
}

/** One for each name. */
export async function echoUpstreams<N extends string> (t: TestLike, ...names: readonly N[]): Promise<Readonly<Record<N, EchoUpstream>>> {
  const started = await Promise.all(names.map(async (name): Promise<[N, EchoUpstream]> => [name, await echoUpstream(t, name)]))
  return Object.fromEntries(started) as Record<N, EchoUpstream>
}
