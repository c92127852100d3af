/**
 * What `load` gave, kept: one load for an id at a time, asked again when what is there is older than its time, and the last
 * good answer while the store is down.
 *
 * An answer past its time is not used while the next one is on its way, so that a tenant who was refused is not served for
 * longer than `ttl`; only when a load has just failed is it. Of lru-cache only the order is used: its `fetch` gives a promise
 * for what is there, lets loads under way push out tenants and be cancelled by others, and asks at every request while the
 * store is down.
 */
import { LRUCache } from 'lru-cache'
import { TenantLoadError } from '../errors.ts'
import { isPromise } from './is-promise.ts'
import type { Deadlines, Expirable } from '../deadlines.ts'
import type { TenantOptions } from '../options/index.ts'
import type { LoadTenant, TenantCacheConfig } from './types.ts'

/** After a failed load of an id, the store is left alone about it for so long, ms. */
const PAUSE = 1_000

/** `T`: what is made of a tenant's options; anything but undefined. */
export interface DirectoryOptions<T extends NonNullable<unknown>> {
  readonly load: LoadTenant
  readonly cache: TenantCacheConfig
  readonly deadlines: Deadlines
  /** The clock of `deadlines`, ms. */
  now (): number
  /** What it throws makes the load a failed one. */
  parse (id: string, options: TenantOptions | false): T
  /**
   * Told once when loads of an id begin to fail, with why, and once when one succeeds again, with undefined. An id that is
   * forgotten or pushed out meanwhile begins anew. Must not throw.
   */
  onError (id: string, error: Error | undefined): void
}

export interface Directory<T> {
  /**
   * A tenant; undefined: there is none. At once where that is known, else a promise.
   *
   * While the last load failed less than `ttl` ago (or less than a load may take, if that is longer), a good answer is used
   * at once, and the store is asked beside it once a second.
   * @throws never; the promise rejects with TenantLoadError (503)
   */
  get (id: string): T | undefined | Promise<T | undefined>
  /** What is known of an id counts no more: neither what is kept nor what is under way. Who waits already gets it. */
  forget (id: string): void
  /** Forgets all. */
  clear (): void
  /** What is remembered of an id, fresh or not; undefined: nothing, or that there is no such tenant. Asks nobody. */
  peek (id: string): T | undefined
  /** The tenants that are remembered. */
  entries (): Array<[id: string, value: T]>
  /** Ids that are remembered: at most `cache.max` tenants, and as many of which there is nothing. */
  readonly size: number
}

/** What is known of an id. */
class Entry<T> {
  value: T | undefined = undefined
  /** Number of the load that gave it; 0: none has given anything. */
  load = 0
  freshUntil = -Infinity
  goodUntil = -Infinity
  /** Why the last load failed; undefined: it did not. */
  error: Error | undefined = undefined
  failedAt = -Infinity
}

/** One call of `load`. It is over when it has answered, failed or taken too long. */
class Load<T> implements Expirable {
  expiresAt = 0
  before: Expirable | undefined = undefined
  after: Expirable | undefined = undefined
  list: Expirable['list'] = undefined
  /** What it gives is no longer wanted, except by those who wait for it. */
  forgotten = false
  #state: 'running' | 'given' | 'failed' = 'running'
  #value: T | undefined = undefined
  #error: Error | undefined = undefined
  #promise: Promise<T | undefined> | undefined = undefined
  #resolve: ((value: T | undefined) => void) | undefined = undefined
  #reject: ((error: Error) => void) | undefined = undefined

  constructor (readonly id: string, readonly number: number, readonly begunAt: number, readonly expired: (load: Load<T>) => void, readonly closed: (load: Load<T>) => void) {}

  get running (): boolean {
    return this.#state === 'running'
  }

  /** Made when somebody waits: a rejection that nobody waits for would end the process. */
  result (): T | undefined | Promise<T | undefined> {
    if (this.#state === 'given') return this.#value
    if (this.#state === 'failed') return Promise.reject(this.#error)
    this.#promise ??= new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    return this.#promise
  }

  give (value: T | undefined): void {
    this.#state = 'given'
    this.#value = value
    this.#resolve?.(value)
  }

  fail (error: Error): void {
    this.#state = 'failed'
    this.#error = error
    this.#reject?.(error)
  }

  expire (): void {
    this.expired(this)
  }

  forget (): void {
    this.closed(this)
  }
}

export function createDirectory<T extends NonNullable<unknown>> (options: DirectoryOptions<T>): Directory<T> {
  const { load: ask, deadlines, now, parse, onError } = options
  const { ttl, negativeTtl, staleIfError, timeout, max } = options.cache
  /** How long a failure excuses an old answer: a store that hangs is known to fail again only after `timeout`. */
  const excuse = Math.max(ttl, PAUSE + timeout)
  const tenants = new LRUCache<string, Entry<T>>({ max })
  /** Ids without a tenant. Apart, so that those somebody makes up push out no tenant. */
  const others = new LRUCache<string, Entry<T>>({ max })
  /** The one under way, by id. */
  const loads = new Map<string, Load<T>>()
  let lastLoad = 0
  /** The last load that began before something was forgotten: those that took too long by then are not kept when they come. */
  let lastForgotten = 0

  function get (id: string): T | undefined | Promise<T | undefined> {
    const entry = tenants.get(id) ?? others.get(id)
    if (entry === undefined) return begin(id).result()
    const time = now()
    if (time < entry.freshUntil) return entry.value
    if (entry.error === undefined) return begin(id).result()
    const isGood = time < entry.goodUntil
    if (time < entry.failedAt + PAUSE) return isGood ? entry.value : Promise.reject(new TenantLoadError({ cause: entry.error }))
    const { value } = entry
    const load = begin(id)
    return isGood && load.running && time < entry.failedAt + excuse ? value : load.result()
  }

  /** The load under way, or a new one. */
  function begin (id: string): Load<T> {
    const running = loads.get(id)
    if (running !== undefined) return running
    const load = new Load<T>(id, ++lastLoad, now(), expire, close)
    loads.set(id, load)
    try {
      const given = ask(id)
      if (isPromise(given)) {
        Promise.resolve(given).then(options => arrive(load, options), (thrown: unknown) => fail(load, thrown))
        if (timeout !== Infinity) deadlines.arm(load, timeout)
      } else arrive(load, given)
    } catch (thrown) {
      fail(load, thrown)
    }
    return load
  }

  function arrive (load: Load<T>, options: TenantOptions | false | undefined | null): void {
    let value: T | undefined
    try {
      value = options === undefined || options === null ? undefined : parse(load.id, options)
    } catch (thrown) {
      fail(load, thrown)
      return
    }
    if (!load.running) {
      keepLate(load, value)
      return
    }
    end(load)
    load.give(value)
    if (load.forgotten) return
    const entry = keep(load, value)
    if (entry.error === undefined) return
    entry.error = undefined
    onError(load.id, undefined)
  }

  /** It has failed for everybody who waited: a store that is always too slow goes on failing, but what it says is used. */
  function keepLate (load: Load<T>, value: T | undefined): void {
    if (load.number > lastForgotten && load.number > (entryOf(load.id)?.load ?? 0)) keep(load, value)
  }

  function keep (load: Load<T>, value: T | undefined): Entry<T> {
    const { id } = load
    const entry = entryOf(id) ?? new Entry<T>()
    // what comes late was read from the store nobody knows when
    const at = Math.min(now(), load.begunAt + timeout)
    entry.value = value
    entry.load = load.number
    entry.freshUntil = at + (value === undefined ? negativeTtl : ttl)
    entry.goodUntil = entry.freshUntil + staleIfError
    const [list, left] = value === undefined ? [others, tenants] : [tenants, others]
    left.delete(id)
    list.set(id, entry)
    return entry
  }

  function fail (load: Load<T>, thrown: unknown): void {
    // too late to matter
    if (!load.running) return
    end(load)
    const error = thrown instanceof Error ? thrown : new TypeError('tenancy.load threw what is no error', { cause: thrown })
    if (load.forgotten) {
      load.fail(new TenantLoadError({ cause: error }))
      return
    }
    let entry = entryOf(load.id)
    if (entry === undefined) others.set(load.id, entry = new Entry())
    const isNew = entry.error === undefined
    entry.error = error
    entry.failedAt = now()
    if (entry.failedAt < entry.goodUntil) load.give(entry.value)
    else load.fail(new TenantLoadError({ cause: error }))
    if (isNew) onError(load.id, error)
  }

  function expire (load: Load<T>): void {
    fail(load, new Error(`tenancy.load took longer than ${timeout} ms`))
  }

  function close (load: Load<T>): void {
    end(load)
    load.forgotten = true
    load.fail(new TenantLoadError({ cause: new Error('the gateway has closed') }))
  }

  function end (load: Load<T>): void {
    deadlines.disarm(load)
    if (loads.get(load.id) === load) loads.delete(load.id)
  }

  function entryOf (id: string): Entry<T> | undefined {
    return tenants.peek(id) ?? others.peek(id)
  }

  return {
    get,
    forget (id) {
      tenants.delete(id)
      others.delete(id)
      const load = loads.get(id)
      if (load !== undefined) load.forgotten = true
      loads.delete(id)
      lastForgotten = lastLoad
    },
    clear () {
      tenants.clear()
      others.clear()
      for (const load of loads.values()) load.forgotten = true
      loads.clear()
      lastForgotten = lastLoad
    },
    peek: id => tenants.peek(id)?.value,
    entries: () => [...tenants.entries()].flatMap(([id, { value }]): Array<[string, T]> => value === undefined ? [] : [[id, value]]),
    get size () { return tenants.size + others.size }
  }
}
