/**
 * Asks a target how it is, over a connection of its own: those of the pool may all be busy, and that is no illness. What
 * holds for the TLS of calls holds here.
 */
import type { Dispatcher } from 'undici'
import { createPool } from '../pool.ts'
import { joinPath } from '../rewrite/index.ts'
import { createExpectation } from './expect.ts'
import type { HealthConfig } from '../resilience/types.ts'
import type { Backend, Target } from '../types.ts'
import type { ProbeResult } from './active.ts'

export interface Probe {
  /** Calls `done` once, unless it is cancelled before. `more`: headers of this question besides those of all. */
  ask (done: (result: ProbeResult) => void, more?: Readonly<Record<string, string>>): { cancel (): void }
  /** No more questions: the connection is closed. */
  close (): void
}

export function createProbe (config: HealthConfig, target: Pick<Target, 'id' | 'basePath'>, { config: backend }: Pick<Backend, 'config'>, now: () => number): Probe {
  let pool: Dispatcher | undefined
  const expectation = createExpectation(config)
  const { host } = backend
  const headers = { 'user-agent': 'fastify-reverseproxy health check', ...(host === 'upstream' || host === 'preserve' ? undefined : { host }), ...config.headers }

  function ask (done: (result: ProbeResult) => void, more?: Readonly<Record<string, string>>): { cancel (): void } {
    const since = now()
    let controller: Dispatcher.DispatchController | undefined
    let over = false
    let status = 0
    let size = 0
    const chunks: Buffer[] = []

    function end (error: string | undefined): void {
      if (over) return
      over = true
      done({ ok: error === undefined, duration: now() - since, ...(status === 0 ? undefined : { status }), ...(error === undefined ? undefined : { error }) })
    }

    function judge (): string | undefined {
      if (!expectation.status(status)) return `status ${status}`
      return expectation.body === undefined || expectation.body(Buffer.concat(chunks).toString()) ? undefined : 'the body is not the expected one'
    }

    pool ??= createPool(target.id, { ...backend, pool: { ...backend.pool, connections: 1 } })
    pool.dispatch({
      method: config.method as 'GET',
      path: joinPath(target.basePath, config.path),
      headers: more === undefined ? headers : { ...more, ...headers },
      // the check's own clock ends it
      headersTimeout: 0,
      bodyTimeout: 0
    }, {
      onRequestStart (started) {
        controller = started
        if (over) throw new Error('the check is over')
      },
      onResponseStart (_controller, code) {
        if (code >= 200) status = code
      },
      onResponseData (_controller, chunk) {
        size += chunk.length
        if (size - chunk.length < expectation.bodyLimit) chunks.push(chunk.subarray(0, expectation.bodyLimit - size + chunk.length))
        // what is asked for is known; a page without an end is not waited for
        if (size >= expectation.bodyLimit && size > BODY_LEFT) {
          end(judge())
          controller?.abort(new Error('enough was read'))
        }
      },
      onResponseEnd () { end(judge()) },
      onResponseError (_controller, error) { end(error.message === '' ? error.name : error.message) }
    })

    return {
      cancel () {
        over = true
        controller?.abort(new Error('the check is over'))
      }
    }
  }

  return {
    ask,
    close () {
      pool?.destroy().catch(() => {})
      pool = undefined
    }
  }
}

/** Bytes of a body that are read only to keep the connection. */
const BODY_LEFT = 64 * 1024
