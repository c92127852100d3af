/**
 * A worker as the primary sees it: a process that serves a configuration.
 */
import cluster, { type Worker } from 'node:cluster'
import type { ConfigFile } from '../../lib/config-file.ts'
import { GRACE } from '../drain.ts'
import { isMessage, type FromWorker, type Message, type ToWorker } from './messages.ts'
import { toPortable } from './portable.ts'
import { workerError } from './refusal.ts'

/** How long a worker may take for a new configuration, ms: beyond that it is taken for stuck. */
const PATIENCE = 60_000

export interface Exit {
  /** Neither this nor `signal`: it is about to end. */
  readonly code: number | null
  readonly signal: string | null
  /** How long it has served, ms; undefined: it never did. */
  readonly served: number | undefined
  /** Why it could not, in its own words. */
  readonly reason: string | undefined
}

/** What became of a new configuration. */
export type Answer =
  /** `waiting`: options that hold only for a new process. */
  | { readonly outcome: 'applied', readonly waiting: readonly string[] }
  | { readonly outcome: 'refused' | 'ended' | 'stuck', readonly error: Error }

export interface GatewayWorker {
  readonly pid: number
  readonly process: Worker
  readonly state: 'starting' | 'serving' | 'leaving'
  /** What it serves, or is about to. */
  readonly file: ConfigFile
  /** Where it can be reached; nothing before it serves. */
  readonly addresses: readonly string[]
  /** How long it has served, ms; undefined: not yet. */
  readonly served: number | undefined
  /** Resolves when it serves; rejects when it ends before. */
  readonly serving: Promise<void>
  /** Never rejects. */
  readonly ended: Promise<Exit>
  /** Never rejects. */
  reload (file: ConfigFile): Promise<Answer>
  /** A message that needs no answer. */
  tell (message: ToWorker): void
  /** Drains; one that does not end in time is killed. One that does not serve yet ends at once. */
  end (replaced: boolean): void
  kill (): void
}

/** Starts it. `onLeave`: it says that it is about to leave, or has to. */
export function startWorker (file: ConfigFile, onLeave: (why: string, ends: boolean) => void): GatewayWorker {
  const worker = cluster.fork()
  let state: GatewayWorker['state'] = 'starting'
  let current = file
  let reason: string | undefined
  let since: number | undefined
  let addresses: readonly string[] = []
  let last = 0
  let killer: NodeJS.Timeout | undefined

  const ended = new Promise<Exit>(resolve => {
    function settle (code: number | null, signal: string | null): void {
      clearTimeout(killer)
      resolve({ code, signal, served: lifetime(), reason })
    }
    worker.once('exit', settle)
    worker.on('error', (error: Error) => {
      reason ??= error.message
      // there is no process, so it will not end either
      if (worker.process.pid === undefined) settle(1, null)
    })
  })
  const serving = new Promise<void>((resolve, reject) => {
    on('reverseproxy:serving', message => {
      addresses = message.addresses
      since = performance.now()
      if (state === 'starting') state = 'serving'
      resolve()
    })
    ended.then(exit => { reject(workerError(describeExit(exit))) })
  })
  // who wants to know looks at it
  serving.catch(() => {})
  on('reverseproxy:failed', ({ error }) => { reason = error })
  on('reverseproxy:leaving', ({ why, ends }) => { onLeave(why, ends) })
  on('reverseproxy:ready', () => { tell({ kind: 'reverseproxy:serve', file: toPortable(file) }) })

  function lifetime (): number | undefined {
    return since === undefined ? undefined : performance.now() - since
  }

  /** Returns what ends it. */
  function on<K extends FromWorker['kind']> (kind: K, hear: (message: Extract<Message, { kind: K }>) => void): () => void {
    function listener (message: unknown): void {
      if (isMessage(message, kind)) hear(message)
    }
    worker.on('message', listener)
    return () => { worker.off('message', listener) }
  }

  function tell (message: ToWorker): void {
    // one that is gone says so itself
    worker.send(message, undefined, () => {})
  }

  function kill (): void {
    worker.process.kill('SIGKILL')
  }

  return {
    process: worker,
    get pid () { return worker.process.pid ?? 0 },
    get state () { return state },
    get file () { return current },
    get addresses () { return addresses },
    get served () { return lifetime() },
    serving,
    ended,
    async reload (next) {
      const id = ++last
      let timer: NodeJS.Timeout | undefined
      let off = (): void => {}
      const answer = await new Promise<Answer>(resolve => {
        off = on('reverseproxy:reloaded', ({ id: answered, waiting, error }) => {
          if (answered === id) resolve(error === undefined ? { outcome: 'applied', waiting } : { outcome: 'refused', error: workerError(error) })
        })
        ended.then(exit => { resolve({ outcome: 'ended', error: workerError(describeExit(exit)) }) })
        timer = setTimeout(() => { resolve({ outcome: 'stuck', error: workerError(`no answer within ${PATIENCE} ms`) }) }, PATIENCE)
        tell({ kind: 'reverseproxy:reload', id, file: toPortable(next) })
      })
      off()
      clearTimeout(timer)
      if (answer.outcome === 'applied') current = next
      return answer
    },
    tell,
    end (replaced) {
      if (state === 'starting') kill()
      else tell({ kind: 'reverseproxy:end', replaced })
      state = 'leaving'
      const { delay, timeout } = current.config.shutdown
      killer ??= setTimeout(kill, delay + timeout + GRACE).unref()
    },
    kill
  }
}

/** `ended with 1: listen EADDRINUSE…`, `ended by SIGKILL`, `ends: a fault` */
export function describeExit ({ code, signal, reason }: Exit): string {
  const how = signal !== null ? `ended by ${signal}` : code !== null ? `ended with ${code}` : 'ends'
  return `${how}${reason === undefined ? '' : `: ${reason}`}`
}
