/** The gateway as a whole, in a few lines. */
import type { MetricsSnapshot } from '../metrics/types.ts'
import type { Gateway } from './gateway.ts'
import type { AdminStatus, BackendStatus } from './types.ts'

/** What does not change while the process runs. */
export type ProcessFacts = Pick<AdminStatus, 'version' | 'node' | 'pid' | 'worker' | 'startedAt'>

export function statusOf (gateway: Gateway, facts: ProcessFacts, { since, requests }: MetricsSnapshot, backends: readonly BackendStatus[]): AdminStatus {
  const { ready, reasons } = gateway.readiness()
  const targets = backends.flatMap(({ targets }) => targets)
  return {
    ...facts,
    state: gateway.closing ? 'draining' : 'serving',
    ready,
    notReady: ready ? [] : reasons,
    since: since.toISOString(),
    requests,
    websockets: gateway.websockets.size,
    eventStreams: gateway.eventStreams.size,
    backends: { total: backends.length, usable: backends.filter(({ state }) => state !== 'down').length },
    targets: { total: targets.length, usable: targets.filter(({ excluded }) => excluded === null).length },
    trafficDump: dumpOf(gateway)
  }
}

function dumpOf ({ config, trafficDump }: Gateway): AdminStatus['trafficDump'] {
  if (config.trafficDump === undefined) return null
  const { written, dropped, failed, queued } = trafficDump.stats()
  return { written, dropped, failed, queued }
}
