/** The admin interface, all but its server: what is shown and done, and the routes for it. */
import { createActions } from './actions.ts'
import { createBackendViews } from './backends.ts'
import { createEvents } from './events.ts'
import { createMask } from './mask.ts'
import { statusPage } from './page.ts'
import { createRouteList } from './routes.ts'
import { statusOf } from './status.ts'
import type { Recent } from '../recent/types.ts'
import type { Actions, ActionsTools } from './actions.ts'
import type { BackendViews } from './backends.ts'
import type { Clocks } from './breakers.ts'
import type { Events, EventsTools } from './events.ts'
import type { Gateway } from './gateway.ts'
import type { Mask } from './mask.ts'
import type { StatusPage } from './page.ts'
import type { RouteList } from './routes.ts'
import type { ProcessFacts } from './status.ts'
import type { AdminStatus, BackendStatus } from './types.ts'

export { createAccess, isLoopbackOnly, whyNobody } from './access.ts'
export type { Access, Address } from './access.ts'
export type { Deed } from './actions.ts'
export { declareAdmin } from './declare.ts'
export { describeAdmin } from './openapi.ts'
export { createAdminServer } from './server.ts'
export type { AdminServer } from './server.ts'
export type { Events } from './events.ts'

export interface Admin {
  readonly gateway: Gateway & { readonly recent: Recent | undefined }
  readonly mask: Mask
  readonly views: BackendViews
  readonly actions: Actions
  readonly events: Events
  readonly routes: RouteList
  readonly page: StatusPage
  readonly clocks: Clocks
  /** The gateway and its backends, counted once. */
  look (): { readonly status: AdminStatus, readonly backends: readonly BackendStatus[] }
}

export interface AdminTools {
  readonly gateway: Admin['gateway'] & { readonly clock: EventsTools['clock'] }
  readonly facts: ProcessFacts
  readonly log: ActionsTools['log']
  readonly relay: ActionsTools['relay']
  /** ms since 1970. */
  readonly wall: () => number
}

export function createAdmin ({ gateway, facts, log, relay, wall }: AdminTools): Admin {
  const { config } = gateway
  const mask = createMask(config.trafficDump === undefined ? [] : [config.trafficDump.redact])
  const views = createBackendViews(gateway, mask, wall)

  function look (): ReturnType<Admin['look']> {
    const numbers = gateway.metrics.snapshot()
    const backends = views.all(numbers)
    return { status: statusOf(gateway, facts, numbers, backends), backends }
  }

  return {
    gateway,
    mask,
    views,
    look,
    actions: createActions({ gateway, views, mask, log, relay }),
    events: createEvents({ look, recent: () => gateway.recent, clock: gateway.clock, onError (err) { log.error({ err }, 'the admin interface could not tell what happens') } }),
    routes: createRouteList(config),
    page: statusPage(),
    clocks: { now: gateway.clock.now, wall }
  }
}
