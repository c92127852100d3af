/**
 * One backend that is followed: the follower, what became of it, and who waits for its first list.
 *
 * It may outlive the gateway that began it: whoever takes it over says where its news go from then on.
 */
import { inspect, isDeepStrictEqual } from 'node:util'
import type { Clock } from '../deadlines.ts'
import type { TargetConfig } from '../types.ts'
import { createFollower, type FollowerStatus } from './follow.ts'
import { createProvider } from './index.ts'
import { createTargetReader, once } from './targets.ts'
import type { DiscoveryConfig } from './types.ts'

/** Where the news of a backend go. */
export interface News {
  /** The targets as they are now, in full. */
  targets (targets: readonly TargetConfig[]): void
  /** Something that is worth a line: said once. */
  warn (message: string): void
  fault (error: Error): void
  recovered (): void
}

export interface FollowedTools {
  readonly clock: Clock
  readonly random: () => number
  readonly soon: (callback: () => void) => unknown
  readonly date: () => number
}

export interface Followed {
  readonly scope: string
  readonly name: string
  readonly config: DiscoveryConfig
  /** What is told next is told there. */
  news: News
  /** When calls no longer wait for the first list, ms of the clock. */
  patientUntil: number
  /** Whether there has been no list yet. */
  readonly isNew: boolean
  readonly status: FollowerStatus
  start (): void
  /** Final. Who waits is woken. */
  stop (): void
  refresh (): Promise<boolean>
  /** Calls back once with the first list, or when there will be none. */
  wait (waiter: () => void): void
  leave (waiter: () => void): void
}

export function createFollowed (scope: string, name: string, config: DiscoveryConfig, news: News, tools: FollowedTools): Followed {
  const { clock, random } = tools
  const waiting = new Set<() => void>()
  let isNew = true
  const warnOnce = once(text => { followed.news.warn(text) })
  const read = createTargetReader(warnOnce)
  const follower = createFollower({
    ...tools,
    config,
    open: () => createProvider(config.source, {
      random,
      now: () => clock.now(),
      sleep: (ms, signal) => sleep(ms, signal, clock),
      warn: (message, details) => { warnOnce(details === undefined ? message : `${message} ${inspect(details)}`) }
    }),
    sink: {
      onList (list) {
        followed.news.targets(read(list))
        isNew = false
        wake()
      },
      onFault (error) { followed.news.fault(error) },
      onRecovered () { followed.news.recovered() }
    }
  })

  function wake (): void {
    const woken = [...waiting]
    waiting.clear()
    for (const waiter of woken) waiter()
  }

  const followed: Followed = {
    scope,
    name,
    config,
    news,
    patientUntil: clock.now() + config.bootTimeout,
    get isNew () { return isNew },
    get status () { return follower.status },
    start () { follower.start() },
    stop () {
      follower.stop()
      wake()
    },
    refresh: () => follower.refresh(),
    wait (waiter) { waiting.add(waiter) },
    leave (waiter) { waiting.delete(waiter) }
  }
  return followed
}

/** Whether a backend can be followed as before. A provider of one's own is the object that it is. */
export function isSameDiscovery (one: DiscoveryConfig, other: DiscoveryConfig): boolean {
  if (one === other) return true
  if (one.source.kind !== 'provider' || other.source.kind !== 'provider') return isDeepStrictEqual(one, other)
  if (one.source.provider !== other.source.provider) return false
  const { source, ...rest } = one
  const { source: _, ...others } = other
  return isDeepStrictEqual(rest, others)
}

async function sleep (ms: number, signal: AbortSignal, clock: Clock): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const timer = clock.setTimeout(() => {
      signal.removeEventListener('abort', give)
      resolve()
    }, ms)
    function give (): void {
      clock.clearTimeout(timer)
      const { reason } = signal as { reason: Error }
      reject(reason)
    }
    signal.addEventListener('abort', give, { once: true })
  })
}
