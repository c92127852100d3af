/**
 * The end of a served gateway: stop accepting, finish what runs, leave with 0.
 */
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'

/** Time that running requests have after the first signal, ms. */
const GRACE = 30_000

/** From now on SIGTERM and SIGINT drain; a second signal, or 30 s, ends at once with 1. */
export function drainOnSignal (app: FastifyInstance): void {
  closeWithGrace({
    delay: GRACE,
    logger: { error: message => { app.log.error(message) } },
    // Only a signal or a fault ends the process.
    skip: ['beforeExit']
  }, async ({ signal, err }) => {
    if (err !== undefined) app.log.fatal(err, 'ending after a fault')
    else app.log.info(`${signal ?? 'close'}: no new requests; finishing what runs`)
    await app.close()
  })
}
