/** What answers when every circuit of a call's backend is open: the layer that `fallback` is about. */
import { answerOf, madeAnswer } from '../fallback.ts'
import { CircuitOpenError, InvalidCallError, TimeoutError } from '../errors.ts'
import { UNTRIED } from '../routes/call.ts'
import { unknownBackend } from '../routes/lookup.ts'
import { Wait } from '../wait.ts'
import type { Clock, Deadlines } from '../deadlines.ts'
import type { Registry } from '../registry.ts'
import type { Fallback, FallbackFunction } from '../resilience/types.ts'
import type { FindSettings } from '../routes/settings.ts'
import type { Answer, Call, Layer, Send } from '../types.ts'

export interface InsteadTools {
  readonly clock: Pick<Clock, 'now'>
  readonly deadlines: Deadlines
  readonly registry: Pick<Registry, 'resolve'>
  readonly findSettings: FindSettings
}

/** Stands around all layers of a call. */
export function createInstead ({ clock, deadlines, registry, findSettings }: InsteadTools): Layer {
  async function answerInstead (next: Send, call: Call, asked: Pick<Call, 'method' | 'path'>, fallback: Fallback, error: Error): Promise<Answer> {
    switch (fallback.kind) {
      case 'answer': return answerOf(fallback)
      case 'backend': {
        const other = towards({ ...call, ...asked }, fallback.backend)
        // the answer is that backend's, and goes to the client by what holds there
        Object.assign(call, { settings: other.settings })
        return await next(other)
      }
      case 'function': {
        const made = await make(call, fallback.make, error)
        if (made === undefined) throw error
        return madeAnswer(made)
      }
    }
  }

  /** What the function gives, as long as somebody waits for it. */
  function make (call: Call, fallback: FallbackFunction, error: Error): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const wait = new Wait(call, deadlines, reason => { reject(reason === 'expired' ? new TimeoutError() : reason) })
      wait.begin(call.deadline - clock.now())
      new Promise(resolve => { resolve(fallback(call.request, error)) }).then(
        made => { wait.wake(); resolve(made) },
        (thrown: unknown) => { wait.wake(); reject(thrown instanceof Error ? thrown : new InvalidCallError({ cause: thrown })) }
      )
    })
  }

  /** The same call to another backend, with what holds there. */
  function towards (call: Call, name: string): Call {
    const backend = registry.resolve(name, call.record.scope)
    if (backend === undefined) throw unknownBackend(name)
    const settings = findSettings(call.settings.proxy, backend.config, call.record.scope?.config.limits)
    // what reply.proxy() was told of the time holds there, too
    const timeouts = call.timeouts === call.settings.timeouts ? settings.timeouts : call.timeouts
    const deadline = timeouts.total > 0 ? Math.min(call.deadline, clock.now() + timeouts.total) : call.deadline
    call.record.backend = name
    return { ...call, ...UNTRIED, backend, settings, timeouts, deadline }
  }

  return next => function fallBack (call) {
    const { fallback } = call.settings
    if (fallback === undefined) return next(call)
    // a modifyRequest hook changes them, and is asked anew for another backend
    const { method, path } = call
    return next(call).catch((error: Error) => {
      // a redirect that leads to an open circuit: the backend has done what it was asked for
      if (!(error instanceof CircuitOpenError) || call.attempt?.outcome === 'ok') throw error
      return answerInstead(next, call, { method, path }, fallback, error)
    })
  }
}
