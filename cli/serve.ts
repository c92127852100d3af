/**
 * `reverseproxy serve`: the gateway of a file, until a signal ends it.
 */
import Fastify from 'fastify'
import reverseproxy from '../index.ts'
import { loadConfigFile } from '../lib/config-file.ts'
import { LOG_LEVELS } from '../lib/options/schema/server.ts'
import type { ServerConfig } from '../lib/options/server.ts'
import { drainOnSignal } from './drain.ts'
import { QuietLog } from './quiet-log.ts'
import { UsageError } from './usage.ts'

type Flags = Readonly<Record<string, string | boolean | undefined>>

/**
 * Listens and stays. SIGTERM and SIGINT stop accepting, let finish what runs and end with 0; a second signal, or 30 s, ends
 * at once. Throws OptionsError for a wrong file, UsageError for a wrong flag, and what `listen` throws (a port in use).
 */
export async function serve (file: string, flags: Flags): Promise<undefined> {
  const { server, gateway } = await loadConfigFile(file)
  const { host, port, fastify } = withFlags(server, flags)
  const app = Fastify({ ...fastify, logController: new QuietLog() })
  try {
    await app.register(reverseproxy, gateway)
    await app.listen({ host, port, listenTextResolver: address => `fastify-reverseproxy listens on ${address}` })
  } catch (error) {
    await app.close()
    throw error
  }
  drainOnSignal(app)
}

function withFlags (server: ServerConfig, { port, host, 'log-level': level }: Flags): ServerConfig {
  if (typeof port === 'string' && !(/^\d{1,5}$/.test(port) && Number(port) <= 65535)) throw new UsageError(`--port must be a port between 0 and 65535 (got "${port}")`)
  if (typeof level === 'string' && !LOG_LEVELS.some(name => name === level)) throw new UsageError(`--log-level must be one of ${LOG_LEVELS.join(', ')} (got "${level}")`)
  return {
    host: typeof host === 'string' ? host : server.host,
    port: typeof port === 'string' ? Number(port) : server.port,
    fastify: typeof level === 'string' ? { ...server.fastify, logger: { level } } : server.fastify
  }
}
