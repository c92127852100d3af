/** The traffic dump: from what a user may write to what the house works with. Everything here has been checked. */
import { resolve } from 'node:path'
import type { TrafficDumpConfig } from '../traffic-dump/types.ts'
import { isRecord } from './copy.ts'
import { DEFAULTS } from './defaults.ts'
import type { Origin } from './rules.ts'
import type { TrafficDumpOptions } from './schema/traffic-dump.ts'
import { byteCount, milliseconds } from './units.ts'

const { trafficDump: INITIAL } = DEFAULTS

export function resolveTrafficDump (option: TrafficDumpOptions | undefined, { baseDir }: Origin): TrafficDumpConfig | undefined {
  if (option === undefined) return undefined
  const { redact = {} } = option
  return {
    directory: resolve(baseDir, option.directory),
    sampleRate: option.sampleRate ?? INITIAL.sampleRate,
    routes: option.routes ?? {},
    errorSampleRate: option.errorSampleRate ?? INITIAL.errorSampleRate,
    maxBodySize: byteCount(option.maxBodySize ?? INITIAL.maxBodySize),
    maxFileSize: byteCount(option.maxFileSize ?? INITIAL.maxFileSize),
    maxFiles: option.maxFiles ?? INITIAL.maxFiles,
    interval: option.interval === undefined ? undefined : milliseconds(option.interval),
    queue: byteCount(option.queue ?? INITIAL.queue),
    clientAddress: option.clientAddress ?? INITIAL.clientAddress,
    redact: {
      headers: (redact.headers ?? []).map(name => name.toLowerCase()),
      query: redact.query ?? [],
      json: (redact.json ?? []).map(path => path.replace(/^\$\./, '').replaceAll('[*]', '')),
      replaceDefaults: redact.replaceDefaults ?? INITIAL.redact.replaceDefaults
    }
  }
}

/** What resolves to the same again, wherever: the folder is absolute. */
export function portableTrafficDump (gateway: Readonly<Record<string, unknown>>, { baseDir }: Origin): Record<string, unknown> {
  const { trafficDump } = gateway
  if (!isRecord(trafficDump) || typeof trafficDump['directory'] !== 'string') return gateway
  return { ...gateway, trafficDump: { ...trafficDump, directory: resolve(baseDir, trafficDump['directory']) } }
}
