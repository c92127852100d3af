/** The routes that forward: those of the options, and those that the app declares. */
import type { RouteOptions } from 'fastify'
import { parseComposite } from '../options/index.ts'
import { FORWARDED_METHODS, kPlace } from '../routes/declare.ts'
import type { CompositeConfig } from '../composite/types.ts'
import type { GatewayConfig, HostMatch, RouteConfig } from '../types.ts'
import type { RouteStatus } from './types.ts'

type Declared = RouteOptions & { proxy?: string | { backend?: string, websocket?: unknown }, composite?: unknown }

export interface RouteList {
  /** For `onRoute`. `handler`: the gateway's own. */
  notice (route: RouteOptions, handler: unknown): void
  list (): RouteStatus[]
}

export function createRouteList (config: GatewayConfig): RouteList {
  const found: Array<{ readonly route: Declared, readonly kind: RouteStatus['kind'], readonly methods: Set<string>, parts: RouteStatus['parts'] | undefined }> = []

  function viewOf (one: typeof found[number]): RouteStatus {
    const { route, kind, methods } = one
    const { host } = (route.constraints ?? {}) as { host?: string | RegExp }
    const proxy = typeof route.proxy === 'object' ? route.proxy : { backend: route.proxy }
    one.parts ??= route.composite === undefined ? [] : partsOf(parseComposite(route.composite, `route ${route.url}: composite`, { routePath: route.url, tenancy: config.tenancy, strategies: Object.keys(config.strategies) }))
    return {
      name: nameOf(route),
      path: route.url,
      methods: [...methods],
      kind,
      backend: proxy.backend ?? null,
      parts: one.parts,
      hosts: host === undefined ? [] : [String(host)],
      websocket: 'websocket' in proxy && proxy.websocket !== undefined && proxy.websocket !== false
    }
  }

  return {
    notice (route: Declared, handler) {
      const isOurs = route.handler === handler
      // those of the options are told by the options
      if (kPlace in (route.config ?? {}) || (!isOurs && route.proxy === undefined && route.composite === undefined)) return
      const methods = [route.method].flat()
      // the automatic HEAD route repeats its GET
      const twin = found.find(({ route: other }) => (['url', 'constraints', 'proxy', 'composite'] as const).every(key => other[key] === route[key]) && nameOf(other) === nameOf(route))
      if (twin !== undefined) methods.forEach(method => twin.methods.add(method))
      else found.push({ route, kind: route.composite !== undefined ? 'composite' : isOurs ? 'proxy' : 'handler', methods: new Set(methods), parts: undefined })
    },
    list: () => [
      ...config.routes.map(optionOf),
      ...found.map(viewOf),
      ...(config.defaultBackend === undefined ? [] : [{ name: 'default', path: '/*', methods: FORWARDED_METHODS, kind: 'proxy' as const, backend: config.defaultBackend, parts: [], hosts: [], websocket: false }])
    ]
  }
}

function nameOf ({ config, url }: RouteOptions): string {
  return (config as { name?: string } | undefined)?.name ?? url
}

function optionOf ({ name, path, methods, match, proxy, composite }: RouteConfig): RouteStatus {
  return {
    name,
    path,
    methods: methods ?? FORWARDED_METHODS,
    kind: composite === undefined ? 'proxy' : 'composite',
    backend: proxy?.backend ?? null,
    parts: composite === undefined ? [] : partsOf(composite),
    hosts: match.hosts.map(hostOf),
    websocket: proxy?.websocket !== undefined
  }
}

function partsOf ({ parts }: CompositeConfig): RouteStatus['parts'] {
  return parts.map(({ name, required, proxy: { backend } }) => ({ name, backend: backend ?? null, required }))
}

function hostOf (match: HostMatch): string {
  switch (match.kind) {
    case 'exact': return match.value
    case 'wildcard': return `*${match.suffix.startsWith('.') ? '' : '.'}${match.suffix}`
    case 'regex': return String(match.value)
  }
}
