/** Clients under load: every request comes to an end that is counted, none is lost on the way. */
import { Agent, request } from 'node:http'
import { sleep } from '../helper.ts'

/** What became of a request. */
export interface Shot {
  /** 0: no answer, or half of one. */
  readonly status: number
  readonly body: string
  /** The answer's `Connection`. */
  readonly connection: string | undefined
  /** Why there is no answer. */
  readonly error: string | undefined
}

export interface ShotOptions {
  readonly method?: string
  readonly body?: string
  /** Longest wait. Default 15 s. */
  readonly ms?: number
}

/** Never rejects. */
export function shoot (agent: Agent, url: string, { method = 'GET', body, ms = 15_000 }: ShotOptions = {}): Promise<Shot> {
  return new Promise(resolve => {
    const failed = (error: Error) => { resolve({ status: 0, body: '', connection: undefined, error: error.message }) }
    const sent = request(url, { agent, method, headers: body === undefined ? {} : { 'content-length': Buffer.byteLength(body) } }, answer => {
      const { statusCode = 0, headers: { connection } } = answer
      let text = ''
      answer.setEncoding('latin1')
      answer.on('data', (piece: string) => { text += piece })
      answer.on('error', failed)
      answer.on('end', () => { resolve({ status: answer.complete ? statusCode : 0, body: text, connection, error: undefined }) })
    })
    sent.on('error', failed)
    sent.setTimeout(ms, () => { sent.destroy(new Error(`no answer within ${ms} ms`)) })
    sent.end(body)
  })
}

export function createAgent (): Agent {
  return new Agent({ keepAlive: true, maxSockets: Infinity })
}

/** How often what came back. */
export interface Tally {
  total: number
  /** Answers below 400. */
  good: number
  /** By status, or by error. */
  readonly bad: Record<string, number>
}

export function createTally (): Tally {
  return { total: 0, good: 0, bad: {} }
}

export function count (tally: Tally, { status, error }: Shot): void {
  tally.total++
  if (status > 0 && status < 400) tally.good++
  else {
    const what = error ?? String(status)
    tally.bad[what] = (tally.bad[what] ?? 0) + 1
  }
}

/** `total` times, `concurrent` at once. */
export async function hammer (total: number, concurrent: number, act: (nth: number) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: concurrent }, async () => {
    while (next < total) await act(next++)
  }))
}

/** At once at most, so that a machine that falls behind is not buried. */
const MOST = 40

/** About `perSecond` times a second until `isOver`, less where the machine cannot; resolves when the last one has ended. */
export async function pace (perSecond: number, isOver: () => boolean, act: (nth: number) => Promise<void>): Promise<void> {
  const running = new Set<Promise<void>>()
  const since = performance.now()
  let nth = 0
  let skipped = 0
  while (!isOver()) {
    for (const due = (performance.now() - since) / 1000 * perSecond; nth + skipped < due;) {
      if (running.size >= MOST) {
        skipped++
        continue
      }
      const one: Promise<void> = act(nth++).finally(() => { running.delete(one) })
      running.add(one)
    }
    await sleep(5)
  }
  await Promise.all(running)
}
