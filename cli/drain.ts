/**
 * The end of a served gateway: stop accepting, finish what runs, leave with 0.
 */
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'

/** Time that running requests have after the first signal, ms. */
const GRACE = 30_000
/** How often connections that have become idle are looked for while draining, ms. */
const SWEEP = 100

/**
 * Call it before `listen`; what it returns, after. From then on SIGTERM and SIGINT drain; a second signal, or 30 s, ends at
 * once with 1.
 */
export function prepareDrain (app: FastifyInstance): () => void {
  let isDraining = false
  // Fastify says `Connection: close` to requests that come while it closes, not to those that run already: their connections
  // would stay open until their keep-alive time is over, and the process with them.
  app.addHook('onSend', function sayGoodbye (request, reply, payload, done) {
    if (isDraining && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
    done(null, payload)
  })
  return () => {
    closeWithGrace({
      delay: GRACE,
      logger: { error: message => { app.log.error(message) } },
      // Only a signal or a fault ends the process.
      skip: ['beforeExit']
    }, async ({ signal, err }) => {
      isDraining = true
      if (err !== undefined) app.log.fatal(err, 'ending after a fault')
      else app.log.info(`${signal ?? 'close'}: no new requests; finishing what runs`)
      await closeWithIdleConnections(app)
    })
  }
}

/** Answers whose headers were out before the signal could not say goodbye: their connections are closed when they are idle. */
async function closeWithIdleConnections (app: FastifyInstance): Promise<void> {
  const { server } = app
  const sweep = setInterval(() => { if ('closeIdleConnections' in server) server.closeIdleConnections() }, SWEEP)
  try {
    await app.close()
  } finally {
    clearInterval(sweep)
  }
}
