/**
 * How many calls a backend gets at once, and how many may wait. Stage: a layer around each attempt, before a target is
 * chosen. Reads: the backend's `concurrency`, `scope` and `shares`. Writes: `call.slot`, the backend's `slots`, the record's `queued`.
 *
 * A tenant's calls take the places of the backend whose targets it shares; what its own `concurrency` says is a limit within.
 *
 * A place is taken until the answer's body has ended: that is what keeps a backend busy. plugins/forward.ts gives it back.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { createSlots } from '../lib/concurrency.ts'
import { ConnectionLimitError, TimeoutError, because } from '../lib/errors.ts'
import { Wait } from '../lib/wait.ts'
import type { Slot, Slots } from '../lib/concurrency.ts'
import type { ConcurrencyConfig } from '../lib/resilience/types.ts'
import type { Answer, Backend, Call, Layer, Send } from '../lib/types.ts'

/** A tenant's limits within those for everybody. */
type Own = Pick<ConcurrencyConfig, 'max' | 'queue'>

const UNLIMITED: Own = { max: Infinity, queue: Infinity }

const concurrency: FastifyPluginAsync = async function concurrency (fastify) {
  const { reverseproxy } = fastify
  const { clock, deadlines, registry } = reverseproxy

  const layer: Layer = next => function limitCalls (call) {
    const { concurrency } = call.backend.config.resilience
    if (concurrency === undefined) return next(call)
    const owner = ownerOf(call.backend)
    const common = owner.config.resilience.concurrency ?? concurrency
    const slots = owner.slots ??= createSlots(common)
    const group = owner === call.backend ? undefined : call.backend.scope
    const own = concurrency === common ? UNLIMITED : concurrency
    const slot = slots.take(group, own.max)
    return slot === undefined ? waitFor(slots, call, next, concurrency.queueTimeout, group, own) : go(next, call, slot)
  }

  function waitFor (slots: Slots, call: Call, next: Send, patience: number, group: string | undefined, own: Own): Promise<Answer> {
    const since = clock.now()
    return new Promise((resolve, reject) => {
      const waiting = {
        admit (slot: Slot) {
          wait.wake()
          call.record.queued += clock.now() - since
          // the call whose place it is still counts at its target until it has quite ended
          queueMicrotask(() => { go(next, call, slot).then(resolve, reject) })
        },
        drop () {
          wait.wake()
          call.record.queued += clock.now() - since
          reject(full(call, 'the queue is full, and others wait with fewer calls'))
        }
      }
      const left = call.deadline - since
      const wait = new Wait(call, deadlines, reason => {
        slots.leave(waiting)
        call.record.queued += clock.now() - since
        if (reason !== 'expired') reject(reason)
        else reject(left < patience ? new TimeoutError() : full(call, `no place within ${patience} ms`))
      })
      if (!slots.join(waiting, group, own.max, own.queue)) reject(full(call, crowd(slots, group)))
      else wait.begin(Math.min(patience, left))
    })
  }

  // limits may change while calls wait
  registry.watch(({ slots, config: { resilience } }) => { slots?.limit(resilience.concurrency ?? UNLIMITED) })
  reverseproxy.layer('limit', layer)
}

/** Whose places a backend's calls take. Where everybody's has no limit, a tenant's own one has places of its own. */
function ownerOf (backend: Backend): Backend {
  return backend.shares?.config.resilience.concurrency === undefined ? backend : backend.shares
}

function go (next: Send, call: Call, slot: Slot): Promise<Answer> {
  call.slot = slot
  // what never left has no attempt whose end would give the place back
  return next(call).then(undefined, (error: unknown) => {
    slot.free()
    throw error
  })
}

function crowd (slots: Slots, group: string | undefined): string {
  const text = `${slots.taken} calls, and ${slots.waiting} waiting`
  if (group === undefined) return text
  const { taken = 0, waiting = 0 } = slots.group(group) ?? {}
  return `${text}; of the tenant ${taken}, and ${waiting} waiting`
}

function full ({ backend }: Call, what: string): Error {
  return new ConnectionLimitError({ cause: because(`backend ${backend.name}: ${what}`) })
}

export default fp(concurrency, { name: 'reverseproxy-concurrency', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends'] })
