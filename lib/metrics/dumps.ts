/** Lines of traffic dumps: those of the gateways that are shown, and of what they have written to before. */
import type { DumpStats } from '../traffic-dump/types.ts'
import type { Dump, Reader, Source } from './types.ts'

const RESULTS = ['written', 'dropped', 'failed'] as const
type Counts = Record<typeof RESULTS[number], number>

export interface DumpMeters {
  /** A gateway is not shown any more; its dump may have lines left to write. */
  left (dump: Dump): void
  readonly readers: Readonly<Record<'traffic_dump_lines_total' | 'traffic_dump_queued_lines', Reader>>
}

/** Without a gateway that has a dump there are no values. `sources`: oldest first. */
export function createDumpMeters (sources: readonly Source[]): DumpMeters {
  /** Of dumps that have come to their end: a counter does not go down when another folder takes their place. */
  const ended: Counts = { written: 0, dropped: 0, failed: 0 }
  const ending = new Set<Dump>()

  /** A gateway that takes the place of another one may go on with its dump. */
  const current = (): Set<Dump> => new Set(sources.flatMap(source => source.dump() ?? []))

  function settle (): void {
    const there = current()
    for (const dump of ending) {
      const stats = dump.stats()
      if (!there.has(dump) && stats.queued > 0) continue
      ending.delete(dump)
      if (!there.has(dump)) add(ended, stats)
    }
  }

  /** undefined: there is none. */
  function all (): DumpStats[] | undefined {
    settle()
    const there = current()
    return there.size === 0 ? undefined : [...new Set([...there, ...ending])].map(dump => dump.stats())
  }

  return {
    left (dump) {
      ending.add(dump)
      settle()
    },
    readers: {
      traffic_dump_lines_total () {
        const found = all()
        if (found === undefined) return []
        const counts = { ...ended }
        for (const stats of found) add(counts, stats)
        return RESULTS.map(result => ({ labels: { result }, value: counts[result] }))
      },
      traffic_dump_queued_lines: () => {
        const found = all()
        return found === undefined ? [] : [{ labels: {}, value: found.reduce((sum, { queued }) => sum + queued, 0) }]
      }
    }
  }
}

function add (counts: Counts, stats: DumpStats): void {
  for (const result of RESULTS) counts[result] += stats[result]
}
