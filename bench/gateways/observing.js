/**
 * What watches the gateway, by the options of its process. `metrics: true`; `log: true`: a line for each request, in a file;
 * `tracing: true`: there is no SDK; `dump`: share of the requests; `stalled: true`: the disk takes writes and never ends one;
 * `admin: true`. Each process has files of its own, which go when it ends.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LogController } from 'fastify'
import { options } from '../processes.js'

const { metrics = false, log = false, tracing = false, dump, stalled = false, admin = false } = options

const folder = log || dump !== undefined ? mkdtempSync(join(tmpdir(), 'bench-')) : undefined
if (folder !== undefined) process.on('exit', () => { rmSync(folder, { recursive: true, force: true }) })

if (stalled) await stallWrites()

/** Options of Fastify; without its own two lines for each request. */
export const logger = log ? { logger: { level: 'info', file: join(folder, 'log') }, logController: new LogController({ disableRequestLogging: true }) } : { logger: false }

/** Options of the gateway; those that are off are left out, as older builds do not know them all. */
export const observing = {
  ...metrics ? { metrics } : undefined,
  ...log ? { log: { requests: 'info' } } : undefined,
  ...tracing ? { tracing } : undefined,
  ...dump === undefined ? undefined : { trafficDump: { directory: folder, sampleRate: dump, maxFileSize: '20mb', maxFiles: 2 } },
  ...admin ? { admin: { token: 'x'.repeat(32) } } : undefined
}

/**
 * Has it done what it is measured for?
 * @param {import('fastify').FastifyInstance} app
 */
export function check ({ reverseproxy }) {
  if (metrics && reverseproxy.metrics.snapshot().requests.total === 0) throw new Error('nothing was counted')
  if (log && statSync(join(folder, 'log')).size === 0) throw new Error('nothing was logged')
  if (tracing && reverseproxy.config.tracing === undefined) throw new Error('tracing is off')
  if (dump === undefined) return
  const { written, dropped, failed } = reverseproxy.trafficDump.stats()
  if (stalled ? written > 0 || dropped === 0 : written === 0 || failed > 0) throw new Error(`${written} lines were written, ${dropped} dropped, ${failed} failed`)
}

/** From now on no write to an open file comes to an end, in the whole process. */
async function stallWrites () {
  const file = await open(join(folder, 'stalled'), 'w')
  Object.assign(Object.getPrototypeOf(file), { write: never, writev: never, writeFile: never, appendFile: never })
  await file.close()
}

function never () {
  return new Promise(() => {})
}
