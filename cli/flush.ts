/**
 * The last spans: what OpenTelemetry's SDK has gathered is sent before the process ends. Nobody else could do it: only the end of
 * the gateway knows when the last span has ended.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { loadApi } from '../lib/tracing/load.ts'
import type { Served } from './drain.ts'

/** The longest time there is for it, ms. */
const PATIENCE = 5_000

/** Never rejects. Without `tracing`, or an SDK, there is nothing to do. */
export async function flushSpans ({ file, log }: Pick<Served, 'file' | 'log'>): Promise<void> {
  if (file.config.tracing === undefined) return
  try {
    const { ProxyTracerProvider, trace } = await loadApi()
    const registered: unknown = trace.getTracerProvider()
    const provider = (registered instanceof ProxyTracerProvider ? registered.getDelegate() : registered) as { forceFlush?: () => Promise<unknown> }
    const done = await Promise.race([Promise.resolve(provider.forceFlush?.()).then(() => true), sleep(PATIENCE, false)])
    if (!done) log.warn(`the last spans were not exported within ${PATIENCE} ms`)
  } catch (error) {
    log.warn({ err: error }, 'the last spans could not be exported')
  }
}
