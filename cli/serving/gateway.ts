/**
 * The gateway of a file, for as long as the process runs: read, checked, built, put in the place of the one before, which ends
 * when its last request has. Whatever is wrong with a file that is read later, the gateway that runs goes on.
 */
import { isDeepStrictEqual } from 'node:util'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { AddressInfo } from 'node:net'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { changedRoutes, planChanges } from '../../lib/plan/index.ts'
import type { ConfigFile } from '../../lib/config-file.ts'
import { createGeneration, type Generation } from './generation.ts'
import { createListener, type Certificate } from './listener.ts'
import { isMistake, tellRefusal } from './refusal.ts'

/** What became of a reload. */
export type Reload =
  | { readonly outcome: 'applied', /** Options of the server that hold only after a restart. */ readonly waiting: readonly string[] }
  | { readonly outcome: 'unchanged' }
  | { readonly outcome: 'refused', readonly error: Error }

export interface RunningGateway {
  /** That of the configuration that holds now. */
  readonly app: FastifyInstance
  readonly log: FastifyBaseLogger
  readonly file: ConfigFile
  /** URLs where it can be reached. */
  readonly addresses: readonly string[]
  /** Port of the first address. */
  readonly port: number
  /** Earlier configurations with requests that have not ended. */
  readonly earlier: number
  /** Reads the file again. Never rejects; reloads that overlap are done one after the other, and those that wait are one. */
  reload (): Promise<Reload>
  /** Drains, and ends. */
  close (): Promise<void>
}

export interface StartOptions {
  /** Do not log where it listens, nor what is wrong with a configuration: somebody else says so. Default: false. */
  readonly quiet?: boolean
}

/** `load` reads the file. Resolves when it listens; throws what loading, building and listening throw. */
export async function startGateway (load: () => Promise<ConfigFile>, { quiet = false }: StartOptions = {}): Promise<RunningGateway> {
  const first = await load()
  const listener = await createListener(first.server)
  let current = await createGeneration(first, listener)
  /** Earlier ones with requests that have not ended. */
  const earlier = new Set<Generation>()
  let running: Promise<Reload> | undefined
  let waiting: Promise<Reload> | undefined
  /** The one that is on is told that it listens. */
  let placing: Promise<unknown> | undefined
  let closed: Promise<void> | undefined
  let addresses: readonly string[]

  listener.show(current.stage)
  try {
    await listener.listen()
    addresses = await listen(current, quiet)
  } catch (error) {
    await current.app.close()
    throw error
  }

  async function apply (): Promise<Reload> {
    const { log } = current.app
    try {
      const file = await load()
      if (closed !== undefined || isDeepStrictEqual({ ...file, config: undefined }, { ...current.file, config: undefined })) {
        log.debug('reload: nothing has changed')
        return { outcome: 'unchanged' }
      }
      return await put(file)
    } catch (error) {
      // who has handed it out says what is wrong with it
      if (!quiet || !isMistake(error as Error)) tellRefusal(log, 'reload: the new configuration is refused, the one before stays', error as Error)
      current.app.reverseproxy.metrics.reloadFailed()
      return { outcome: 'refused', error: error as Error }
    }
  }

  async function put (file: ConfigFile): Promise<Reload> {
    const before = current
    const { certificate, waiting } = serverChanges(before.file, file)
    // a key that does not fit is found now, not when it is in place
    if (certificate !== undefined) createSecureContext(certificate as SecureContextOptions)
    const next = await createGeneration(file, listener, before)
    if (closed !== undefined) {
      await next.app.close()
      return { outcome: 'unchanged' }
    }
    // from here on within one turn of the event loop: a request is either before it or after it
    next.app.reverseproxy.succeed()
    listener.show(next.stage)
    current = next
    earlier.add(before)
    if (certificate !== undefined) listener.renew(certificate)
    for (const generation of earlier) partWith(generation, next)
    before.stage.onIdle(() => { end(before) })
    placing = listen(next, true)
    await placing
    next.app.log.info('reload: the new configuration is in place')
    if (waiting.length > 0) next.app.log.warn(`reload: ${waiting.join(', ')} changed, which holds only after a restart`)
    return { outcome: 'applied', waiting }
  }

  /** The last request of an earlier one has ended. */
  function end (generation: Generation): void {
    earlier.delete(generation)
    if (closed === undefined) generation.app.close().catch((error: unknown) => { current.app.log.error({ err: error }, 'the configuration before could not be ended') })
  }

  function reload (): Promise<Reload> {
    if (running === undefined) {
      running = apply().finally(() => { running = undefined })
      return running
    }
    waiting ??= running.then(() => {
      waiting = undefined
      return reload()
    })
    return waiting
  }

  return {
    get app () { return current.app },
    get log () { return current.app.log },
    get file () { return current.file },
    addresses,
    get port () { return (listener.servers[0]!.address() as AddressInfo).port },
    get earlier () { return earlier.size },
    reload,
    close () {
      closed ??= (async () => {
        await placing?.catch(() => {})
        for (const { stage } of earlier) stage.end()
        await Promise.all([current, ...earlier].map(({ app }) => app.close()))
        // one that is being built comes to nothing, but may take its time
        await running
      })()
      return closed
    }
  }
}

/** Fastify is told that it listens; the address is the listener's. */
async function listen ({ app }: Generation, quiet: boolean): Promise<readonly string[]> {
  const { log } = app
  const { level } = log
  const addresses: string[] = []
  // there is no other way to keep Fastify from saying it
  if (quiet) log.level = 'warn'
  await app.listen({
    host: '127.0.0.1',
    port: 0,
    listenTextResolver (address) {
      addresses.push(address)
      return `fastify-reverseproxy listens on ${address}`
    }
  })
  if (quiet) log.level = level
  return addresses
}

/** What stays open for long goes with its route, and comes back by the new one. */
function partWith (generation: Generation, { app }: Generation): void {
  const { config, eventStreams, websockets } = generation.app.reverseproxy
  const changed = changedRoutes(config, app.reverseproxy.config)
  const isGone = (route: string): boolean => changed.has(route)
  websockets.end(isGone)
  eventStreams.end(isGone)
}

function serverChanges (before: ConfigFile, after: ConfigFile): { readonly certificate: Certificate | undefined, readonly waiting: readonly string[] } {
  const { server } = planChanges(before, after)
  const https = after.server.fastify['https'] as Certificate | undefined
  return {
    certificate: https !== undefined && before.server.fastify['https'] !== undefined && !isDeepStrictEqual(https, before.server.fastify['https']) ? https : undefined,
    waiting: server.filter(({ how }) => how === 'restart').map(({ path }) => path)
  }
}
