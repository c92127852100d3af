/**
 * What happened lately, for who looks at the gateway: numbers of each second, changes of states, and some requests closely.
 *
 * Stage: a hook where a request begins, the end of its answer or its connection, an observer of attempts, a timer.
 * Reads: the request's record, outcomes, the parts of composites, changes of breakers, health and targets. Writes nothing that
 * others read. Without the option `admin` there are no hooks and no timer.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { explainingOf } from '../lib/explain/mark.ts'
import { createKept, createTracking } from '../lib/recent/index.ts'
import { createRedactor, DEFAULT_REDACTION } from '../lib/redact/index.ts'
import { forwardingName, markForwarding } from '../lib/routes/forwarding.ts'
import type { Kept, Recent } from '../lib/recent/index.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** What happened lately; undefined: nobody asks. Owner: plugins/recent.ts */
    recent: Recent | undefined
    /** What is handed on to a gateway that takes the place of this one. Owner: plugins/recent.ts */
    recentKept: HandedOn | undefined
  }
}

interface HandedOn {
  readonly kept: Kept
  /** Who keeps the time of it, and knows what there is: the gateway that has been handed it last. */
  owned: boolean
}

const recent: FastifyPluginAsync = async function recent (fastify) {
  const { reverseproxy } = fastify
  const { clock, config: { admin }, previous } = reverseproxy
  reverseproxy.recent = reverseproxy.recentKept = undefined
  if (admin === undefined) {
    reverseproxy.successions.push(({ recentKept: handed }) => { letGo(handed) })
    return
  }
  const before = previous?.recentKept?.kept
  const own: HandedOn = reverseproxy.recentKept = { kept: before ?? createKept({ now: clock.now, wall: Date.now }), owned: false }
  reverseproxy.recent = createApi(fastify, own.kept)
  watch(fastify, own)
  follow(fastify, own.kept)
  keepTime(fastify, own, before !== undefined)
}

function letGo (handed: HandedOn | undefined): void {
  if (handed !== undefined) handed.owned = false
}

function createApi (fastify: FastifyInstance, { history }: Kept): Recent {
  const ends = new Set<() => void>()
  fastify.addHook('onClose', function forgetListeners (_fastify, forgotten) {
    for (const end of ends) end()
    forgotten()
  })
  return {
    history: history.read,
    subscribe (listener) {
      const remove = history.listeners.add(listener, error => { fastify.log.error({ err: error }, 'a listener to what happens has failed') })
      function end (): void {
        remove()
        ends.delete(end)
      }
      ends.add(end)
      return end
    }
  }
}

// ---- what happens

function watch (fastify: FastifyInstance, { kept: { history } }: HandedOn): void {
  const { reverseproxy } = fastify
  const { clock, config: { trafficDump } } = reverseproxy
  const { attempt, begin, gathered } = createTracking({
    history,
    now: () => clock.now(),
    wall: Date.now,
    // what is secret for the dump is so here; what the dump may show need not be shown
    redactor: createRedactor({ ...(trafficDump?.redact ?? DEFAULT_REDACTION), replaceDefaults: false }),
    // a room that comes later
    tenantOf: record => reverseproxy.tenantInLogs(record)
  })

  fastify.addHook('onRoute', function findForwarding (route) { markForwarding(route, reverseproxy.handler) })
  fastify.addHook('onRequest', function beginRequest (request, reply, done) {
    const nameOf = forwardingName(request)
    if (nameOf !== undefined && explainingOf(request.raw) === undefined) begin(request, reply, nameOf)
    done()
  })
  reverseproxy.observers.push(attempt)
  fastify.addHook('onReady', function watchParts (ready) {
    reverseproxy.gatherings?.push(({ reply, parts }) => { gathered(reply, parts) })
    ready()
  })
}

/** Breakers and checks tell the gateway that is in its place. */
function follow ({ reverseproxy }: FastifyInstance, { history, ejections }: Kept): void {
  reverseproxy.breakerChanges.push(({ scope, backend, target }, to) => { history.transition({ kind: 'breaker', scope, backend, target, to }) })
  reverseproxy.healthChanges.push(({ scope, backend, target }, to, fate) => {
    history.transition({ kind: 'health', scope, backend, target, to })
    if (fate !== undefined) ejections.follow({ scope, backend, target }, fate)
  })
}

// ---- time, and who is in charge

function keepTime (fastify: FastifyInstance, own: HandedOn, goesOn: boolean): void {
  const { reverseproxy } = fastify
  const { clock, registry } = reverseproxy
  const { kept: { history, targets, ejections } } = own
  let timer: NodeJS.Timeout | undefined

  function wait (): void {
    timer = clock.setTimeout(tick, history.wait)
  }

  function tick (): void {
    // another gateway does it
    if (!own.owned) return
    ejections.check()
    history.tick(name => registry.isKnown(name))
    wait()
  }

  function start (): void {
    history.start()
    wait()
  }

  registry.watch((backend, gone) => { if (own.owned) targets.see(backend, gone) })
  if (reverseproxy.previous === undefined) {
    own.owned = true
    targets.learn(registry.all())
    fastify.addHook('onReady', function startPoints (ready) {
      start()
      ready()
    })
  } else {
    reverseproxy.successions.push(({ recentKept: handed }) => {
      letGo(handed)
      own.owned = true
      if (goesOn) targets.compare(registry.all())
      else targets.learn(registry.all())
      start()
    })
  }
  fastify.addHook('onClose', function stopPoints (_fastify, stopped) {
    own.owned = false
    if (timer !== undefined) clock.clearTimeout(timer)
    stopped()
  })
}

export default fp(recent, {
  name: 'reverseproxy-recent',
  fastify: '5.x',
  dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-forward', 'reverseproxy-circuit-breaker', 'reverseproxy-health']
})
