/**
 * Which targets are fit for traffic: checks that ask them (active), and what real traffic shows (passive).
 *
 * Stage: a gate on targets, an observer of outcomes, timers of its own for the checks. Reads: configuration, outcomes.
 * Writes: `target.health`. Checks begin when the server is ready and end with it.
 */
import { isDeepStrictEqual } from 'node:util'
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { admits, createActiveCheck, createOutlierGroup, shareOf } from '../lib/health/index.ts'
import { createProbe } from '../lib/health/probe.ts'
import type { ActiveCheck, CheckStatus, HealthChange, HealthState, OutlierGroup, TargetHealth, Tracker } from '../lib/health/index.ts'
import type { BreakerName, HealthConfig } from '../lib/resilience/types.ts'
import type { Backend, Refusal, Target } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** How the targets are. Owner: plugins/health.ts */
    health: HealthApi
    /** Told of every change of a check, and of every ejection; rooms push theirs at boot. Owner: plugins/health.ts */
    healthChanges: HealthChange[]
    /** Whom checks tell, for the gateway that takes this one's place. Owner: plugins/health.ts */
    checksTell: Told
  }
}

/** The gateway whose log, hooks and spans checks use: they outlive the one that has begun them. */
interface Told {
  by: Pick<FastifyInstance, 'log' | 'reverseproxy'>
}

/** How a target is now: a snapshot. */
export interface HealthView {
  readonly scope: string
  readonly backend: string
  readonly target: string
  /** Whether calls may go there, as far as its health goes. */
  readonly healthy: boolean
  /** Why not; `warming`: it gets a part of its share only. */
  readonly reason: Exclude<Refusal, 'limit' | 'circuit-open' | 'tried'> | undefined
  /** The check; undefined: none is configured, or the target is not in service. */
  readonly check: CheckStatus | undefined
  /** ms until an ejection ends. */
  readonly ejectedFor: number | undefined
}

export interface HealthApi {
  /** Asks the targets now, one or all of a backend; true when no check says otherwise then; ejections are another matter, and what is drained or has no check counts as healthy. @throws RangeError for names that are not there */
  check (backend: string, target?: string, tenant?: string): Promise<boolean>
  /** Of one backend or all; with `tenant` of one that a tenant has used. @throws RangeError */
  status (backend?: string, tenant?: string): HealthView[]
  /** Why calls may not go to a target now; `warming`: it gets a part of its share only. undefined: they may. */
  reason (target: Target, backend: Backend): HealthView['reason']
}

const health: FastifyPluginAsync = async function health (fastify) {
  const { reverseproxy } = fastify
  const { clock, config: { random }, registry } = reverseproxy
  /** Tenants' backends that have been here before. */
  const seen = new WeakSet<Backend>()
  reverseproxy.healthChanges = []
  const told: Told = reverseproxy.checksTell = reverseproxy.previous?.checksTell ?? { by: fastify }
  let running = false

  // ---- what the rooms ask and tell

  function reasonOf (target: Target, backend: Backend): HealthView['reason'] {
    if (checkOn(target)?.healthy === false) return 'unhealthy'
    const { tracker } = target.health ?? {}
    return tracker !== undefined && groupOf(backend)!.isEjected(tracker) ? 'ejected' : undefined
  }

  /** A target that has come back takes its share little by little. */
  function isWarming ({ health, of }: Target, backend: Backend, draw: () => number): boolean {
    const slowStart = health?.config.slowStart
    if (health === undefined || slowStart === undefined) return false
    const returned = health.tracker === undefined ? -Infinity : groupOf(backend)!.returnedAt(health.tracker)
    const share = shareOf(Math.max(health.since, of?.health?.since ?? -Infinity, returned), clock.now(), slowStart)
    return !admits(share, draw)
  }

  reverseproxy.gates.push(function fitness (target, backend) {
    if (target.health === undefined && target.of?.health === undefined) return undefined
    return reasonOf(target, backend) ?? (isWarming(target, backend, random) ? 'warming' : undefined)
  })

  reverseproxy.observers.push(function noticeOutcome ({ outcome }, { backend }, target) {
    const { health, of } = target
    if (outcome === 'ok' || outcome === 'client-error') {
      if (health !== undefined) health.lastSuccess = clock.now()
      if (of?.health !== undefined) of.health.lastSuccess = clock.now()
    }
    if (health === undefined) return
    if (health.tracker === undefined) return
    const group = groupOf(backend)!
    if (group.record(health.tracker, outcome!)) tellEjected(told, target, backend, group, health.tracker)
  })

  // ---- who is watched

  function groupOf (backend: Backend): OutlierGroup | undefined {
    const { outlier } = backend.config.resilience
    if (outlier === undefined) return undefined
    const made = backend.outliers
    if (made?.config === outlier) return made.group
    // the same options written once more are no reason to forget who is out
    const group = made !== undefined && isDeepStrictEqual(made.config, outlier) ? made.group : createOutlierGroup(outlier, clock)
    backend.outliers = { config: outlier, group }
    return group
  }

  function watchBackend (backend: Backend, gone: readonly Target[], since: number): void {
    const exchanged = gone.filter(({ id }) => backend.targets.some(target => target.id === id))
    for (const target of exchanged) forget(target, backend)
    for (const target of backend.targets) watchTarget(target, backend, since)
    // only now: where few are left for a moment, few may be out
    for (const target of gone) forget(target, backend)
  }

  function watchTarget (target: Target, backend: Backend, since: number): void {
    const { host, resilience: { outlier, slowStart } } = backend.config
    // what is on its way out or not yet in is not asked, nor counted among those of which some may be out
    const active = target.state === 'active'
    const wanted = checkOf(target, backend)
    // the checks of all do for a tenant that wants the same
    const ownChecks = target.of === undefined || !isDeepStrictEqual(wanted, checkOf(target.of, backend.shares!)) || host !== backend.shares!.config.host
    const config: TargetHealth['config'] = {
      health: active && ownChecks ? wanted : undefined,
      host,
      outlier: active && target.weight > 0 ? outlier : undefined,
      slowStart: active ? slowStart : undefined
    }
    const before = target.health
    if (before !== undefined && before.ownChecks === ownChecks && isDeepStrictEqual(before.config, config)) return
    const keepsCheck = before !== undefined && before.config.host === host && isDeepStrictEqual(before.config.health, config.health)
    const keepsTracker = before !== undefined && isDeepStrictEqual(before.config.outlier, config.outlier)
    if (before !== undefined && !keepsTracker) dismiss(before, backend)
    if (before !== undefined && !keepsCheck) before.close()
    target.health = undefined
    if (config.health === undefined && config.outlier === undefined && config.slowStart === undefined && (target.of === undefined || !ownChecks)) return
    const { check, close } = keepsCheck ? before : config.health === undefined ? NO_CHECK : createCheck(told, target, backend, config.health, before?.check?.healthy)
    target.health = {
      config,
      ownChecks,
      check,
      close,
      tracker: keepsTracker ? before.tracker : config.outlier === undefined ? undefined : groupOf(backend)!.track(target.id),
      // options that change are no reason to begin anew, and that a tenant is new does not make the target new
      since: before?.since ?? (target.of === undefined ? since : -Infinity),
      lastSuccess: before?.lastSuccess ?? -Infinity
    }
    if (running) check?.start()
  }

  function checkOf (target: Target, backend: Backend): HealthConfig | undefined {
    const own = backend.config.targets.find(({ url }) => url === target.id)?.health
    return own === null ? undefined : own ?? backend.config.resilience.health
  }

  function forget (target: Target, backend: Backend): void {
    const { health } = target
    if (health === undefined) return
    target.health = undefined
    health.close()
    dismiss(health, backend)
  }

  function dismiss ({ tracker }: TargetHealth, backend: Backend): void {
    if (tracker !== undefined) backend.outliers?.group.forget(tracker)
  }

  for (const backend of registry.all()) watchBackend(backend, [], -Infinity)
  registry.watch((backend, gone) => {
    // neither are targets of a tenant's own new because nobody has asked for them for a while
    const isNew = backend.scope !== '' && !seen.has(backend)
    if (isNew) seen.add(backend)
    watchBackend(backend, gone, isNew ? -Infinity : clock.now())
  })

  function startChecks (): void {
    running = true
    for (const { targets } of registry.all()) for (const { health } of targets) health?.check?.start()
  }

  fastify.addHook('onReady', function startFromNothing (ready) {
    // else some targets are another gateway's still, and checked by it
    if (reverseproxy.previous === undefined) startChecks()
    ready()
  })
  reverseproxy.successions.push(before => {
    told.by = fastify
    startChecks()
    // what has gone is asked no more; what runs there knows it as it was
    for (const { targets } of before.registry.all()) for (const { health } of targets) health?.close()
  })
  // not earlier: while the gateway drains, targets come and go as before
  fastify.addHook('onClose', function stopChecks (_fastify, stopped) {
    running = false
    for (const { targets } of registry.all()) for (const { health } of targets) health?.close()
    stopped()
  })

  // ---- for users

  function fitnessOf (target: Target, backend: Backend): HealthView['reason'] {
    return reasonOf(target, backend) ?? (isWarming(target, backend, () => 1) ? 'warming' : undefined)
  }

  function viewOf (target: Target, backend: Backend): HealthView {
    const reason = fitnessOf(target, backend)
    const tracker = target.health?.tracker
    return {
      scope: backend.scope,
      backend: backend.name,
      target: target.id,
      healthy: reason === undefined || reason === 'warming',
      reason,
      check: checkOn(target)?.status,
      ejectedFor: reason === 'ejected' ? Math.max(0, groupOf(backend)!.ejectedUntil(tracker!) - clock.now()) : undefined
    }
  }

  reverseproxy.health = {
    async check (name, url, tenant) {
      const backend = registry.existing(name, tenant)
      const targets = url === undefined ? backend.targets : [registry.existingTarget(backend, url)]
      const results = await Promise.all(targets.map(target => checkOn(target)?.checkNow() ?? true))
      return results.every(healthy => healthy)
    },
    reason: fitnessOf,
    status: (name, tenant) => (name === undefined ? registry.all() : [registry.existing(name, tenant)]).flatMap(backend => backend.targets.map(target => viewOf(target, backend)))
  }
}

/** A target that tenants share is checked once, for all of them. */
function checkOn ({ health, of }: Target): ActiveCheck | undefined {
  return health?.check ?? (of === undefined || health?.ownChecks === true ? undefined : of.health?.check)
}

/** Made outside of the room: who follows an ejection must not hold a gateway that is over. */
function tellEjected (told: Told, target: Target, backend: Backend, group: OutlierGroup, tracker: Tracker): void {
  const { healthChanges } = told.by.reverseproxy
  if (healthChanges.length === 0) return
  const name = nameOf(target, backend)
  const fate = fateOf(target, group, tracker)
  for (const change of healthChanges) change(name, 'ejected', fate)
}

function fateOf (target: Target, group: OutlierGroup, tracker: Tracker): () => HealthState | undefined {
  return () => {
    // it has gone, or results are of no interest any more
    if (target.health?.tracker === undefined) return undefined
    if (target.health.tracker === tracker && group.isEjected(tracker)) return 'ejected'
    return checkOn(target)?.healthy === false ? 'unhealthy' : 'healthy'
  }
}

function nameOf (target: Target, backend: Backend): BreakerName {
  return { scope: backend.scope, backend: backend.name, target: target.id }
}

/** `healthy`: what another check of the target came to; other questions do not make it well. */
function createCheck (told: Told, target: Target, backend: Backend, config: HealthConfig, healthy = config.initial === 'healthy'): Pick<TargetHealth, 'check' | 'close'> {
  const { clock, config: { random } } = told.by.reverseproxy
  const probe = createProbe(config, target, backend, () => clock.now())
  const check = createActiveCheck({ ...config, initial: healthy ? 'healthy' : 'unhealthy' }, {
    clock,
    random,
    probe: done => told.by.reverseproxy.traceProbe?.(probe.ask, done, { config, target, backend }) ?? probe.ask(done),
    lastSuccess: () => target.health?.lastSuccess ?? -Infinity,
    onChange (healthy) {
      if (healthy && target.health !== undefined) target.health.since = clock.now()
      told.by.log.warn({ backend: backend.name, target: target.id, healthy, check: target.health?.check?.status.last }, healthy ? 'a target is healthy again' : 'a target is unhealthy')
      for (const change of told.by.reverseproxy.healthChanges) change(nameOf(target, backend), healthy ? 'healthy' : 'unhealthy')
      try {
        const answer: unknown = config.onChange?.({ backend: backend.name, target: target.id }, healthy)
        // an async one that rejects would end the process
        if (answer instanceof Promise) answer.catch(complain)
      } catch (err) {
        complain(err)
      }
    }
  })

  function complain (err: unknown): void {
    told.by.log.error({ err }, 'onChange of a health check failed')
  }

  return { check, close () { check.stop(); probe.close() } }
}

const NO_CHECK: Pick<TargetHealth, 'check' | 'close'> = Object.freeze({ check: undefined, close () {} })

export default fp(health, { name: 'reverseproxy-health', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-forward'] })
