/**
 * The traffic dump: sampled requests and their answers, as lines in files.
 *
 * Stage: a hook where a request begins, the end of its answer or its connection. Reads: the request's record, the bytes
 * that pass. Writes nothing that others read. Without the option there are no hooks.
 */
import { randomBytes } from 'node:crypto'
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { createEndings } from '../lib/endings.ts'
import { explainingOf } from '../lib/explain/mark.ts'
import { createRedactor } from '../lib/redact/index.ts'
import { forwardingName, markForwarding } from '../lib/routes/forwarding.ts'
import { Capture, capturedOf, createLines, createSampling, createWriter, openFiles, tryFolder, withoutTenants } from '../lib/traffic-dump/index.ts'
import type { DumpStats, Sink, TrafficDumpConfig, Writer } from '../lib/traffic-dump/index.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** What is written down of requests. Owner: plugins/traffic-dump.ts */
    trafficDump: TrafficDumpApi
    /** What is handed on to a gateway that takes the place of this one; undefined: nothing is written down. Owner: plugins/traffic-dump.ts */
    dumping: Dumping | undefined
  }
}

export interface TrafficDumpApi {
  /** Lines since the start; of a gateway that took the place of another one, those of the other as well. */
  stats (): DumpStats
}

interface Dumping {
  readonly config: TrafficDumpConfig
  readonly writer: Writer
  /** Who closes the writer is whose it is: the gateway that has been handed it last. */
  owned: boolean
}

export interface TrafficDumpOptions {
  /** For tests: where lines go. Default: files in the folder of the option. */
  open?: (() => Sink) | undefined
}

/** Lines of so many ms are written together. */
const GATHERING = 250

const NOTHING: DumpStats = Object.freeze({ written: 0, dropped: 0, failed: 0, queued: 0, file: undefined })

const trafficDump: FastifyPluginAsync<TrafficDumpOptions> = async function trafficDump (fastify, { open }) {
  const { reverseproxy } = fastify
  const { config: { trafficDump: config }, previous } = reverseproxy
  if (config === undefined) {
    reverseproxy.dumping = undefined
    reverseproxy.trafficDump = { stats: () => NOTHING }
    return
  }
  const before = previous?.dumping
  const goesOn = before !== undefined && fits(before.config, config)
  const dumping: Dumping = reverseproxy.dumping = { config, writer: goesOn ? before.writer : createFiles(fastify, config, open), owned: !goesOn }
  if (goesOn) {
    reverseproxy.successions.push(({ dumping: handed }) => {
      handed!.owned = false
      dumping.owned = true
    })
  }
  reverseproxy.trafficDump = { stats: () => dumping.writer.stats() }
  fastify.addHook('onClose', async function flush () {
    if (dumping.owned) await dumping.writer.close(reverseproxy.config.shutdown.timeout)
  })
  // lines that go elsewhere need no folder
  if (capture(fastify, config, dumping.writer) && open === undefined) lookAtBoot(fastify, config, dumping.writer)
}

/** Whether the same files can go on. */
function fits (before: TrafficDumpConfig, after: TrafficDumpConfig): boolean {
  return (['directory', 'maxFileSize', 'maxFiles', 'interval', 'queue'] as const).every(name => before[name] === after[name])
}

function createFiles ({ log, reverseproxy: { clock } }: FastifyInstance, config: TrafficDumpConfig, open?: () => Sink): Writer {
  // other processes and gateways may write to the same folder
  const id = `${process.pid}-${randomBytes(3).toString('hex')}`
  return createWriter({
    open: open ?? (() => openFiles(config, { id, now: () => clock.now() })),
    limit: config.queue,
    clock,
    defer: setImmediate,
    gather: GATHERING,
    onTrouble (error) { log.error({ err: error, directory: config.directory }, 'the traffic dump cannot be written; lines are lost until it can, requests are not affected') },
    onRecovery () { log.info({ directory: config.directory }, 'the traffic dump is written again') }
  })
}

/** Who starts a gateway hears of a wrong folder then, not with the first request that is sampled. Nothing waits for it: a disk may stand still. */
function lookAtBoot (fastify: FastifyInstance, { directory }: TrafficDumpConfig, writer: Writer): void {
  fastify.addHook('onReady', function tryDumpFolder (done) {
    tryFolder(directory).then(reason => {
      if (reason !== undefined && writer.expectTrouble()) {
        fastify.log.warn({ directory, reason }, `the traffic dump cannot be written to ${directory}: ${reason}; lines are lost until it can, requests are not affected`)
      }
    }, nothing)
    done()
  })
}

function nothing (): void {}

// ---- capturing

/** False: no request is sampled. */
function capture (fastify: FastifyInstance, config: TrafficDumpConfig, writer: Writer): boolean {
  const { reverseproxy } = fastify
  const { clock, config: { random } } = reverseproxy
  const sampling = createSampling(config, random)
  if (!sampling.active) return false
  const lineOf = createLines(createRedactor(withoutTenants(config.redact, reverseproxy.config.tenancy)), config.maxBodySize)

  const endings = createEndings<Capture>(function endCapture (capture, request, reply, finished) {
    const record = request.reverseproxy
    // a route of the app that has forwarded nothing
    if (record === undefined) return
    const { raw: { headersSent, statusCode: status } } = reply
    const captured = capturedOf(capture, record, request, reply, { now: clock.now(), tenant: reverseproxy.tenantInLogs(record), clientAddress: config.clientAddress, finished, headersSent, status }, lineOf)
    if (capture.ifFailed && !((captured.status >= 500 || captured.cut) && sampling.failed())) return
    writer.add(captured)
  })

  fastify.addHook('onRoute', function findForwarding (route) { markForwarding(route, reverseproxy.handler) })
  fastify.addHook('onRequest', function sample (request, reply, done) {
    if (!request.is404 && explainingOf(request.raw) === undefined) {
      const chosen = sampling.begin(request, nameOf)
      if (chosen !== 'no') {
        const capture = new Capture(chosen === 'maybe', Date.now(), clock.now())
        if (config.maxBodySize > 0) capture.watch(request, reply, config.maxBodySize)
        endings.begin(request, reply, capture)
      }
    }
    done()
  })
  return true
}

/** A handler of the app's own may forward it, too. */
function nameOf (request: FastifyRequest): string {
  return forwardingName(request)?.(request) ?? request.routeOptions.config?.name ?? request.routeOptions.url ?? '*'
}

export default fp(trafficDump, { name: 'reverseproxy-traffic-dump', fastify: '5.x', dependencies: ['reverseproxy-core'] })
