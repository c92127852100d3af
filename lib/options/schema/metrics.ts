/**
 * What is counted, and where it is shown.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { Registry } from 'prom-client'
import { DEFAULTS } from '../defaults.ts'
import { instance, object, text } from './values.ts'

const { metrics: initial } = DEFAULTS

const switched = (value: boolean, description: string) => Type.Optional(Type.Boolean({ default: value, description }))

export const fullMetricsSchema = object({
  path: Type.Optional(Type.Union([text('fixedPath'), Type.Literal(false)], {
    default: initial.path,
    rule: 'must be a path that begins with "/", or false',
    description: 'Where they are; false for nowhere: for programs only.'
  })),
  port: Type.Optional(Type.Integer({ minimum: 0, maximum: 65535, description: 'Port of a server of their own; 0 takes a free one. Default: they are a route of the app.' })),
  host: Type.Optional(text('listenHost', { default: initial.host, description: 'Address of that server.' })),
  registry: Type.Optional(instance<Registry>({ rule: 'must be a Registry of prom-client', description: 'Code only: a registry of prom-client that metrics of your own are in, too. Default: one of this gateway.' })),
  prefix: Type.Optional(text('metricPrefix', { default: initial.prefix, description: 'Stands before every name, those of the process excepted.' })),
  defaultMetrics: switched(initial.defaultMetrics, 'Whether those of the process and of Node are there as well.'),
  buckets: Type.Optional(Type.Array(Type.Number({ minimum: 0 }), {
    minItems: 1,
    default: [...initial.buckets],
    description: 'Upper bounds of the histograms in seconds, ascending.'
  })),
  tenants: switched(initial.tenants, 'Whether requests are counted by tenant, too; tenancy.labels says how many have a label of their own.'),
  allRoutes: switched(initial.allRoutes, 'Whether routes of the app that do not forward are counted, too.')
}, {
  hints: { url: 'did you mean "path"?', endpoint: 'did you mean "path"?', enabled: 'use metrics: true or false', labels: 'did you mean "tenancy.labels"?' },
  description: 'What is counted, and where it is shown.'
})

export const metricsSchema = Type.Union([Type.Boolean(), fullMetricsSchema], {
  default: false,
  rule: 'must be true, false, or an object such as { path: "/metrics" }',
  description: 'Metrics for Prometheus and for programs: true, false, or an object.'
})
export type MetricsOptions = Static<typeof metricsSchema>
