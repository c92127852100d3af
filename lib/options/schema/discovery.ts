/**
 * Options of discovery: where a backend's targets come from in place of `targets`. What the words mean stands in
 * `lib/discovery/types.ts`.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { DiscoveryProvider } from '../../discovery/types.ts'
import { DEFAULTS } from '../defaults.ts'
import { caSchema, certSchema, keySchema } from './tls.ts'
import { duration, object, provider, text, words } from './values.ts'

const { discovery: initial } = DEFAULTS

const filled = (description: string) => Type.Optional(text('filled', { description }))
const time = (standard: string, description: string, minimum: 0 | 1 = 1) => Type.Optional(duration({ minimum, default: standard, description }))
const scheme = (standard: string | undefined, description: string) => Type.Optional(words(['http', 'https'], { ...(standard === undefined ? undefined : { default: standard }), description }))

const portNumber = Type.Integer({ minimum: 1, maximum: 65535 })

// ---- sources

const url = text('targetUrl', { description: 'http://host:port, https://host:port or unix:///path/to.sock.' })

const staticTargetSchema = Type.Union([
  url,
  object({
    url,
    weight: Type.Optional(Type.Number({ minimum: 0, default: DEFAULTS.target.weight, description: 'Share of the traffic relative to the other targets; 0 receives nothing.' })),
    maxConnections: Type.Optional(Type.Integer({ minimum: 1, description: 'Most requests in flight at once. Default: no limit.' })),
    zone: filled('Where it runs; metadata.zone of the target.'),
    metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'Facts about the target for balancers and hooks.' }))
  })
], { rule: 'must be a URL or { url, weight, … }', description: 'A target.' })

const fileSchema = Type.Union([
  text('filled'),
  object({
    path: text('filled', { description: 'Path of the list; in a file relative to it.' }),
    interval: time(initial.file.interval, 'How often it is looked at.')
  })
], { rule: 'must be a path, or { path, interval }', description: 'A YAML or JSON file with a list of targets, read again when it changes: its path, or an object.' })

const server = text('dnsServer')

const dnsSchema = object({
  name: text('dnsName', { description: 'The name that is asked for.' }),
  type: Type.Optional(words(['A', 'AAAA', 'A+AAAA', 'SRV'], { default: initial.dns.type, description: 'Addresses (IPv4, IPv6, both), or SRV: with ports, weights and priorities.' })),
  port: Type.Optional(Type.Integer({ ...portNumber, description: 'Port of the targets, not with SRV. Default: the scheme\'s own.' })),
  scheme: scheme(initial.dns.scheme, 'Scheme of the targets.'),
  server: Type.Optional(text('dnsServer', { description: 'Resolver that is asked: address or address:port. Default: those of the machine.' })),
  servers: Type.Optional(Type.Array(server, { minItems: 1, description: 'Resolvers that are asked, the next where one fails.' })),
  timeout: time(initial.dns.timeout, 'Longest wait for the answer of one resolver.'),
  minInterval: time(initial.dns.minInterval, 'It is not asked again sooner than this, however short the TTL.'),
  maxInterval: time(initial.dns.maxInterval, 'It is asked again after this, however long the TTL.')
}, { hints: { host: 'did you mean "name"?', service: 'did you mean "name"?', resolver: 'did you mean "server"?', ttl: 'did you mean "minInterval" or "maxInterval"?' }, description: 'DNS: address or SRV records.' })

const consulTlsSchema = object({
  ca: Type.Optional(caSchema),
  cert: Type.Optional(certSchema),
  key: Type.Optional(keySchema),
  servername: Type.Optional(text('listenHost', { description: 'Name for SNI and for the check of the certificate. Default: the address\'s host.' })),
  rejectUnauthorized: Type.Optional(Type.Boolean({ default: DEFAULTS.tls.rejectUnauthorized, description: 'Whether the certificate must be valid. Switch it off for experiments only.' }))
}, { together: ['cert', 'key'], description: 'TLS to the agent.' })

const consulSchema = object({
  address: Type.Optional(text('consulAddress', { default: initial.consul.address, description: 'Of the agent: http://, https:// or unix:///path.' })),
  service: text('filled', { description: 'Name of the service.' }),
  tag: filled('Only instances with this tag.'),
  tags: Type.Optional(Type.Array(text('filled'), { minItems: 1, description: 'Only instances with all of these tags.' })),
  datacenter: filled('Default: the agent\'s own.'),
  namespace: filled('Enterprise namespace.'),
  partition: filled('Enterprise admin partition.'),
  token: Type.Optional(text('filled', { secret: true, description: 'ACL token.' })),
  passing: Type.Optional(Type.Boolean({ default: initial.consul.passing, description: 'Only instances all of whose checks pass; false: those with a warning as well.' })),
  scheme: scheme(initial.consul.scheme, 'Scheme of the targets; meta.scheme of an instance wins.'),
  wait: time(initial.consul.wait, 'Longest time that the agent may hold a question open.'),
  timeout: time(initial.consul.timeout, 'Longest wait for an answer that is not held open.'),
  consistency: Type.Optional(words(['default', 'stale', 'consistent'], { default: initial.consul.consistency, description: 'How up to date the answers must be.' })),
  tls: Type.Optional(consulTlsSchema)
}, { hints: { host: 'did you mean "address"?', url: 'did you mean "address"?', name: 'did you mean "service"?', dc: 'did you mean "datacenter"?', ns: 'did you mean "namespace"?' }, description: 'Consul: the healthy instances of a service.' })

const kubernetesSchema = object({
  namespace: filled('Namespace of the Service. Default: that of the pod, else of the context.'),
  service: text('filled', { description: 'Name of the Service.' }),
  port: Type.Optional(Type.Union([portNumber, text('filled')], { rule: 'must be the name of a port or a number between 1 and 65535', description: 'Name or number of the port. Default: the only one there is.' })),
  scheme: scheme(undefined, 'Scheme of the targets. Default: https where the port says so (appProtocol, or its name), else http.'),
  kubeconfig: filled('Path of a kubeconfig; in a file relative to it. Default: in-cluster, else what KUBECONFIG or the home folder says.'),
  context: filled('Context of the kubeconfig. Default: its current one.')
}, { hints: { name: 'did you mean "service"?', ns: 'did you mean "namespace"?' }, description: 'Kubernetes: the EndpointSlices of a Service.' })

// ---- the whole

/** One of these must be there. */
export const SOURCES = ['static', 'file', 'dns', 'consul', 'kubernetes', 'provider'] as const

export const discoverySchema = object({
  static: Type.Optional(Type.Array(staticTargetSchema, { minItems: 1, description: 'A list of targets that stays as it is.' })),
  file: Type.Optional(fileSchema),
  dns: Type.Optional(dnsSchema),
  consul: Type.Optional(consulSchema),
  kubernetes: Type.Optional(kubernetesSchema),
  provider: Type.Optional(provider<DiscoveryProvider>({
    rule: 'must be an object with a function resolve, and perhaps a function watch',
    description: 'Code only: a provider of your own, an object with resolve and perhaps watch.'
  })),
  bootTimeout: time(initial.bootTimeout, 'How long the start waits for the first list; calls of a backend that comes later wait as long.', 0),
  onBootTimeout: Type.Optional(words(['degrade', 'refuse'], { default: initial.onBootTimeout, description: 'Without a list by then: "degrade" starts all the same, with 503 until one comes; "refuse" does not start.' })),
  onEmpty: Type.Optional(words(['keep', 'clear'], { default: initial.onEmpty, description: 'What an empty list does: "keep" the last targets, or "clear" them.' })),
  interval: time(initial.interval, 'How often a provider without watch is asked.'),
  backoff: Type.Optional(object({
    initial: time(initial.backoff.initial, 'Longest wait after the first failure; it doubles with each one.'),
    max: time(initial.backoff.max, 'Longest wait of all.')
  }, { description: 'Waits after failures, each a random part of the longest.' }))
}, {
  exactlyOne: SOURCES,
  hints: { targets: 'did you mean "static"?', k8s: 'did you mean "kubernetes"?', path: 'it belongs to file: file: { path }', service: 'it belongs to consul or kubernetes', resolve: 'it belongs to provider: provider: { resolve }', refresh: 'did you mean "interval"?' },
  description: 'Where the targets come from in place of url or targets: one source, and how it is followed.'
})
export type DiscoveryOption = Static<typeof discoverySchema>
