/** Processes of their own: backends that can be killed, and gateways that have to end by themselves. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { GatewayOptions, TestLike } from '../helper.ts'

function path (file: string): string {
  return fileURLToPath(new URL(file, import.meta.url))
}

function killAfter (t: TestLike, child: ChildProcess): void {
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
}

// ---------------------------------------------------------------- backends

export interface TargetProcess {
  readonly port: number
  readonly url: string
  /** SIGKILL: it has no time for a last word. Resolves when it is gone. */
  kill (): Promise<void>
  /** Again, on the same port. Resolves when it listens. */
  restart (): Promise<void>
}

/** A backend that answers after a few milliseconds; see target-child.js. */
export async function startTarget (t: TestLike): Promise<TargetProcess> {
  let child: ChildProcess
  let port = 0

  async function restart (): Promise<void> {
    child = fork(path('target-child.js'), [String(port)], { execArgv: [] })
    killAfter(t, child)
    const [started] = await once(child, 'message') as [{ port: number }]
    port = started.port
  }

  await restart()
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    restart,
    async kill () {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
}

// ---------------------------------------------------------------- gateways

/** How a gateway is made: with `serverOptions`, without, or for HTTP/2. */
export interface ChildOptions {
  readonly gateway: GatewayOptions
  readonly server?: 'serverOptions' | 'bare' | 'http2'
}

export type Order = 'state' | 'close' | 'close twice' | 'shutdown'

export interface Report {
  readonly port?: number
  readonly closing?: boolean
  readonly inflight?: number
  /** ms that the close took. */
  readonly closed?: number
}

export interface GatewayProcess {
  readonly port: number
  readonly url: string
  state (): Promise<Pick<Required<Report>, 'closing' | 'inflight'>>
  /** Resolves when the closing is over and the process has ended, or after `ms`. */
  end (how: Exclude<Order, 'state'>, ms?: number): Promise<End>
}

/** How a process came to its end. */
export interface End {
  /** ms that the close took; undefined: it did not end. */
  readonly closed: number | undefined
  /** Exit code; null: it did not end by itself. */
  readonly code: number | null
  /** ms from the end of the close to that of the process. */
  readonly lingered: number
}

/** A gateway that forwards `/<backend>/…`; see gateway-child.ts. */
export async function startChild (t: TestLike, options: ChildOptions): Promise<GatewayProcess> {
  const child = fork(path('gateway-child.ts'), { execArgv: ['--import=tsx'], env: { ...process.env, CHILD_OPTIONS: JSON.stringify(options) } })
  killAfter(t, child)
  const [{ port }] = await Promise.race([
    once(child, 'message') as Promise<[{ port: number }]>,
    once(child, 'exit').then(([code]) => { throw new Error(`the gateway has ended with ${code} before it listened`) })
  ])
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async state () {
      child.send('state')
      const [report] = await once(child, 'message') as [Required<Report>]
      return report
    },
    async end (how, ms = 15_000) {
      const exit = once(child, 'exit') as Promise<[number | null]>
      let closed: number | undefined
      let closedAt = 0
      child.on('message', (report: Report) => {
        if (report.closed === undefined) return
        closed = report.closed
        closedAt = performance.now()
      })
      child.send(how)
      const late = setTimeout(() => { child.kill('SIGKILL') }, ms)
      const [code] = await exit
      clearTimeout(late)
      return { closed, code, lingered: closedAt === 0 ? Infinity : performance.now() - closedAt }
    }
  }
}
