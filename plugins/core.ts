/**
 * The shared instance that the rooms meet on: `fastify.reverseproxy`.
 *
 * Stage: boot. It holds the frozen configuration, collects the rooms' layers and gates, and composes the layers
 * once, when the server is ready. Each other slot has one owner, named in its docblock.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { createDeadlines, systemClock } from '../lib/deadlines.ts'
import type { Clock, Deadlines } from '../lib/deadlines.ts'
import type { Call, Gate, GatewayConfig, Layer, Observer, RequestRecord, Send } from '../lib/types.ts'

/** The way of a call, outermost first. A room fills the place that bears its concern's name. */
const ORDER = [
  'fallback',   // what answers instead when the circuits are open
  'headers',    // what goes out: once per call, however many attempts
  'redirects',  // a followed redirect is a new call to a chosen target
  'retry',      // from here on: once per attempt
  'count',      // whether it leaves or not
  'arrive',     // a backend whose targets are not known yet
  'limit',      // a place among the calls of the backend
  'choose',     // which target
  'breaker',    // one per target
  'trace'       // what leaves
] as const

export type LayerName = typeof ORDER[number]

export interface ReverseProxy {
  /** Parsed, defaulted and frozen. */
  readonly config: GatewayConfig
  readonly clock: Clock
  readonly deadlines: Deadlines
  /** Conditions on targets, asked at every choice; rooms push theirs at boot. */
  readonly gates: Gate[]
  /** Told the outcome of every attempt; rooms push theirs at boot. */
  readonly observers: Observer[]
  /** The gateway whose place this one is made to take; undefined: none, or it has taken it. Who keeps it keeps all that were before. */
  readonly previous: ReverseProxy | undefined
  /**
   * Called one after the other, in the order of the rooms, at the moment when this gateway takes the place of `previous`: each room
   * takes over what is to live on. Requests that `previous` has begun still finish there.
   */
  readonly successions: Array<(previous: ReverseProxy) => void>
  /** Takes the place of `previous`. Both are ready; from now on requests must come here. */
  succeed (): void
  /** Puts a layer in its place; each place can be filled once. */
  layer (name: LayerName, layer: Layer): void
  /** True from the moment closing has begun (`app.close()`, a tick later). Owner: plugins/shutdown.ts */
  closing: boolean
  /** The innermost stage. Owner: plugins/forward.ts */
  forward: Send
  /** All layers around `forward`. Before the server is ready it rejects. */
  send: Send
}

declare module 'fastify' {
  interface FastifyInstance {
    reverseproxy: ReverseProxy
  }
  interface FastifyRequest {
    /** What is known about this request; undefined on routes that no gateway handles. */
    reverseproxy: RequestRecord | undefined
  }
}

export interface CoreOptions {
  config: GatewayConfig
  /** For tests: a clock of their own. */
  clock?: Clock
  /** See {@link ReverseProxy.previous}. A function, since Fastify keeps the options of plugins. */
  previous?: (() => ReverseProxy | undefined) | undefined
}

const core: FastifyPluginAsync<CoreOptions> = async function core (fastify, options) {
  const { config, clock = systemClock, previous } = options
  const deadlines = createDeadlines(clock)
  const layers = new Map<LayerName, Layer>()
  const tooEarly: Send = () => Promise.reject(new Error('the gateway is not ready yet: await app.ready() first'))

  const instance = {
    config,
    clock,
    deadlines,
    gates: [],
    observers: [],
    previous: previous?.() as ReverseProxy | undefined,
    successions: [] as Array<(previous: ReverseProxy) => void>,
    succeed () {
      const { previous: before, successions } = instance
      if (before === undefined) return
      for (const takeOver of successions) {
        try {
          takeOver(before)
        } catch (error) {
          // half of a change would be worse than a room that begins anew
          fastify.log.error({ err: error }, 'something could not be taken over from the gateway before')
        }
      }
      instance.previous = undefined
    },
    layer (name: LayerName, layer: Layer) {
      if (layers.has(name)) throw new Error(`the place of the layer "${name}" is taken`)
      layers.set(name, layer)
    },
    closing: false,
    forward: tooEarly,
    send: tooEarly
  } satisfies Partial<ReverseProxy>

  fastify.decorate('reverseproxy', instance as unknown as ReverseProxy)
  fastify.decorateRequest('reverseproxy', undefined)
  fastify.addHook('onReady', function composeLayers (ready) {
    instance.send = compose(layers, instance.forward)
    ready()
  })
  fastify.addHook('onClose', function clearDeadlines (_fastify: FastifyInstance, closed: () => void) {
    deadlines.close()
    closed()
  })
}

function compose (layers: ReadonlyMap<LayerName, Layer>, innermost: Send): Send {
  return ORDER.reduceRight<Send>((next, name) => layers.get(name)?.(next) ?? next, (call: Call) => innermost(call))
}

export default fp(core, { name: 'reverseproxy-core', fastify: '5.x' })
