/**
 * Metrics in a worker: whoever asks it for them gets those of all workers.
 */
import type { Registry } from 'prom-client'
import { answerMetricsRequests } from '../../lib/metrics/cluster.ts'
import { isMessage, tellPrimary } from './messages.ts'

/** A little longer than the primary waits for workers, ms. */
const PATIENCE = 6_000

export interface Scrapes {
  /** Tells the primary what is in this registry, and makes its text that of all. undefined: there are no metrics. */
  answerFor (registry: Registry | undefined): void
}

export function createScrapes (): Scrapes {
  const waiting = new Map<number, { resolve: (text: string) => void, reject: (error: Error) => void }>()
  let last = 0
  let current: Registry | undefined
  let stop = (): void => {}

  process.on('message', (message: unknown) => {
    if (!isMessage(message, 'reverseproxy:scraped')) return
    const { id, text, error = 'no metrics' } = message
    if (text === undefined) waiting.get(id)?.reject(new Error(error))
    else waiting.get(id)?.resolve(text)
  })

  async function askPrimary (): Promise<string> {
    const id = ++last
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<string>((resolve, reject) => {
        waiting.set(id, { resolve, reject })
        timer = setTimeout(() => { reject(new Error(`the primary has told no metrics within ${PATIENCE} ms`)) }, PATIENCE)
        tellPrimary({ kind: 'reverseproxy:scrape', id })
      })
    } finally {
      clearTimeout(timer)
      waiting.delete(id)
    }
  }

  return {
    answerFor (registry) {
      if (registry === current) return
      stop()
      stop = () => {}
      current = registry
      if (registry === undefined) return
      stop = answerMetricsRequests(registry)
      const own = registry.metrics.bind(registry)
      // without a primary there is nobody else
      registry.metrics = async () => process.connected ? await askPrimary() : await own()
    }
  }
}
