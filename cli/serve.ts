/**
 * `reverseproxy serve`: the gateway of a file, until a signal ends it.
 */
import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { loadConfigFile, type ConfigFile } from '../lib/config-file.ts'
import { LOG_LEVELS } from '../lib/options/schema/server.ts'
import type { ServerConfig } from '../lib/options/server.ts'
import { drainOnSignal, type Served } from './drain.ts'
import { startGateway, type RunningGateway } from './serving/gateway.ts'
import { UsageError } from './usage.ts'

type Flags = Readonly<Record<string, string | boolean | undefined>>

/** More processes than that are a mistake. */
const MOST_WORKERS = 256
/** How often `--watch` looks at the files, ms. */
const LOOK = 500

/**
 * Listens and stays. SIGTERM and SIGINT stop accepting, let finish what runs and end with 0; a second signal, or 30 s, ends
 * at once. SIGHUP reads the file again, and so does every change of it with `--watch`. `--workers` makes it several processes,
 * for which all of that holds. Throws OptionsError for a wrong file, UsageError for a wrong flag, and what `listen` throws (a port in use).
 */
export async function serve (file: string, flags: Flags): Promise<undefined> {
  const workers = workersOf(flags)
  const load = async (): Promise<ConfigFile> => {
    const loaded = await loadConfigFile(file)
    return { ...loaded, server: withFlags(loaded.server, flags) }
  }
  const starting: Promise<Served & Pick<RunningGateway, 'reload'>> = workers === 1 ? startGateway(load) : import('./workers.ts').then(({ startWorkers }) => startWorkers(load, workers))
  // before it serves, too: without a listener the signal would end the process, and first lists of discovery may take long
  process.on('SIGHUP', () => {
    starting.then(async (gateway) => {
      const { outcome } = await gateway.reload()
      if (outcome === 'unchanged') gateway.log.info('SIGHUP: nothing to change')
    }).catch(() => {})
  })
  const gateway = await starting
  drainOnSignal(gateway)
  if (flags['watch'] === true) reloadOnChange(file, gateway)
}

/**
 * Looked at again and again, since what replaces a file, or a folder that it is linked from, is not told of everywhere. What a
 * file was when it was read is not known: the first look reads it once more.
 */
function reloadOnChange (file: string, gateway: Pick<RunningGateway, 'file' | 'reload'>): void {
  let seen = ''
  async function look (): Promise<void> {
    const states = await Promise.all([file, ...gateway.file.files].map(stateOf))
    const state = states.join('\n')
    if (state !== seen) await gateway.reload()
    seen = state
    setTimeout(look, LOOK).unref()
  }
  look()
}

/** Links are followed. */
async function stateOf (path: string): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await stat(path).catch(() => ({ ino: 0, size: 0, mtimeMs: 0, ctimeMs: 0 }))
  return `${path} ${ino} ${size} ${mtimeMs} ${ctimeMs}`
}

function workersOf ({ workers = '1' }: Flags): number {
  if (workers === 'auto') return availableParallelism()
  const count = /^\d+$/.test(String(workers)) ? Number(workers) : 0
  if (count < 1 || count > MOST_WORKERS) throw new UsageError(`--workers must be "auto" or a number between 1 and ${MOST_WORKERS} (got "${workers}")`)
  return count
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
