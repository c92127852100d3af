/**
 * The metrics of several worker processes as those of one: the primary asks each over process messages, and adds up what they
 * answer, metric by metric as `aggregator` says. For children of `child_process.fork` and workers of `node:cluster`.
 */
import { AggregatorRegistry } from 'prom-client'
import type { Registry } from 'prom-client'

type Json = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

interface Question { readonly kind: 'reverseproxy:metrics?', readonly id: number }
interface Reply { readonly kind: 'reverseproxy:metrics', readonly id: number, readonly metrics?: Json, readonly error?: string }

/** One end of a channel of process messages: `process` in a worker, a child or a cluster's worker in the primary. */
export interface MessageEnd {
  on (event: 'message', listener: (message: unknown) => void): unknown
  off (event: 'message', listener: (message: unknown) => void): unknown
  send? (message: unknown, callback: (error: Error | null) => void): unknown
}

/** In a worker: answers the primary from now on. Returns what ends it. */
export function answerMetricsRequests (registry: Registry, end: MessageEnd = process as unknown as MessageEnd): () => void {
  function answer (message: unknown): void {
    if (!isKind<Question>(message, 'reverseproxy:metrics?')) return
    const { id } = message
    const send = (reply: object): void => { end.send?.({ kind: 'reverseproxy:metrics', id, ...reply } as Reply, () => {}) }
    registry.getMetricsAsJSON().then(metrics => { send({ metrics }) }, (error: Error) => { send({ error: error.message }) })
  }
  end.on('message', answer)
  return () => { end.off('message', answer) }
}

/**
 * In the primary: the text for Prometheus. A worker that does not answer within `timeout` ms, or goes, is left out; workers
 * that begin later start at zero, which Prometheus takes for the restart that it is.
 * @throws Error when there are workers and none answers
 */
export async function collectFromWorkers (workers: Iterable<MessageEnd>, timeout = 5000): Promise<string> {
  const asked = [...workers]
  const answers = (await Promise.all(asked.map((worker, id) => ask(worker, id, timeout)))).filter(answer => answer !== undefined)
  if (asked.length > 0 && answers.length === 0) throw new Error(`none of ${asked.length} workers has told its metrics within ${timeout} ms`)
  return await AggregatorRegistry.aggregate(answers).metrics()
}

/** undefined: no answer. */
function ask (worker: MessageEnd, id: number, timeout: number): Promise<Json | undefined> {
  return new Promise(resolve => {
    const timer = setTimeout(finish, timeout)
    // questions may overlap; each answer serves them all
    function hear (message: unknown): void {
      if (isKind<Reply>(message, 'reverseproxy:metrics') && message.id === id) finish(message.metrics)
    }
    function finish (metrics?: Json): void {
      clearTimeout(timer)
      worker.off('message', hear)
      resolve(metrics)
    }
    worker.on('message', hear)
    try {
      worker.send?.({ kind: 'reverseproxy:metrics?', id } satisfies Question, error => { if (error !== null) finish() })
    } catch {
      // the channel is closed
      finish()
    }
  })
}

function isKind<M extends { readonly kind: string }> (message: unknown, kind: M['kind']): message is M {
  return typeof message === 'object' && message !== null && (message as { kind?: unknown }).kind === kind
}
