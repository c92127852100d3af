/** The request's record: what is known about one client request. Written by the stages, read by whoever reports. */
import type { FastifyRequest } from 'fastify'
import { unwatch, watch } from './forward/connection.ts'
import type { Watcher } from './forward/connection.ts'
import type { Scope } from './tenancy/scopes.ts'
import type { Attempt, RequestRecord } from './types.ts'

class Recorded implements RequestRecord, Watcher {
  tenant: string | undefined = undefined
  scope: Scope | undefined = undefined
  identified = false
  tenantHeaders: RequestRecord['tenantHeaders'] = undefined
  backend: string | undefined = undefined
  calls = 0
  retries = 0
  queued = 0
  readonly attempts: Attempt[] = []
  aborted = false
  #controller: AbortController | undefined = undefined

  constructor (readonly route: string, readonly startedAt: number, readonly request: FastifyRequest, readonly response: NodeJS.EventEmitter) {}

  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.aborted || !watch(this.request, this)) this.clientGone()
      else this.response.once('finish', () => unwatch(this.request, this))
    }
    return this.#controller.signal
  }

  clientGone (): void {
    this.aborted = true
    this.#controller?.abort()
  }
}

export function createRecord (route: string, startedAt: number, request: FastifyRequest, response: NodeJS.EventEmitter): RequestRecord {
  return new Recorded(route, startedAt, request, response)
}
