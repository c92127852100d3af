/** What operators do to targets and circuits. */
import { AdminConflictError, AdminUnknownError } from '../errors.ts'
import type { Backend, RequestRecord } from '../types.ts'
import type { BackendViews } from './backends.ts'
import type { Gateway } from './gateway.ts'
import type { Mask } from './mask.ts'
import type { ActionResult } from './types.ts'

/** Whose, and by whom. */
export interface Wish {
  readonly backend: string
  /** URL; undefined: all of the backend. */
  readonly target?: string | undefined
  readonly tenant?: string | undefined
  readonly remoteAddress: string
}

/** An action that was done, for the processes beside this one. */
export interface Deed extends Wish {
  readonly action: 'drain' | 'undrain' | 'check' | 'open breaker' | 'close breaker'
}

export interface ActionsTools {
  readonly gateway: Gateway
  readonly views: BackendViews
  readonly mask: Mask
  readonly log: { info (facts: object, message: string): void, error (facts: object, message: string): void }
  /** Told of what was asked for here; not of what is repeated. */
  relay (deed: Deed): void
}

/** All throw AdminUnknownError for names that are not there. */
export interface Actions {
  /** At once; what runs there may finish. */
  drain (wish: Wish & { readonly target: string }): ActionResult
  undrain (wish: Wish & { readonly target: string }): ActionResult
  /** When the targets have answered. */
  check (wish: Wish): Promise<ActionResult>
  /** @throws AdminConflictError where there are no circuits */
  openBreaker (wish: Wish): ActionResult
  closeBreaker (wish: Wish): ActionResult
  /** Does what was done in another process. What is not there is let be: names differ for a moment where configurations do. */
  repeat (deed: Deed): void
}

export function createActions ({ gateway, views, mask, log, relay }: ActionsTools): Actions {
  let repeating = false

  function existing ({ backend: name, target, tenant }: Wish): Backend {
    if (gateway.registry.resolve(name) === undefined) throw new AdminUnknownError(unknownBackend(name))
    const backend = found(() => gateway.registry.existing(name, tenant))
    if (backend === undefined) throw new AdminUnknownError(`The tenant ${JSON.stringify(tenant)} has not used the backend ${JSON.stringify(name)}`)
    if (target !== undefined && found(() => gateway.registry.existingTarget(backend, target)) === undefined) {
      throw new AdminUnknownError(`The backend ${JSON.stringify(name)} has no target ${JSON.stringify(mask.text(target))}`)
    }
    return backend
  }

  function note (action: Deed['action'], { backend, target, tenant, remoteAddress }: Wish): void {
    if (!repeating) relay({ action, backend, target, tenant, remoteAddress })
    log.info({
      action,
      backend,
      ...(target === undefined ? undefined : { target: mask.text(target) }),
      ...(tenant === undefined ? undefined : { tenant: gateway.tenantInLogs({ tenant } as RequestRecord) }),
      remoteAddress
    }, `admin: ${action}`)
  }

  function result ({ backend }: Wish): ActionResult {
    return { done: true, backend: views.one(backend)! }
  }

  function breaker (state: 'open' | 'close', wish: Wish): ActionResult {
    const { backend, target, tenant } = wish
    if (existing(wish).config.resilience.circuitBreaker === undefined) throw new AdminConflictError(`The backend ${JSON.stringify(backend)} has no circuit breakers: they are switched off`)
    gateway.breakers[state](backend, target, tenant)
    note(`${state} breaker`, wish)
    return result(wish)
  }

  const actions: Actions = {
    drain (wish) {
      const { backend, target } = wish
      existing(wish)
      gateway.backends.drain(backend, target).catch((err: unknown) => {
        log.error({ err, backend, target: mask.text(target) }, 'admin: a target could not be drained')
      })
      note('drain', wish)
      return result(wish)
    },
    undrain (wish) {
      existing(wish)
      gateway.backends.updateTarget(wish.backend, wish.target, { active: true })
      note('undrain', wish)
      return result(wish)
    },
    async check (wish) {
      existing(wish)
      note('check', wish)
      const healthy = await gateway.health.check(wish.backend, wish.target)
      // it may be gone by now
      existing(wish)
      const { backend, done } = result(wish)
      const isChecked = backend.targets.some(({ url, health }) => health.check !== null && (wish.target === undefined || wish.target === url))
      return { done, backend, healthy: isChecked ? healthy : null }
    },
    openBreaker: wish => breaker('open', wish),
    closeBreaker: wish => breaker('close', wish),
    repeat (deed) {
      repeating = true
      try {
        const done = doing[deed.action](deed)
        if (done instanceof Promise) done.catch(skip)
      } catch (error) {
        skip(error)
      } finally {
        repeating = false
      }
    }
  }

  const doing: Readonly<Record<Deed['action'], (deed: Deed) => unknown>> = {
    drain: deed => actions.drain(deed as Deed & { readonly target: string }),
    undrain: deed => actions.undrain(deed as Deed & { readonly target: string }),
    check: actions.check,
    'open breaker': actions.openBreaker,
    'close breaker': actions.closeBreaker
  }

  function skip (error: unknown): void {
    log.info({ err: error }, 'admin: nothing to be done here of what was done in another process')
  }

  return actions
}

export function unknownBackend (name: string): string {
  return `There is no backend ${JSON.stringify(name)}`
}

/** undefined: what was asked for is not there. */
function found<Value> (find: () => Value): Value | undefined {
  try {
    return find()
  } catch {
    return undefined
  }
}
