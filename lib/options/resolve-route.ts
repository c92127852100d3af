/**
 * Routes and their `proxy` option: from what a user may write to what the house works with. Everything here has been checked.
 */
import type { HostMatch, ProxyConfig, RewriteStep, RouteConfig, ValueMatch } from '../types.ts'
import { DEFAULTS } from './defaults.ts'
import { resolveHeaderRules, resolveRedirects, resolveTimes } from './resolve-backend.ts'
import { resolveComposite } from './resolve-composite.ts'
import { resolveRouteBreaker, resolveRouteRetry } from './resolve-resilience.ts'
import { resolveRouteTenancy } from './resolve-tenancy.ts'
import { expressionOf } from './rules.ts'
import { resolveOrigin } from '../websocket/origin.ts'
import type { WebSocketConfig } from '../websocket/types.ts'
import type { WebSocketOption } from './schema/websocket.ts'
import type { FullProxyOption, HostMatchOption, MatcherOption, ProxyOptions, RewriteOption, RouteOption } from './schema/proxy.ts'
import { byteCount, milliseconds } from './units.ts'

export function resolveProxy (input: ProxyOptions): ProxyConfig {
  const full: FullProxyOption = typeof input === 'string' ? { backend: input } : input
  return {
    backend: full.backend,
    rewrite: resolveRewrite(full.rewrite),
    headers: resolveHeaderRules(full.headers),
    timeout: resolveTimes(full.timeout),
    redirects: resolveRedirects(full.redirects),
    host: full.host,
    bodyLimit: full.bodyLimit === undefined ? undefined : byteCount(full.bodyLimit),
    circuitBreaker: resolveRouteBreaker(full.circuitBreaker),
    retry: resolveRouteRetry(full.retry),
    websocket: resolveWebSocket(full.websocket),
    modifyRequest: full.modifyRequest,
    modifyResponse: full.modifyResponse,
    errorHandler: full.errorHandler
  }
}

function resolveWebSocket (option: WebSocketOption = false): WebSocketConfig | undefined {
  if (option === false) return undefined
  const { idleTimeout, maxPayload, origins, compression, onOpen, onMessage, onClose }: Exclude<WebSocketOption, boolean> = option === true ? {} : option
  // what is compressed can be neither measured nor read
  const looksInside = maxPayload !== undefined || onMessage !== undefined
  return {
    idleTimeout: milliseconds(idleTimeout ?? DEFAULTS.websocket.idleTimeout),
    maxPayload: maxPayload === undefined && onMessage === undefined ? Infinity : byteCount(maxPayload ?? DEFAULTS.websocket.maxPayload),
    origins: origins?.map(resolveOrigin),
    compression: compression ?? (looksInside ? 'off' : DEFAULTS.websocket.compression),
    onOpen,
    onMessage,
    onClose
  }
}

export function resolveRoute (input: RouteOption): RouteConfig {
  const { name, path, methods, host, headers = {}, query = {}, proxy, composite, tenancy } = input
  return {
    name: name ?? path,
    path,
    methods: methods === undefined ? defaultMethods(input) : [methods].flat(),
    match: {
      hosts: host === undefined ? [] : [host].flat().map(resolveHost),
      headers: Object.entries(headers).map(([header, match]) => [header.toLowerCase(), resolveMatcher(match)]),
      query: Object.entries(query).map(([parameter, match]) => [parameter, resolveMatcher(match)])
    },
    proxy: proxy === undefined ? undefined : resolveProxy(proxy),
    composite: composite === undefined ? undefined : resolveComposite(composite),
    tenancy: tenancy === undefined ? undefined : resolveRouteTenancy(tenancy),
    said: input
  }
}

/** A composite reads, unless it is told otherwise: a call to several backends that changes something cannot be undone. */
function defaultMethods ({ composite }: RouteOption): string[] | undefined {
  return composite === undefined ? undefined : [...DEFAULTS.composite.methods]
}

/** Steps in the order of their application, whatever the order they were written in. */
function resolveRewrite (option: RewriteOption = []): RewriteStep[] {
  return [option].flat().flatMap(({ stripPrefix, replacePrefix, regex, template, addPrefix, query }): RewriteStep[] => [
    ...(stripPrefix === undefined ? [] : [{ kind: 'stripPrefix', prefix: stripPrefix } as const]),
    ...(replacePrefix === undefined ? [] : [{ kind: 'replacePrefix', ...replacePrefix } as const]),
    ...(regex === undefined ? [] : [{ kind: 'regex', pattern: expression(regex.pattern), replacement: regex.replacement } as const]),
    ...(template === undefined ? [] : [{ kind: 'template', template } as const]),
    ...(addPrefix === undefined ? [] : [{ kind: 'addPrefix', prefix: addPrefix } as const]),
    ...(query === undefined ? [] : [{ kind: 'query', set: texts(query.set ?? {}), remove: query.remove ?? [] } as const])
  ])
}

function texts (values: Record<string, string | number | boolean>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]))
}

/** A host has no case, so its expressions have none either. */
function resolveHost (option: HostMatchOption): HostMatch {
  const source = typeof option === 'string' ? expressionOf(option) : option instanceof RegExp ? option : option.regex
  if (source !== undefined) {
    const { source: text, flags } = expression(source)
    return { kind: 'regex', value: new RegExp(text, flags.includes('i') ? flags : `${flags}i`) }
  }
  const name = String(option).toLowerCase()
  return name.startsWith('*.') ? { kind: 'wildcard', suffix: name.slice(1) } : { kind: 'exact', value: name }
}

function resolveMatcher (option: MatcherOption): ValueMatch {
  if (typeof option === 'string') return { kind: 'exact', value: option }
  if (option instanceof RegExp) return { kind: 'regex', value: expression(option) }
  if (option.not !== undefined) return { kind: 'not', value: resolveMatcher(option.not) }
  if (option.exact !== undefined) return { kind: 'exact', value: option.exact }
  if (option.prefix !== undefined) return { kind: 'prefix', value: option.prefix }
  if (option.regex !== undefined) return { kind: 'regex', value: expression(option.regex) }
  return { kind: 'exists', value: option.exists ?? true }
}

/** An expression of our own: the user's keeps its `lastIndex` to itself. */
function expression (pattern: string | RegExp): RegExp {
  return typeof pattern === 'string' ? new RegExp(pattern) : new RegExp(pattern.source, pattern.flags)
}
