/**
 * `reverseproxy serve --workers`: a process for each core. The primary reads the file, and sees to it that there are always so
 * many workers and that all of them serve the same; the workers do the work.
 */
import cluster, { type Worker } from 'node:cluster'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import Fastify from 'fastify'
import type { FastifyBaseLogger } from 'fastify'
import type { ConfigFile } from '../lib/config-file.ts'
import { collectFromWorkers } from '../lib/metrics/cluster.ts'
import { createCrew, type Crew } from './serving/crew.ts'
import type { RunningGateway } from './serving/gateway.ts'
import type { GatewayWorker } from './serving/gateway-worker.ts'
import { isMessage } from './serving/messages.ts'
import { tellRefusal } from './serving/refusal.ts'
import { isBehind, succeed } from './serving/succession.ts'
import { UsageError } from './usage.ts'

/** How long workers have for telling their metrics, ms. */
const SCRAPE = 5_000

/** Resolves when the workers listen. Throws what `load` throws, before any worker has begun, and Error when no worker can serve. */
export async function startWorkers (load: () => Promise<ConfigFile>, size: number): Promise<Pick<RunningGateway, 'log' | 'file' | 'reload' | 'close'>> {
  if (!cluster.isPrimary) throw new UsageError('--workers must be 1 in a process that is a worker itself')
  const file = await load()
  let log = loggerOf(file)
  let shown = ''
  let running: Promise<unknown> = Promise.resolve()
  let waiting: ReturnType<typeof apply> | undefined

  cluster.setupPrimary({ exec: fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url)), args: [], serialization: 'advanced' })
  const crew = createCrew({ size, file, log: () => log, random: Math.random, onWorker: worker => { answerScrapes(worker, crew); passOn(worker, crew) } })
  process.on('exit', () => { crew.kill() })
  await crew.start()
  show()

  /** Says where they listen, once for each place. */
  function show (): void {
    const addresses = crew.places.find(({ worker }) => worker?.state === 'serving')?.worker?.addresses ?? []
    if (addresses.join() === shown) return
    shown = addresses.join()
    const workers = crew.places.filter(({ worker }) => worker?.state === 'serving').length
    for (const address of addresses) log.info({ workers }, `fastify-reverseproxy listens on ${address}`)
  }

  async function apply () {
    try {
      const read = await load()
      const isSame = isDeepStrictEqual({ ...read, config: undefined }, { ...crew.file, config: undefined })
      const target = isSame ? crew.file : read
      if (crew.isClosing || (isSame && !isBehind(crew, target))) {
        log.debug('reload: nothing has changed')
        return { outcome: 'unchanged' as const }
      }
      await succeed(crew, target, log)
      log = loggerOf(target)
      if (!isBehind(crew, target)) log.info({ workers: size }, 'reload: the new configuration is in place')
      show()
      return { outcome: 'applied' as const, waiting: [] }
    } catch (error) {
      tellRefusal(log, 'reload: the new configuration is refused, the one before stays', error as Error)
      crew.places.find(({ worker }) => worker?.state === 'serving')?.worker?.tell({ kind: 'reverseproxy:refused' })
      return { outcome: 'refused' as const, error: error as Error }
    }
  }

  return {
    get log () { return log },
    get file () { return crew.file },
    reload () {
      waiting ??= running.then(() => {
        waiting = undefined
        const applied = apply()
        running = applied
        return applied
      })
      return waiting
    },
    close: () => crew.close()
  }
}

/** As the gateway logs; nothing of it listens. */
function loggerOf ({ server: { fastify: { logger = false } } }: ConfigFile): FastifyBaseLogger {
  return Fastify({ logger }).log
}

/** A worker that is asked for metrics shows those of all. */
function answerScrapes ({ process: worker }: GatewayWorker, { workers }: Crew): void {
  worker.on('message', (message: unknown) => {
    if (!isMessage(message, 'reverseproxy:scrape')) return
    const { id } = message
    const answer = (told: { text: string } | { error: string }): void => { worker.send({ kind: 'reverseproxy:scraped', id, ...told }, undefined, () => {}) }
    collectFromWorkers(processesOf(workers), SCRAPE).then(text => { answer({ text }) }, (error: Error) => { answer({ error: error.message }) })
  })
}

/** What an operator tells one worker, the others do as well. */
function passOn (from: GatewayWorker, { workers }: Crew): void {
  from.process.on('message', (message: unknown) => {
    if (!isMessage(message, 'reverseproxy:done')) return
    for (const worker of workers) if (worker !== from && worker.state === 'serving') worker.tell(message)
  })
}

/** Those that drain still count. */
function processesOf (workers: ReadonlySet<GatewayWorker>): Worker[] {
  return [...workers].filter(({ state }) => state !== 'starting').map(({ process }) => process)
}
