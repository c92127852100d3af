/**
 * Trying again, and hedging. Stage: a layer around the attempts of a call. Reads: the answer or the failure of an attempt.
 * Writes: `call.tried`, `call.patience`, `call.body` where it is kept for another try, the backend's `budget`.
 *
 * From here on each attempt is a call of its own: it has its target, its place, its ticket. What is tried again has never
 * reached the client: an answer's first byte leaves only after this layer has let it go.
 */
import { isDeepStrictEqual } from 'node:util'
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { AbortedError, TimeoutError } from '../lib/errors.ts'
import { outcomeOfError, outcomeOfStatus } from '../lib/outcomes.ts'
import { createBudget, isRepeatable, parseRetryAfter, verdict, waitOf } from '../lib/retry/index.ts'
import { canReplay, keepForReplay } from '../lib/retry/replay.ts'
import { UNTRIED } from '../lib/routes/call.ts'
import { Wait } from '../lib/wait.ts'
import type { Expirable } from '../lib/deadlines.ts'
import type { RetryBudgetConfig, RetryConfig } from '../lib/resilience/types.ts'
import type { Budget } from '../lib/retry/index.ts'
import type { Answer, Backend, Call, Layer, Send, Target } from '../lib/types.ts'

/** One call with all its attempts. */
interface Run {
  readonly next: Send
  readonly call: Call
  readonly retry: RetryConfig
  readonly budget: Budget | undefined
  /** A redirect has named it: no other will do. */
  readonly named: Target | undefined
  /** Attempts that have begun. */
  used: number
  /** The latest attempt. */
  last: Call
  tried: readonly Target[]
}

const retry: FastifyPluginAsync = async function retry (fastify) {
  const { reverseproxy } = fastify
  const { clock, config, deadlines } = reverseproxy
  /** Which options a budget was made of. */
  const madeFor = new WeakMap<Budget, RetryBudgetConfig>()
  /** Budgets of routes that have one of their own. */
  const ofRoutes = new WeakMap<Backend, WeakMap<RetryBudgetConfig, Budget>>()

  const layer: Layer = next => function tryAgain (call) {
    const { retry } = call.settings
    if (retry.perTryTimeout !== undefined) call.patience = retry.perTryTimeout
    if (retry.attempts === 1) return next(call)
    const budget = retry.budget === undefined ? undefined : budgetOf(call, retry.budget)
    budget?.call()
    call.record.calls++
    const run: Run = { next, call, retry, budget, named: call.target, used: 0, last: call, tried: [] }
    const kept = keepForReplay(call, retry.replayLimit)
    return kept === undefined ? begin(run) : inTime(call, kept).then(() => begin(run))
  }

  function begin (run: Run): Promise<Answer> {
    return attempt(run, run.call).then(
      answer => isGood(answer, run) ? answer : goOn(run, answer),
      (error: Error) => goOn(run, error)
    )
  }

  /** Until an attempt gives what need not be tried again, or none may be made any more. */
  async function goOn (run: Run, result: Answer | Error): Promise<Answer> {
    for (;;) {
      const wait = waitBeforeNext(run, result)
      if (wait === undefined) {
        if (result instanceof Error) throw result
        return result
      }
      if (!(result instanceof Error)) result.discard()
      if (wait > 0) await pause(run.call, wait)
      makeRoom(run)
      try {
        result = await attempt(run, another(run))
        if (isGood(result, run)) return result
      } catch (error) {
        result = error as Error
      }
    }
  }

  function attempt (run: Run, call: Call): Promise<Answer> {
    const { retry: { hedge } } = run
    run.used++
    return hedge !== undefined && run.used === 1 && isSafe(run) ? race(run, call, hedge.after) : run.next(call)
  }

  /** ms; undefined: this is the end. */
  function waitBeforeNext (run: Run, result: Answer | Error): number | undefined {
    const { call, retry } = run
    const answer = result instanceof Error ? undefined : result
    if (run.used >= retry.attempts) return undefined
    const outcome = result instanceof Error ? outcomeOfError(result) : outcomeOfStatus(result.status)
    const tried = { repeatable: isRepeatable(call.method, keyOf(call, retry), retry), outcome, status: answer?.status, sent: run.last.attempt?.sent === true }
    if (verdict(tried, retry) === 'give-up' || !canReplay(call)) return undefined
    const wait = waitOf(run.used, parseRetryAfter(answer?.headers['retry-after'], Date.now()), call.deadline - clock.now(), retry, config.random)
    return wait !== undefined && mayTake(run) ? wait : undefined
  }

  /** The parts of a composite have one budget together besides that of the backend: what one has used the others lack. */
  function mayTake ({ call: { owner, record }, retry, budget }: Run): boolean {
    if (owner !== undefined && retry.budget !== undefined && record.retries >= Math.floor(Math.max(retry.budget.min, retry.budget.ratio * record.calls))) return false
    if (budget?.take() === false) return false
    record.retries++
    return true
  }

  /**
   * Two attempts where the first is slow; the first good answer wins, and the other attempt is ended.
   * Dean and Barroso, The Tail at Scale (CACM 56, 2, 2013): hedged requests.
   */
  function race (run: Run, first: Call, after: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const racing = new Set<Call>()
      let over = false
      const timer: Expirable = {
        expiresAt: 0,
        before: undefined,
        after: undefined,
        list: undefined,
        expire () {
          if (over || !mayTake(run)) return
          run.used++
          enter(another(run))
        }
      }

      function enter (call: Call): void {
        racing.add(call)
        run.next(call).then(answer => { finish(call, answer) }, (error: Error) => { finish(call, error) })
      }

      function finish (call: Call, result: Answer | Error): void {
        const failed = result instanceof Error
        racing.delete(call)
        if (over || (racing.size > 0 && (failed || !isGood(result, run)))) {
          // the other one may still do better, or has done
          if (!failed) result.discard()
          return
        }
        over = true
        deadlines.disarm(timer)
        for (const loser of racing) loser.running?.cancel(new AbortedError())
        if (failed) reject(result)
        else resolve(result)
      }

      enter(first)
      if (!over) deadlines.arm(timer, after)
    })
  }

  function pause (call: Call, ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      new Wait(call, deadlines, reason => {
        if (reason === 'expired') resolve()
        else reject(reason)
      }).begin(ms)
    })
  }

  /** A client may take its time with a body that is kept, but no more than the call has. */
  function inTime (call: Call, kept: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer: Expirable = { expiresAt: 0, before: undefined, after: undefined, list: undefined, expire () { reject(new TimeoutError()) } }
      if (call.deadline !== Infinity) deadlines.arm(timer, call.deadline - clock.now())
      kept.then(resolve, (error: Error) => {
        if (error instanceof AbortedError) (call.record as { aborted: boolean }).aborted = true
        reject(error)
      }).finally(() => { deadlines.disarm(timer) })
    })
  }

  /** That of the backend, or that of the route where it has one of its own. */
  function budgetOf ({ backend, settings: { proxy } }: Call, budget: RetryBudgetConfig): Budget {
    if (typeof proxy.retry === 'object' && proxy.retry.budget !== undefined) {
      let ofBackend = ofRoutes.get(backend)
      if (ofBackend === undefined) ofRoutes.set(backend, ofBackend = new WeakMap())
      let own = ofBackend.get(budget)
      if (own === undefined) ofBackend.set(budget, own = createBudget(budget, clock))
      return own
    }
    if (backend.budget === undefined) madeFor.set(backend.budget = createBudget(budget, clock), backend.config.resilience.retry.budget!)
    return backend.budget
  }

  // another share counts from the beginning; targets that come and go do not change what was tried
  reverseproxy.registry.watch(backend => {
    if (backend.budget !== undefined && !isDeepStrictEqual(madeFor.get(backend.budget), backend.config.resilience.retry.budget)) backend.budget = undefined
  })
  reverseproxy.layer('retry', layer)
}

/**
 * Where places are few, what is still to be read of a discarded answer must not hold the one that the next try needs.
 * Elsewhere it is read to its end, and its connection used again.
 */
function makeRoom ({ call, last }: Run): void {
  if (last.slot === undefined && (last.target?.maxConnections ?? Infinity) === Infinity) return
  call.running?.cancel(new AbortedError())
  last.running?.cancel(new AbortedError())
}

/** The same once more, to another target where there is one. */
function another (run: Run): Call {
  const { call, last, named } = run
  if (last.target !== undefined) run.tried = [...run.tried, last.target]
  run.last = { ...call, ...UNTRIED, target: named, tried: run.tried, patience: call.patience }
  return run.last
}

function isGood ({ status }: Answer, { retry }: Run): boolean {
  return !retry.statuses.includes(status) && (status < 500 || !retry.outcomes.includes('server-error'))
}

/** The idempotency key that the backend gets to see, whatever the client has sent. */
function keyOf ({ headers }: Call, { idempotencyKey }: RetryConfig): Readonly<Record<string, unknown>> {
  if (idempotencyKey === undefined) return {}
  const values = headers.filter((_, index) => index % 2 === 1 && headers[index - 1]!.toLowerCase() === idempotencyKey)
  return values.length === 1 ? { [idempotencyKey]: values[0] } : {}
}

/** Whether two of it may be under way at once. */
function isSafe ({ call, retry }: Run): boolean {
  return isRepeatable(call.method, keyOf(call, retry), retry) && (call.body.kind === 'none' || call.body.kind === 'value')
}

export default fp(retry, { name: 'reverseproxy-retry', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends'] })
