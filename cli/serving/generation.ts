/**
 * One configuration at work: a Fastify instance with the gateway of a file, on a stage. The next one takes its place; it ends
 * when the last request that it has begun has ended.
 */
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Server } from 'node:http'
import { successorOf } from '../../plugins/reverseproxy.ts'
import type { ConfigFile } from '../../lib/config-file.ts'
import { QuietLog, quietLogger } from '../quiet-log.ts'
import { Stage } from './stage.ts'
import type { Listener } from './listener.ts'

export interface Generation {
  readonly file: ConfigFile
  readonly app: FastifyInstance
  readonly stage: Stage
}

/** Ready for requests, but none come yet. Throws what registering and `ready` throw; nothing is left of it then. `previous`: that it is to follow. */
export async function createGeneration (file: ConfigFile, listener: Listener, previous?: Generation): Promise<Generation> {
  const stage = new Stage(listener)
  const app = Fastify({
    ...file.server.fastify,
    logController: new QuietLog(),
    logger: quietLogger(file.server.fastify.logger, file.config.trafficDump?.redact),
    // how long the start may take is what `bootTimeout` of the backends says
    pluginTimeout: 0,
    serverFactory (handler) {
      stage.on('request', handler)
      return stage as unknown as Server
    }
  })
  let before = previous?.app.reverseproxy
  try {
    await app.register(successorOf(() => before), file.gateway)
    await app.ready()
  } catch (error) {
    await app.close()
    throw error
  } finally {
    before = undefined
  }
  return { file, app, stage }
}
