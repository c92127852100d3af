/**
 * What a worker does: serves what it is handed, takes up what comes in its place, ends when it is told to or when nobody is
 * left to tell it anything.
 */
import cluster from 'node:cluster'
import type { ConfigFile } from '../../lib/config-file.ts'
import { drainWhenTold } from '../drain.ts'
import { startGateway, type RunningGateway } from './gateway.ts'
import { isMessage, tellPrimary } from './messages.ts'
import { fromPortable } from './portable.ts'
import { createScrapes } from './scrapes.ts'

/**
 * How long a worker that is replaced tells connections that they end with their next answer, ms. Without it one that is idle
 * would be closed just as its next request is on its way.
 */
const NOTICE = 1_000

/** Listens to the primary from now on. */
export function work (): void {
  let file: ConfigFile | undefined
  let gateway: RunningGateway | undefined
  let end = (): void => { process.exit(0) }
  const scrapes = createScrapes()

  async function serve (): Promise<void> {
    gateway = await startGateway(async () => file!, { quiet: true })
    settle()
    end = drainWhenTold(gateway, () => { tellPrimary({ kind: 'reverseproxy:leaving', why: 'a fault', ends: true }) })
    tellPrimary({ kind: 'reverseproxy:serving', addresses: gateway.addresses })
  }

  /** What it shows and does is for all workers. */
  function settle (): void {
    const { admin, metrics } = gateway!.app.reverseproxy
    scrapes.answerFor(metrics.registry)
    admin.relay = deed => { tellPrimary({ kind: 'reverseproxy:done', deed }) }
  }

  async function reload (id: number): Promise<void> {
    const became = await gateway!.reload()
    settle()
    tellPrimary({
      kind: 'reverseproxy:reloaded',
      id,
      waiting: became.outcome === 'applied' ? became.waiting : [],
      ...(became.outcome === 'refused' ? { error: became.error.message } : undefined)
    })
  }

  function leave (replaced: boolean): void {
    if (!replaced || gateway === undefined) {
      end()
      return
    }
    const { app, file: { config: { shutdown } } } = gateway
    app.reverseproxy.closing = true
    setTimeout(() => { end() }, Math.max(0, NOTICE - shutdown.delay))
  }

  process.on('message', (message: unknown) => {
    if (isMessage(message, 'reverseproxy:serve')) {
      file = fromPortable(message.file)
      serve().catch((error: Error) => {
        tellPrimary({ kind: 'reverseproxy:failed', error: error.message }, () => { process.exit(1) })
      })
    } else if (isMessage(message, 'reverseproxy:reload')) {
      file = fromPortable(message.file)
      reload(message.id)
    } else if (isMessage(message, 'reverseproxy:end')) {
      leave(message.replaced)
    } else if (isMessage(message, 'reverseproxy:done')) {
      gateway?.app.reverseproxy.admin.repeat(message.deed)
    } else if (isMessage(message, 'reverseproxy:refused')) {
      gateway?.app.reverseproxy.metrics.reloadFailed()
    }
  })

  const { worker } = cluster
  worker?.once('disconnect', () => {
    // Node would end the process at once, with all that runs
    worker.exitedAfterDisconnect = true
    end()
  })
  tellPrimary({ kind: 'reverseproxy:ready' })
}
