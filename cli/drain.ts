/**
 * The end of a served gateway: stop accepting, finish what runs, leave with 0.
 */
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'

/** Beyond what `shutdown` grants, ms: hooks of the user's may close things of their own. */
const GRACE = 20_000

/** From now on SIGTERM and SIGINT drain; a second signal, or a close that does not end, ends at once with 1. */
export function drainOnSignal (app: FastifyInstance): void {
  const { delay, timeout } = app.reverseproxy.config.shutdown
  closeWithGrace({
    delay: delay + timeout + GRACE,
    logger: { error: message => { app.log.error(message) } },
    // Only a signal or a fault ends the process.
    skip: ['beforeExit']
  }, async ({ signal, err }) => {
    if (err !== undefined) app.log.fatal(err, 'ending after a fault')
    else app.log.info(`${signal ?? 'close'}: no new requests; finishing what runs`)
    await app.close()
  })
}
