/**
 * The end of a served gateway: stop accepting, finish what runs, leave with 0.
 */
import closeWithGrace, { type Options } from 'close-with-grace'
import { flushSpans } from './flush.ts'
import type { RunningGateway } from './serving/gateway.ts'

/** Beyond what `shutdown` grants, ms: hooks of the user's may close things of their own. */
export const GRACE = 20_000
/** The longest time there is for it, ms: how much a later configuration will grant is not known yet. */
const LONGEST = 2 ** 31 - 1

/** What has to be finished before the process may end. */
export type Served = Pick<RunningGateway, 'log' | 'file' | 'close'>

/** From now on SIGTERM and SIGINT drain; a second signal, or a close that does not end, ends at once with 1. */
export function drainOnSignal (served: Served): void {
  // Only a signal or a fault ends the process, and SIGHUP reloads.
  install(served, ['beforeExit', 'SIGHUP'])
}

/** In a worker, which has its signals from the primary: what is returned drains, and ends with 0. A fault drains as well, and is told before. */
export function drainWhenTold (served: Served, onFault: () => void): () => void {
  const { close } = install(served, ['beforeExit', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'], onFault)
  return () => { close() }
}

function install (served: Served, skip: NonNullable<Options['skip']>, onFault?: () => void): { close (): void } {
  return closeWithGrace({
    delay: LONGEST,
    logger: { error: message => { served.log.error(message) } },
    skip
  }, async ({ signal, err, manual }) => {
    const { delay, timeout } = served.file.config.shutdown
    setTimeout(() => {
      served.log.error('the gateway could not be closed in time')
      process.exit(1)
    }, delay + timeout + GRACE).unref()
    if (err !== undefined) {
      served.log.fatal(err, 'ending after a fault')
      onFault?.()
    } else {
      served.log[manual === true ? 'debug' : 'info'](`${signal ?? 'close'}: no new requests; finishing what runs`)
    }
    await served.close()
    await flushSpans(served)
  })
}
