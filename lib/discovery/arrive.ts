/**
 * Waiting for the first list of a backend: at the start, and calls of a backend that came later.
 */
import type { Clock, Deadlines } from '../deadlines.ts'
import { NoTargetError, TimeoutError } from '../errors.ts'
import type { Answer, Backend, Call, Layer, Send } from '../types.ts'
import { Wait } from '../wait.ts'
import type { Followed } from './followed.ts'

export interface ArrivalOptions {
  readonly clock: Clock
  readonly deadlines: Deadlines
  /** How a backend is followed; undefined: it is not. */
  find (backend: Backend): Followed | undefined
}

/** Holds calls of a backend that has never had a list until it has one. */
export function createArrival ({ clock, deadlines, find }: ArrivalOptions): Layer {
  const layer: Layer = next => function awaitTargets (call) {
    return call.backend.usable.length > 0 ? next(call) : arrive(call, next)
  }

  function arrive (call: Call, next: Send): Promise<Answer> {
    const one = find(call.backend.shares ?? call.backend)
    const patience = one?.isNew === true ? one.patientUntil - clock.now() : 0
    return one === undefined || patience <= 0 ? next(call) : waitFor(one, patience, call, next)
  }

  function waitFor (one: Followed, patience: number, call: Call, next: Send): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const left = call.deadline - clock.now()
      const here = (): void => {
        wait.wake()
        // it may be told in the middle of a change; and it may be followed by another one now
        queueMicrotask(() => { layer(next)(call).then(resolve, reject) })
      }
      const wait = new Wait(call, deadlines, reason => {
        one.leave(here)
        if (reason !== 'expired') reject(reason)
        else reject(left < patience ? new TimeoutError() : new NoTargetError({ cause: new Error(`backend ${one.name}: no list of targets yet: ${one.status.fault ?? 'no answer'}`) }))
      })
      one.wait(here)
      wait.begin(Math.min(patience, left))
    })
  }

  return layer
}

/** Whether a backend still has no list after `ms`. */
export function isLate (one: Followed, ms: number, clock: Clock): Promise<boolean> {
  return new Promise(resolve => {
    const here = (): void => {
      clock.clearTimeout(timer)
      resolve(one.isNew)
    }
    const timer = clock.setTimeout(() => {
      one.leave(here)
      resolve(one.isNew)
    }, ms)
    // there may be nothing else yet that keeps the process
    ;(timer as Partial<NodeJS.Timeout>).ref?.()
    one.wait(here)
  })
}
