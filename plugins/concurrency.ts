/**
 * How many calls a backend gets at once, and how many may wait. Stage: a layer around each attempt, before a target is
 * chosen. Reads: the backend's `concurrency`. Writes: `call.slot`, the backend's `slots`.
 *
 * A place is taken until the answer's body has ended: that is what keeps a backend busy. plugins/forward.ts gives it back.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { createSlots } from '../lib/concurrency.ts'
import { ConnectionLimitError, TimeoutError } from '../lib/errors.ts'
import { Wait } from '../lib/wait.ts'
import type { Slot, Slots } from '../lib/concurrency.ts'
import type { Answer, Call, Layer, Send } from '../lib/types.ts'

const concurrency: FastifyPluginAsync = async function concurrency (fastify) {
  const { reverseproxy } = fastify
  const { clock, deadlines, registry } = reverseproxy

  const layer: Layer = next => function limitCalls (call) {
    const { concurrency } = call.backend.config.resilience
    if (concurrency === undefined) return next(call)
    const slots = call.backend.slots ??= createSlots(concurrency)
    const slot = slots.take()
    return slot === undefined ? waitFor(slots, call, next, concurrency.queueTimeout) : go(next, call, slot)
  }

  function waitFor (slots: Slots, call: Call, next: Send, patience: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const waiting = {
        admit (slot: Slot) {
          wait.wake()
          // the call whose place it is still counts at its target until it has quite ended
          queueMicrotask(() => { go(next, call, slot).then(resolve, reject) })
        }
      }
      const left = call.deadline - clock.now()
      const wait = new Wait(call, deadlines, reason => {
        slots.leave(waiting)
        if (reason !== 'expired') reject(reason)
        else reject(left < patience ? new TimeoutError() : full(call, `no place within ${patience} ms`))
      })
      if (!slots.join(waiting)) reject(full(call, `${slots.taken} calls, and ${slots.waiting} waiting`))
      else wait.begin(Math.min(patience, left))
    })
  }

  // limits may change while calls wait
  registry.watch(({ slots, config: { resilience } }) => { slots?.limit(resilience.concurrency ?? { max: Infinity, queue: 0 }) })
  reverseproxy.layer('limit', layer)
}

function go (next: Send, call: Call, slot: Slot): Promise<Answer> {
  call.slot = slot
  // what never left has no attempt whose end would give the place back
  return next(call).then(undefined, (error: unknown) => {
    slot.free()
    throw error
  })
}

function full ({ backend }: Call, what: string): Error {
  return new ConnectionLimitError({ cause: new Error(`backend ${backend.name}: ${what}`) })
}

export default fp(concurrency, { name: 'reverseproxy-concurrency', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends'] })
