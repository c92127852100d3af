/** Whether a gateway should get requests now: it is not on its way down, and the backends that it needs can be used. */
import { candidates } from '../health/index.ts'
import type { Registry } from '../registry.ts'
import type { Backend, GatewayConfig, Refusal, Target } from '../types.ts'
import type { Readiness } from './types.ts'

export interface ReadinessOptions {
  readonly config: Pick<GatewayConfig, 'backends' | 'probes' | 'tenancy'>
  readonly registry: Pick<Registry, 'all' | 'resolve' | 'version'>
  /** Why a target's health speaks against it. */
  health (target: Target, backend: Backend): Refusal | undefined
  isClosing (): boolean
}

const READY: Readiness = Object.freeze({ ready: true, reasons: Object.freeze([]) })

/** Cheap: probes come every second, and there may be thousands of tenants with backends of their own. */
export function createReadiness ({ config, registry, health, isClosing }: ReadinessOptions): () => Readiness {
  const required = config.probes?.required
  let shared: readonly Backend[] = []
  let version = -1

  /** Those that everybody has. */
  function everybodys (): readonly Backend[] {
    if (version !== registry.version()) {
      shared = registry.all().filter(({ scope }) => scope === '')
      version = registry.version()
    }
    return shared
  }

  /** Without targets for everybody: tenants have some, of which nothing is known before they are used. */
  function isForTenants ({ name }: Backend): boolean {
    const said = config.backends[name]
    return config.tenancy !== undefined && said !== undefined && said.targets.length === 0 && said.discovery === undefined
  }

  function missing (): string[] {
    if (required !== undefined) {
      return required.flatMap(name => {
        const backend = registry.resolve(name)
        return backend !== undefined && isUsable(backend, health) ? [] : [`backend ${name}: ${backend === undefined ? 'it is gone' : 'no usable target'}`]
      })
    }
    // one backend that is down must not take every gateway out of a load balancer
    const isAny = everybodys().some(backend => isUsable(backend, health)) || everybodys().every(isForTenants)
    return isAny ? [] : ['no backend has a usable target']
  }

  return function readiness () {
    const reasons = missing()
    if (isClosing()) reasons.unshift('draining')
    return reasons.length === 0 ? READY : { ready: false, reasons }
  }
}

/**
 * Whether calls may go to one of its targets, as far as health and circuits go: a limit that is reached is no reason to send requests
 * elsewhere, and a half-open circuit waits for some. In a panic the sick are used as calls use them.
 */
export function isUsable (backend: Backend, health: ReadinessOptions['health']): boolean {
  const { usable, config: { resilience: { panic } } } = backend
  const fit = usable.filter(target => !isSick(health(target, backend)))
  const use = candidates(fit.length, usable.length, panic)
  return use !== 'none' && (use === 'all' ? usable : fit).some(({ breaker }) => breaker?.state !== 'open')
}

function isSick (reason: Refusal | undefined): boolean {
  return reason === 'unhealthy' || reason === 'ejected'
}
