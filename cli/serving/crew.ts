/**
 * The workers: so many at every moment. One that ends is replaced, and one that shall not serve any longer leaves when
 * another one serves in its place.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { ConfigFile } from '../../lib/config-file.ts'
import { describeExit, startWorker, type Exit, type GatewayWorker } from './gateway-worker.ts'
import { waitBefore } from './replacing.ts'

/** A signal for all processes may come to a worker before it comes to the primary, ms. */
const SIGNAL_SPREAD = 250

/** One of the places that are to be filled. */
export interface Place {
  /** From 1, for messages. */
  readonly number: number
  readonly worker: GatewayWorker | undefined
  /** The one that is to take over. */
  readonly next: GatewayWorker | undefined
}

interface OwnPlace extends Place {
  worker: GatewayWorker | undefined
  next: GatewayWorker | undefined
  /** Workers that have ended early, one after the other. */
  deaths: number
  timer: NodeJS.Timeout | undefined
}

export interface Crew {
  readonly places: readonly Place[]
  /** All processes, those that drain included. */
  readonly workers: ReadonlySet<GatewayWorker>
  /** What new workers begin with. */
  file: ConfigFile
  readonly isClosing: boolean
  /** Resolves when each of them has started or failed. Rejects when all have failed. */
  start (): Promise<void>
  /** Fills a place anew: the new one serves before the old one leaves. Resolves when that has ended; rejects when the new one cannot serve, and the old one stays. */
  replace (place: Place, file: ConfigFile): Promise<void>
  /** All drain at the same time. Rejects when one of them fails in it. */
  close (): Promise<void>
  /** Ends them all, whatever they do. */
  kill (): void
}

export interface CrewOptions {
  readonly size: number
  readonly file: ConfigFile
  readonly log: () => FastifyBaseLogger
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** A process has begun. */
  readonly onWorker: (worker: GatewayWorker) => void
}

export function createCrew ({ size, file, log, random, onWorker }: CrewOptions): Crew {
  const places = Array.from({ length: size }, (_, index): OwnPlace => ({ number: index + 1, worker: undefined, next: undefined, deaths: 0, timer: undefined }))
  const workers = new Set<GatewayWorker>()
  let isStarted = false
  let isClosing = false

  function begin (place: OwnPlace, file: ConfigFile): GatewayWorker {
    const worker = startWorker(file, (why, ends) => { leaving(place, worker, why, ends) })
    workers.add(worker)
    onWorker(worker)
    worker.ended.then(exit => { ended(place, worker, exit) })
    return worker
  }

  function hire (place: OwnPlace): GatewayWorker {
    const worker = place.worker = begin(place, crew.file)
    worker.serving.then(() => { log()[isStarted ? 'info' : 'debug'](`${nameOf(place)} serves`) }, () => {})
    return worker
  }

  function ended (place: OwnPlace, worker: GatewayWorker, exit: Exit): void {
    workers.delete(worker)
    if (place.next === worker) place.next = undefined
    else if (place.worker === worker) vacate(place, exit)
  }

  /** Nobody serves at a place any more. */
  function vacate (place: OwnPlace, exit: Exit): void {
    const name = nameOf(place)
    place.worker = undefined
    if (!isStarted || isClosing) return
    const { wait, deaths } = waitBefore(exit.served, place.deaths, random)
    place.deaths = deaths
    const { code, signal, served } = exit
    log().error({ code, signal }, `${name} ${describeExit(exit)}, ${served === undefined ? 'before it served' : `after ${Math.round(served)} ms`}: a new one begins in ${Math.round(wait)} ms`)
    fillAfter(place, wait)
  }

  function fillAfter (place: OwnPlace, wait: number): void {
    clearTimeout(place.timer)
    place.timer = setTimeout(() => {
      if (isClosing || place.worker !== undefined) return
      if (place.next === undefined) hire(place)
      // it may come to nothing
      else fillAfter(place, wait)
    }, wait)
  }

  /** Who signals one worker wants that one gone; who signals all of them means the primary as well, which hears of it in a moment. */
  function leaving (place: OwnPlace, worker: GatewayWorker, why: string, ends: boolean): void {
    if (place.worker !== worker) return
    if (ends) {
      worker.end(false)
      vacate(place, { code: null, signal: null, served: worker.served, reason: why })
      return
    }
    setTimeout(() => {
      if (isClosing || place.worker !== worker || place.next !== undefined) return
      log().warn(`${nameOf(place)} is replaced: ${why}`)
      replace(place, crew.file).catch((error: Error) => { if (!isClosing) log().error(`${nameOf(place)} stays: the new one ${error.message}`) })
    }, SIGNAL_SPREAD)
  }

  async function replace (place: OwnPlace, file: ConfigFile): Promise<void> {
    const next = place.next = begin(place, file)
    await next.serving
    const old = place.worker
    place.next = undefined
    place.worker = next
    log().info(`${nameOf(place)} serves${old === undefined ? '' : ` in place of ${old.pid}`}`)
    old?.end(true)
    await old?.ended
  }

  const crew: Crew = {
    places,
    workers,
    file,
    get isClosing () { return isClosing },
    async start () {
      const first = places.map(hire)
      const started = await Promise.allSettled(first.map(({ serving }) => serving))
      isStarted = true
      if (started.every(({ status }) => status === 'rejected')) throw new Error(reasonOf(await first[0]!.ended))
      for (const [index, { status }] of started.entries()) if (status === 'rejected') vacate(places[index]!, await first[index]!.ended)
    },
    replace: (place, file) => replace(places[place.number - 1]!, file),
    async close () {
      isClosing = true
      for (const { timer } of places) clearTimeout(timer)
      const serving = [...workers].filter(({ state }) => state !== 'starting')
      for (const worker of workers) worker.end(false)
      await Promise.all([...workers].map(worker => worker.ended))
      const failed = (await Promise.all(serving.map(async ({ pid, ended }) => ({ pid, exit: await ended })))).find(({ exit }) => exit.code !== 0)
      if (failed !== undefined) throw new Error(`worker process ${failed.pid} ${describeExit(failed.exit)}`)
    },
    kill () {
      for (const worker of workers) worker.kill()
    }
  }
  return crew
}

/** `worker 2 (4711)` */
export function nameOf ({ number, worker }: Place): string {
  return worker === undefined ? `worker ${number}` : `worker ${number} (${worker.pid})`
}

function reasonOf (exit: Exit): string {
  return exit.reason ?? `no worker could start: the first one ${describeExit(exit)}`
}
