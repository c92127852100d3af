/**
 * A new configuration for all workers, one after the other. The first one shows whether it works.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { ConfigFile } from '../../lib/config-file.ts'
import { planServer } from '../../lib/plan/server.ts'
import { nameOf, type Crew, type Place } from './crew.ts'
import type { GatewayWorker } from './gateway-worker.ts'
import { tellRefusal } from './refusal.ts'

/**
 * Workers take it up as they run, or are replaced where options of the server ask for that. Throws when the first one
 * refuses: then nothing has changed. One that refuses later is replaced; if that fails, too, it stays as it is, and the others go on.
 */
export async function succeed (crew: Crew, target: ConfigFile, log: FastifyBaseLogger): Promise<void> {
  const stuck = new Set<Place>()
  const next = () => crew.places.find(place => place.worker !== undefined && place.worker.file !== target && !stuck.has(place))
  for (let place = next(); place !== undefined && !crew.isClosing; place = next()) {
    try {
      if (await change(crew, place, place.worker!, target, log)) crew.file = target
    } catch (error) {
      if (crew.isClosing) return
      if (crew.file !== target) throw error
      stuck.add(place)
      tellRefusal(log, `reload: ${nameOf(place)} keeps the configuration before; reload once more, or end it`, error as Error)
    }
  }
  // perhaps nobody was there to ask
  crew.file = target
}

/** Whether some worker still serves another one. */
export function isBehind (crew: Crew, file: ConfigFile): boolean {
  return crew.places.some(({ worker }) => worker !== undefined && worker.file !== file)
}

/** Resolves to false when the worker is not there any more: then another one is, or will be. */
async function change (crew: Crew, place: Place, worker: GatewayWorker, target: ConfigFile, log: FastifyBaseLogger): Promise<boolean> {
  try {
    await place.next?.serving
    await worker.serving
  } catch {
    return false
  }
  if (place.worker !== worker) return false
  if (!needsProcess(worker.file, target)) {
    const answer = await worker.reload(target)
    if (answer.outcome === 'applied') return true
    if (crew.file !== target && answer.outcome !== 'stuck') throw answer.error
    log.warn(`reload: ${nameOf(place)} is replaced, since it does not take up the new configuration: ${answer.error.message}`)
  }
  await crew.replace(place, target)
  return true
}

function needsProcess (before: ConfigFile, after: ConfigFile): boolean {
  return planServer(before.server, after.server).some(({ how }) => how === 'restart')
}
