/**
 * What holds for the calls of a route to a backend, from all levels that speak of it, in one object.
 *
 * Equal settings are one object, however many routes and backends have them: a thousand routes that each kept their
 * own would find them all cold in memory when their turn comes.
 */
import { retryOver } from '../options/index.ts'
import type { HeaderPolicies } from '../headers/policies.ts'
import type { Fallback, RetryConfig } from '../resilience/types.ts'
import type { BackendConfig, GatewayConfig, LimitsConfig, ModifyRequest, ModifyResponse, ProxyConfig, ProxyErrorHandler, RedirectPolicy, Timeouts } from '../types.ts'

export interface Settings {
  readonly timeouts: Timeouts
  /** Largest body in bytes; Infinity: none. */
  readonly bodyLimit: number
  readonly redirects: RedirectPolicy
  readonly policies: HeaderPolicies
  readonly retry: RetryConfig
  /** Whether these calls pass the breakers of the targets, where they have some, and count there. */
  readonly breaks: boolean
  /** What answers when every circuit is open. */
  readonly fallback: Fallback | undefined
  /** What the route said, or one that said the same: for a call that goes on to another backend. */
  readonly proxy: ProxyConfig
  readonly modifyRequest: ModifyRequest | undefined
  readonly modifyResponse: ModifyResponse | undefined
  readonly errorHandler: ProxyErrorHandler | undefined
}

/** `limits`: a tenant's own; left out: the gateway's. */
export type FindSettings = (proxy: ProxyConfig, backend: BackendConfig, limits?: LimitsConfig) => Settings

/** Settings that nobody has used for a while may be made anew; this bounds what run-time updates can pile up. */
const MOST = 10_000

export function createSettings (config: GatewayConfig, compilePolicies: (proxy: ProxyConfig, backend: BackendConfig, limits: LimitsConfig) => HeaderPolicies): FindSettings {
  const shared = new Map<string, Settings>()
  const functions = new WeakMap<WeakKey, number>()
  let lastId = 0

  /** Functions are the same only if they are the same object. */
  function idOf (value: WeakKey): number {
    let id = functions.get(value)
    if (id === undefined) functions.set(value, id = ++lastId)
    return id
  }

  function keyOf (proxy: ProxyConfig, backend: BackendConfig, limits: LimitsConfig): string {
    const parts = [
      proxy.headers, backend.headers, proxy.host ?? backend.host, proxy.timeout, backend.timeout, proxy.redirects ?? backend.redirects,
      proxy.retry, backend.resilience.retry, proxy.circuitBreaker, backend.resilience.circuitBreaker?.fallback, backend.resilience.circuitBreaker === undefined,
      proxy.bodyLimit, proxy.modifyRequest, proxy.modifyResponse, proxy.errorHandler, proxy.rewrite.filter(({ kind }) => kind === 'stripPrefix'),
      backend.common === config.headers ? undefined : backend.common, limits === config.limits ? undefined : limits
    ]
    return JSON.stringify(parts, (_name, value: unknown) => typeof value === 'function' ? { function: idOf(value) } : value)
  }

  return function findSettings (proxy, backend, limits = config.limits) {
    const key = keyOf(proxy, backend, limits)
    let settings = shared.get(key)
    if (settings !== undefined) return settings
    settings = {
      timeouts: { ...backend.timeout, ...proxy.timeout },
      bodyLimit: proxy.bodyLimit ?? limits.body,
      redirects: proxy.redirects ?? backend.redirects,
      policies: compilePolicies(proxy, backend, limits),
      retry: retryOver(proxy.retry, backend.resilience.retry),
      breaks: proxy.circuitBreaker !== false,
      fallback: proxy.circuitBreaker === undefined ? backend.resilience.circuitBreaker?.fallback : proxy.circuitBreaker === false ? undefined : proxy.circuitBreaker.fallback,
      proxy,
      modifyRequest: proxy.modifyRequest,
      modifyResponse: proxy.modifyResponse,
      errorHandler: proxy.errorHandler
    }
    if (shared.size >= MOST) shared.clear()
    shared.set(key, settings)
    return settings
  }
}
