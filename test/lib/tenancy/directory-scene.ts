/** A directory on a virtual clock, with a store that answers when it is told. */
import { createDeadlines } from '../../../lib/deadlines.ts'
import type { Clock, Deadlines, Expirable } from '../../../lib/deadlines.ts'
import { createDirectory } from '../../../lib/tenancy/index.ts'
import type { LoadTenant, TenantCacheConfig } from '../../../lib/tenancy/index.ts'
import { virtualClock } from '../../helper/time.ts'

export const CACHE: TenantCacheConfig = { ttl: 60_000, negativeTtl: 10_000, staleIfError: 3_600_000, timeout: 5_000, max: 100 }

type Options = Awaited<ReturnType<LoadTenant>>

/** What stands for a tenant's options: `metadata.v` is what the directory makes of them; `bad` cannot be parsed. */
export function tenantOf (v: string): Options {
  return { metadata: { v } } as Options
}

/** One call of `load` that has not been answered. */
export interface Asked {
  readonly id: string
  readonly at: number
  answer (options: Options): Promise<void>
  fail (error: unknown): Promise<void>
}

/** Lets all promises that can settle do so. */
export async function settled (): Promise<void> {
  await new Promise<void>(resolve => { setImmediate(resolve) })
}

function withResolvers () {
  let resolve!: (options: Options) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<Options>((...both) => { [resolve, reject] = both })
  return { promise, resolve, reject }
}

export function scene (cache: Partial<TenantCacheConfig> = {}) {
  const clock = virtualClock(1_000)
  const wheel = createDeadlines(clock as unknown as Clock)
  /** Deadlines that wait for their time. */
  const armed = new Set<Expirable>()
  const deadlines: Deadlines = {
    arm (entry, ms) { armed.add(entry); wheel.arm(entry, ms) },
    disarm (entry) { armed.delete(entry); wheel.disarm(entry) },
    close () { wheel.close() }
  }
  const asked: Asked[] = []
  const told: string[] = []
  /** How the next calls are answered at once; undefined: later. */
  const atOnce: { answer: (() => Options) | undefined } = { answer: undefined }
  const directory = createDirectory<string>({
    cache: { ...CACHE, ...cache },
    deadlines,
    now: () => clock.now(),
    load (id) {
      if (atOnce.answer !== undefined) {
        asked.push({ id, at: clock.now(), answer: settled, fail: settled })
        return atOnce.answer()
      }
      const { promise, resolve, reject } = withResolvers()
      asked.push({
        id,
        at: clock.now(),
        answer (options) { resolve(options); return settled() },
        fail (error) { reject(error); return settled() }
      })
      return promise
    },
    parse (id, options) {
      if (options === false) return `${id} refused`
      const v = String((options as { metadata: { v: string } }).metadata.v)
      if (v === 'bad') throw new Error('cannot be parsed')
      return v
    },
    onError (id, error) { told.push(`${id} ${error?.message ?? 'recovered'}`) }
  })
  function get (id = 'acme'): ReturnType<typeof directory.get> {
    const given = directory.get(id)
    // a test looks at it later than node does
    if (given instanceof Promise) given.catch(() => {})
    return given
  }

  return { clock, deadlines, armed, directory, asked, told, atOnce, get, last: () => asked.at(-1)! }
}
