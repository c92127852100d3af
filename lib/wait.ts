/**
 * A call that waits: for its turn, or for a moment before it is tried again. It ends by the clock, when it is woken, when
 * the client goes, or when its owner no longer wants it.
 */
import { AbortedError, NoTargetError } from './errors.ts'
import { unwatch, watch } from './forward/connection.ts'
import type { Deadlines, Expirable } from './deadlines.ts'
import type { Watcher } from './forward/connection.ts'
import type { Call, Cancelable } from './types.ts'

export class Wait implements Expirable, Watcher, Cancelable {
  expiresAt = 0
  before: Expirable | undefined = undefined
  after: Expirable | undefined = undefined
  list: Expirable['list'] = undefined
  #over = false

  /** `done` is called once: `expired`, or with the reason why it is not wanted any more. Not when it is woken. */
  constructor (readonly call: Call, readonly deadlines: Deadlines, readonly done: (reason: 'expired' | Error) => void) {}

  /** Begins; `ms` at most. Infinity: however long. */
  begin (ms: number): void {
    const { owner, request } = this.call
    if (owner?.cancelled !== undefined) {
      this.#end(owner.cancelled)
      return
    }
    if (!watch(request, this)) {
      this.clientGone()
      return
    }
    this.call.running = this
    owner?.holds(this)
    if (ms !== Infinity) this.deadlines.arm(this, ms)
  }

  /** It has what it waited for. */
  wake (): void {
    this.#over = true
    this.#clear()
  }

  expire (): void {
    this.#end('expired')
  }

  /** The gateway has closed: there is nothing left to wait for. */
  forget (): void {
    this.#end(new NoTargetError({ cause: new Error('the gateway has closed') }))
  }

  clientGone (): void {
    (this.call.record as { aborted: boolean }).aborted = true
    this.#end(new AbortedError())
  }

  cancel (reason: Error): void {
    this.#end(reason)
  }

  #end (reason: 'expired' | Error): void {
    if (this.#over) return
    this.#over = true
    this.#clear()
    this.done(reason)
  }

  #clear (): void {
    this.deadlines.disarm(this)
    unwatch(this.call.request, this)
    this.call.owner?.ended(this)
    if (this.call.running === this) this.call.running = undefined
  }
}
