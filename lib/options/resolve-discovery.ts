/**
 * Discovery: from what a user may write to what the house works with. Everything here has been checked.
 */
import { resolve } from 'node:path'
import type { ConsulDiscoveryConfig, DiscoveredTarget, DiscoveryConfig, DiscoverySource, DnsDiscoveryConfig, TlsFiles } from '../discovery/types.ts'
import { DEFAULTS } from './defaults.ts'
import { readPem, type Origin } from './rules.ts'
import type { DiscoveryOption } from './schema/discovery.ts'
import { milliseconds } from './units.ts'

const { discovery: INITIAL } = DEFAULTS

type ConsulTls = NonNullable<NonNullable<DiscoveryOption['consul']>['tls']>

export function resolveDiscovery (option: DiscoveryOption, origin: Origin): DiscoveryConfig {
  const { bootTimeout, onBootTimeout, onEmpty, interval, backoff = {} } = option
  return {
    source: resolveSource(option, origin),
    bootTimeout: milliseconds(bootTimeout ?? INITIAL.bootTimeout),
    onBootTimeout: onBootTimeout ?? INITIAL.onBootTimeout,
    onEmpty: onEmpty ?? INITIAL.onEmpty,
    interval: milliseconds(interval ?? INITIAL.interval),
    backoff: {
      initial: milliseconds(backoff.initial ?? INITIAL.backoff.initial),
      max: milliseconds(backoff.max ?? INITIAL.backoff.max)
    }
  }
}

/** What resolves to the same again, wherever: paths are absolute, and certificates texts. */
export function portableDiscovery (option: DiscoveryOption, origin: Origin): DiscoveryOption {
  const { file, consul, kubernetes } = option
  return {
    ...option,
    ...(file === undefined ? undefined : { file: typeof file === 'string' ? absolute(file, origin) : { ...file, path: absolute(file.path, origin) } }),
    ...(consul?.tls === undefined ? undefined : { consul: { ...consul, tls: texts(consul.tls, origin) as ConsulTls } }),
    ...(kubernetes?.kubeconfig === undefined ? undefined : { kubernetes: { ...kubernetes, kubeconfig: absolute(kubernetes.kubeconfig, origin) } })
  }
}

/** Any options with `discovery`, which is made portable. */
export function withPortableDiscovery<O extends { readonly discovery?: DiscoveryOption }> (options: O, origin: Origin): O {
  return options.discovery === undefined ? options : { ...options, discovery: portableDiscovery(options.discovery, origin) }
}

function resolveSource (option: DiscoveryOption, origin: Origin): DiscoverySource {
  const { static: targets, file, dns, consul, kubernetes, provider } = option
  if (targets !== undefined) return { kind: 'static', targets: targets.map((target): DiscoveredTarget => typeof target === 'string' ? { url: target } : target) }
  if (file !== undefined) {
    const { path, interval = INITIAL.file.interval } = typeof file === 'string' ? { path: file } : file
    return { kind: 'file', file: { path: absolute(path, origin), interval: milliseconds(interval) } }
  }
  if (dns !== undefined) return { kind: 'dns', dns: resolveDns(dns) }
  if (consul !== undefined) return { kind: 'consul', consul: resolveConsul(consul, origin) }
  if (kubernetes !== undefined) {
    const { namespace, service, port, scheme, kubeconfig, context } = kubernetes
    return { kind: 'kubernetes', kubernetes: { namespace, service, port, scheme, kubeconfig: kubeconfig === undefined ? undefined : absolute(kubeconfig, origin), context } }
  }
  return { kind: 'provider', provider: provider! }
}

function resolveDns (option: NonNullable<DiscoveryOption['dns']>): DnsDiscoveryConfig {
  const { name, type, port, scheme, server, servers, timeout, minInterval, maxInterval } = option
  return {
    name,
    type: type ?? INITIAL.dns.type,
    port,
    scheme: scheme ?? INITIAL.dns.scheme,
    servers: servers ?? (server === undefined ? [] : [server]),
    timeout: milliseconds(timeout ?? INITIAL.dns.timeout),
    minInterval: milliseconds(minInterval ?? INITIAL.dns.minInterval),
    maxInterval: milliseconds(maxInterval ?? INITIAL.dns.maxInterval)
  }
}

function resolveConsul (option: NonNullable<DiscoveryOption['consul']>, origin: Origin): ConsulDiscoveryConfig {
  const { address, service, tag, tags, datacenter, namespace, partition, token, passing, scheme, wait, timeout, consistency, tls = {} } = option
  return {
    address: address ?? INITIAL.consul.address,
    service,
    tags: tags ?? (tag === undefined ? [] : [tag]),
    datacenter,
    namespace,
    partition,
    token,
    passing: passing ?? INITIAL.consul.passing,
    scheme: scheme ?? INITIAL.consul.scheme,
    wait: milliseconds(wait ?? INITIAL.consul.wait),
    timeout: milliseconds(timeout ?? INITIAL.consul.timeout),
    consistency: consistency ?? INITIAL.consul.consistency,
    tls: { ...DEFAULTS.tls, ...texts(tls, origin) }
  }
}

function texts ({ ca, cert, key, ...rest }: ConsulTls, origin: Origin): TlsFiles {
  return {
    ...rest,
    ...(ca === undefined ? undefined : { ca: Array.isArray(ca) ? ca.map(one => readPem(one, origin)) : readPem(ca, origin) }),
    ...(cert === undefined ? undefined : { cert: readPem(cert, origin) }),
    ...(key === undefined ? undefined : { key: readPem(key, origin) })
  }
}

function absolute (path: string, { baseDir }: Origin): string {
  return resolve(baseDir, path)
}
