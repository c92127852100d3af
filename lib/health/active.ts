/**
 * Active health: one target is asked at intervals how it is. When to ask, how long to wait and what the results mean;
 * the asking itself is passed in.
 *
 * Source of the rules: Envoy, health checking.
 */
import type { Clock } from '../deadlines.ts'
import type { HealthConfig } from '../resilience/types.ts'

/** A timer set for longer fires at once. */
const LONGEST_WAIT = 2 ** 31 - 1

/** What one probe came to. */
export interface ProbeResult {
  readonly ok: boolean
  /** Status of the answer, if there was one. */
  readonly status?: number
  /** Why it failed, in words; `timeout` when it took too long. */
  readonly error?: string
  /** Milliseconds. */
  readonly duration: number
}

export interface ActiveCheckTools {
  readonly clock: Clock
  /** Uniform in [0, 1); for the jitter. */
  readonly random: () => number
  /**
   * Asks the target and calls `done` once, at once or later; further calls change nothing. `cancel` is called when the
   * result no longer matters (timeout, stop). To throw is to fail.
   */
  probe (done: (result: ProbeResult) => void): { cancel (): void }
  /** Clock time of the last good answer of real traffic, -Infinity if none. Needed for `skipIfRecent` only. */
  lastSuccess? (): number
  /** Told after every change. Must not throw; it may call `stop`, `start` and `checkNow`. */
  onChange (healthy: boolean): void
}

export interface CheckStatus {
  /** Result of the last probe that ended; undefined before the first. */
  readonly last: ProbeResult | undefined
  /** Clock time when it ended. */
  readonly lastAt: number | undefined
  /** Good results in a row, skipped probes included. 0 after `start`. */
  readonly successes: number
  /** Bad results in a row. 0 after `start`. */
  readonly failures: number
  /** Probes that ended, ever. Cancelled ones do not count. */
  readonly checks: number
  /** Probes spared by `skipIfRecent`, ever. */
  readonly skipped: number
}

export interface ActiveCheck {
  /** Begins with a probe at once. The state stays what it was, the counters begin anew, and the first result decides. */
  start (): void
  /** Cancels the running probe and the timers. No probe runs before the next `start`. */
  stop (): void
  /**
   * Probes now, or joins the running probe; never skipped. The next one comes an interval after it.
   * Resolves to `healthy` after it; at once while stopped; to the state at the stop when stopped meanwhile. Never rejects.
   */
  checkNow (): Promise<boolean>
  readonly healthy: boolean
  readonly status: CheckStatus
}

/** A running probe. */
interface Run {
  /** Ended, timed out or cancelled: nothing that comes now counts. */
  over: boolean
  /** Cancelled before the probe had given us its handle. */
  cancelled: boolean
  readonly since: number
  timer: NodeJS.Timeout | undefined
  handle: { cancel (): void } | undefined
  joined: Promise<boolean> | undefined
  resolve: ((healthy: boolean) => void) | undefined
}

/**
 * The health check of one target.
 *
 * Probes never overlap; the next begins `interval` (`unhealthyInterval` while unhealthy) ± `jitter` after the end of the
 * last. The first result after `start` decides at once; later ones need `rise` or `fall` of their kind in a row.
 * With `skipIfRecent`, while healthy, real traffic that succeeded less than `interval` ago stands for a good result.
 */
export function createActiveCheck (config: HealthConfig, tools: ActiveCheckTools): ActiveCheck {
  const { clock } = tools
  let started = false
  let decided = false
  let healthy = config.initial === 'healthy'
  let run: Run | undefined
  let timer: NodeJS.Timeout | undefined
  let last: ProbeResult | undefined
  let lastAt: number | undefined
  let successes = 0
  let failures = 0
  let checks = 0
  let skipped = 0

  function start (): void {
    if (started) return
    started = true
    decided = false
    successes = failures = 0
    tick()
  }

  function stop (): void {
    started = false
    clearTimer()
    if (run !== undefined) cancel(run)
  }

  function checkNow (): Promise<boolean> {
    if (!started) return Promise.resolve(healthy)
    const mine = run ?? probe()
    // a probe may have answered, or been stopped, before it returned
    if (mine.over) return Promise.resolve(healthy)
    mine.joined ??= new Promise(resolve => { mine.resolve = resolve })
    return mine.joined
  }

  function tick (): void {
    timer = undefined
    if (!isSpared()) {
      probe()
      return
    }
    skipped++
    note(true)
    schedule()
  }

  function isSpared (): boolean {
    return config.skipIfRecent && healthy && tools.lastSuccess !== undefined && clock.now() - tools.lastSuccess() < config.interval
  }

  function probe (): Run {
    clearTimer()
    const mine: Run = { over: false, cancelled: false, since: clock.now(), timer: undefined, handle: undefined, joined: undefined, resolve: undefined }
    run = mine
    mine.timer = clock.setTimeout(() => expire(mine), config.timeout)
    try {
      mine.handle = tools.probe(result => finish(mine, result))
    } catch (error) {
      // thrown after its result: not the probe's failure but a fault, which nobody else would see
      if (mine.over) throw error
      finish(mine, { ok: false, error: error instanceof Error ? error.message : String(error), duration: clock.now() - mine.since })
    }
    if (mine.cancelled) mine.handle?.cancel()
    return mine
  }

  function expire (mine: Run): void {
    close(mine)
    try {
      // first, or a probe that onChange asks for would overlap
      mine.handle?.cancel()
    } finally {
      conclude(mine, { ok: false, error: 'timeout', duration: clock.now() - mine.since })
    }
  }

  function finish (mine: Run, result: ProbeResult): void {
    if (mine.over) return
    close(mine)
    conclude(mine, result)
  }

  function conclude (mine: Run, result: ProbeResult): void {
    checks++
    last = result
    lastAt = clock.now()
    const changed = note(result.ok)
    // before onChange, so that it may stop us
    schedule()
    mine.resolve?.(healthy)
    if (changed) tools.onChange(healthy)
  }

  function cancel (mine: Run): void {
    close(mine)
    mine.cancelled = true
    mine.resolve?.(healthy)
    mine.handle?.cancel()
  }

  function close (mine: Run): void {
    mine.over = true
    run = undefined
    if (mine.timer !== undefined) clock.clearTimeout(mine.timer)
  }

  /** Counts a result; whether it changed the state. */
  function note (ok: boolean): boolean {
    successes = ok ? successes + 1 : 0
    failures = ok ? 0 : failures + 1
    const enough = !decided || (ok ? successes >= config.rise : failures >= config.fall)
    decided = true
    if (!enough || healthy === ok) return false
    healthy = ok
    return true
  }

  function schedule (): void {
    const interval = healthy ? config.interval : config.unhealthyInterval
    const wait = interval * (1 + config.jitter * (2 * tools.random() - 1))
    timer = clock.setTimeout(tick, Math.min(Math.max(1, wait), LONGEST_WAIT))
  }

  function clearTimer (): void {
    if (timer !== undefined) clock.clearTimeout(timer)
    timer = undefined
  }

  return {
    start,
    stop,
    checkNow,
    get healthy () { return healthy },
    get status () { return { last, lastAt, successes, failures, checks, skipped } }
  }
}
