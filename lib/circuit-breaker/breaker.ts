/**
 * The circuit breaker of one target for one scope.
 *
 * A closed one is a few numbers: there may be one per tenant and target, and most never fail. opossum comes in when a breaker
 * trips, holds the state while it is open or half-open, and goes when it closes. See circuit.ts for what is asked of it.
 */
import type { Clock } from '../deadlines.ts'
import type { BreakerConfig, BreakerName } from '../resilience/types.ts'
import type { Outcome } from '../types.ts'
import { createCircuit, LONGEST_DELAY } from './circuit.ts'
import type { Circuit, CircuitListener } from './circuit.ts'
import { RollingWindow } from './window.ts'

export type BreakerState = 'closed' | 'open' | 'half-open'

/** What a call gets when it goes in: the same one for all calls of a closed round, an own one for each trial. */
export interface Ticket {
  readonly breaker: Breaker
  /** Number of the round it belongs to. A round ends when the breaker opens or closes. */
  readonly round: number
  /** Whether the call decides, while half-open, if the circuit closes. */
  readonly trial: boolean
}

/** For lists of breakers. Times are the clock's milliseconds. */
export interface BreakerStats {
  /** Failures in a row up to now, failing trials included. 0 after closing. */
  readonly consecutive: number
  /** Counted outcomes within `rollingWindow`, trials excluded; undefined when no percentage is configured, for then nothing is kept. */
  readonly window: { readonly failures: number, readonly total: number } | undefined
  /** When it last opened; undefined: never. */
  readonly openedAt: number | undefined
  /** How often it has opened. */
  readonly opened: number
}

/** See {@link createBreaker}. No method throws. */
export interface Breaker {
  readonly name: BreakerName
  /** What holds for it now. */
  readonly config: BreakerConfig
  readonly state: BreakerState
  /** Whether a call may go in now: closed, or half-open with a free place for a trial. Changes nothing. */
  readonly admits: boolean
  /** Until the first trial, ms; while trials are under way, until the oldest one's place is free at the latest. 0 when it admits. For Retry-After. */
  readonly retryAfter: number
  readonly stats: BreakerStats
  /** Takes a place; undefined when it does not admit. */
  enter (): Ticket | undefined
  /** What a call that had the ticket came to: once, when it is known (with the answer's headers). Nothing for a ticket of an older round. */
  record (ticket: Ticket, outcome: Outcome): void
  /**
   * The call came to nothing that says anything, or is over: a trial's place is free again, nothing is decided.
   * May be called several times, and after `record`; a `record` after it changes nothing.
   */
  release (ticket: Ticket): void
  /** By hand: like tripping, so that it is half-open after `resetTimeout`. Nothing when it is open. */
  open (): void
  /** By hand. Nothing when it is closed. */
  close (): void
  /**
   * Other options from now on. Failures in a row stay, and the next one is held against the new threshold; the window stays if it is
   * as long as before. Open: until the new `resetTimeout` after it opened, or half-open now if that is over. Half-open: goes on.
   */
  configure (config: BreakerConfig): void
  /** The breaker is no longer wanted: no timers, no hooks. From then on it is closed, admits everything and never opens. */
  shutdown (): void
}

export interface BreakerTools {
  readonly clock: Clock
  /** Called after every change of the state, before the user's hook. Must not throw. */
  onChange? (breaker: Breaker, state: BreakerState): void
  /** What a hook of the user threw, or rejected with. Default: forgotten. Must not throw. */
  onHookError? (error: unknown, breaker: Breaker): void
}

/**
 * A closed breaker.
 *
 * - `config.outcomes` are failures. `aborted` and `rejected` are never counted, whatever the config says. All others are successes.
 * - Closed: a failure opens it when it is the `failureThreshold`th in a row, or when at least `volumeThreshold` outcomes lie within
 *   `rollingWindow` and at least `errorThresholdPercentage` percent of them failed.
 * - Open: refuses calls for `resetTimeout`.
 * - Half-open: lets `halfOpenTrials` trials in at once. A failing one opens it again, as many successes close it. A trial without a result
 *   gives its place up after `resetTimeout`; its late result still counts, or a backend slower than that would never come back.
 *
 * Hooks may throw or reject: the calls do not notice.
 */
export function createBreaker (name: BreakerName, config: BreakerConfig, tools: BreakerTools): Breaker {
  return new LeanBreaker(name, config, tools)
}

/** From the opening to the next one or to the closing. */
interface Outage {
  circuit: Circuit
  halfOpenAt: number
  timer: NodeJS.Timeout | undefined
  successes: number
  /** Those that hold a place, oldest first. */
  readonly trials: Trial[]
}

class Trial implements Ticket {
  readonly breaker: Breaker
  readonly round: number
  readonly trial = true
  /** When it gives up its place. */
  readonly endsAt: number
  settled = false

  constructor (breaker: Breaker, round: number, endsAt: number) {
    this.breaker = breaker
    this.round = round
    this.endsAt = endsAt
  }
}

/** A class for its memory: about 130 bytes while nothing fails. */
class LeanBreaker implements Breaker, CircuitListener {
  readonly name: BreakerName
  config: BreakerConfig
  readonly #tools: BreakerTools
  #round = 0
  /** The ticket of this closed round, made for its first call. */
  #pass: Ticket | undefined = undefined
  #consecutive = 0
  #window: RollingWindow | undefined = undefined
  /** undefined: closed. */
  #outage: Outage | undefined = undefined
  #opened = 0
  #openedAt: number | undefined = undefined
  #over = false

  constructor (name: BreakerName, config: BreakerConfig, tools: BreakerTools) {
    this.name = name
    this.config = config
    this.#tools = tools
  }

  get state (): BreakerState {
    if (this.#outage === undefined) return 'closed'
    return this.#outage.circuit.opened ? 'open' : 'half-open'
  }

  get admits (): boolean {
    const outage = this.#outage
    return outage === undefined || (outage.circuit.halfOpen && this.#untilFree(outage) === 0)
  }

  get retryAfter (): number {
    const outage = this.#outage
    if (outage === undefined) return 0
    // The timer may be late: it does not admit yet, so not 0.
    return outage.circuit.opened ? Math.max(1, outage.halfOpenAt - this.#tools.clock.now()) : this.#untilFree(outage)
  }

  get stats (): BreakerStats {
    const window = this.#window
    window?.turn(this.#tools.clock.now())
    return {
      consecutive: this.#consecutive,
      window: this.config.errorThresholdPercentage === undefined ? undefined : { failures: window?.failures ?? 0, total: window?.total ?? 0 },
      openedAt: this.#openedAt,
      opened: this.#opened
    }
  }

  enter (): Ticket | undefined {
    if (this.#outage !== undefined) return this.#enterTrial(this.#outage)
    this.#pass ??= Object.freeze({ breaker: this, round: this.#round, trial: false })
    return this.#pass
  }

  record (ticket: Ticket, outcome: Outcome): void {
    if (ticket === this.#pass) this.#count(outcome)
    else if (ticket instanceof Trial) this.#decide(ticket, outcome)
  }

  release (ticket: Ticket): void {
    if (ticket instanceof Trial) this.#settle(ticket)
  }

  open (): void {
    if (this.state !== 'open' && !this.#over) this.#trip()
  }

  close (): void {
    const outage = this.#outage
    if (outage === undefined) return
    this.#forget(outage)
    outage.circuit.close()
    outage.circuit.shutdown()
  }

  configure (config: BreakerConfig): void {
    if (config.rollingWindow !== this.config.rollingWindow || config.errorThresholdPercentage === undefined) this.#window = undefined
    this.config = config
    const outage = this.#outage
    if (outage === undefined || outage.timer === undefined) return
    this.#tools.clock.clearTimeout(outage.timer)
    this.#wait(outage, this.#openedAt!)
  }

  shutdown (): void {
    this.#over = true
    const outage = this.#outage
    if (outage === undefined) return
    this.#forget(outage)
    outage.circuit.shutdown()
  }

  /** opossum's event. */
  opened (): void {
    this.#tell('open', this.config.onOpen)
  }

  /** opossum's event. */
  closed (): void {
    this.#tell('closed', this.config.onClose)
  }

  // ---------------------------------------------------------------- closed

  #count (outcome: Outcome): void {
    if (neutral(outcome)) return
    const failed = this.config.outcomes.includes(outcome)
    this.#consecutive = failed ? this.#consecutive + 1 : 0
    if (this.config.errorThresholdPercentage !== undefined) this.#countInWindow(failed)
    if (failed && !this.#over && this.#isTooMuch()) this.#trip()
  }

  #countInWindow (failed: boolean): void {
    const now = this.#tools.clock.now()
    this.#window ??= new RollingWindow(this.config.rollingWindow, now)
    this.#window.add(failed, now)
  }

  #isTooMuch (): boolean {
    const { failureThreshold, errorThresholdPercentage, volumeThreshold } = this.config
    if (failureThreshold !== undefined && this.#consecutive >= failureThreshold) return true
    const window = this.#window
    if (errorThresholdPercentage === undefined || window === undefined) return false
    return window.total >= volumeThreshold && window.failures * 100 >= errorThresholdPercentage * window.total
  }

  // ---------------------------------------------------------------- changes of the state
  // All fields are set before opossum is told: a hook may call any method.

  #trip (): void {
    const { clock } = this.#tools
    const now = clock.now()
    const circuit = this.#outage?.circuit ?? createCircuit(label(this.name), 'closed', this)
    const outage: Outage = { circuit, halfOpenAt: now, timer: undefined, successes: 0, trials: [] }
    this.#wait(outage, now)
    this.#round++
    this.#pass = undefined
    this.#outage = outage
    this.#opened++
    this.#openedAt = now
    circuit.open()
  }

  /** Sets the timer of the change to half-open. */
  #wait (outage: Outage, openedAt: number): void {
    const { clock } = this.#tools
    const left = Math.max(0, openedAt + Math.min(this.config.resetTimeout, LONGEST_DELAY) - clock.now())
    outage.halfOpenAt = clock.now() + left
    outage.timer = clock.setTimeout(() => this.#halfOpen(outage), left)
  }

  #halfOpen (outage: Outage): void {
    outage.timer = undefined
    outage.circuit.shutdown()
    outage.circuit = createCircuit(label(this.name), 'half-open', this)
    this.#tell('half-open', this.config.onHalfOpen)
  }

  /** A new round with nothing in it. */
  #forget (outage: Outage): void {
    if (outage.timer !== undefined) this.#tools.clock.clearTimeout(outage.timer)
    this.#round++
    this.#outage = undefined
    this.#consecutive = 0
    this.#window = undefined
  }

  #tell (state: BreakerState, hook: ((breaker: BreakerName) => unknown) | undefined): void {
    this.#tools.onChange?.(this, state)
    if (hook === undefined) return
    try {
      const result = hook(this.name)
      // An async hook is a hook that may reject later.
      if (result instanceof Promise) result.catch((error: unknown) => this.#tools.onHookError?.(error, this))
    } catch (error) {
      this.#tools.onHookError?.(error, this)
    }
  }

  // ---------------------------------------------------------------- trials

  /** Until a trial may go in, ms. Only while half-open. */
  #untilFree ({ trials }: Outage): number {
    if (trials.length < this.config.halfOpenTrials) return 0
    return Math.max(0, trials[0]!.endsAt - this.#tools.clock.now())
  }

  #enterTrial (outage: Outage): Ticket | undefined {
    if (outage.circuit.opened || this.#untilFree(outage) > 0) return undefined
    const { trials } = outage
    // Its oldest has had its time.
    if (trials.length >= this.config.halfOpenTrials) trials.shift()
    const trial = new Trial(this, this.#round, this.#tools.clock.now() + this.config.resetTimeout)
    trials.push(trial)
    return trial
  }

  #decide (trial: Trial, outcome: Outcome): void {
    const outage = this.#settle(trial)
    if (outage === undefined || neutral(outcome)) return
    if (this.config.outcomes.includes(outcome)) {
      this.#consecutive++
      this.#trip()
    } else {
      this.#consecutive = 0
      outage.successes++
      if (outage.successes >= this.config.halfOpenTrials) this.close()
    }
  }

  /** Frees the trial's place. Gives the outage it is to decide on; undefined when it is settled already or out of date. */
  #settle (trial: Trial): Outage | undefined {
    const outage = this.#outage
    if (trial.settled || outage === undefined || trial.breaker !== this || trial.round !== this.#round) return undefined
    trial.settled = true
    const place = outage.trials.indexOf(trial)
    if (place !== -1) outage.trials.splice(place, 1)
    return outage
  }
}

/** Says nothing about the target. */
function neutral (outcome: Outcome): boolean {
  return outcome === 'aborted' || outcome === 'rejected'
}

function label ({ scope, backend, target }: BreakerName): string {
  return `${scope}/${backend}/${target}`
}
