/**
 * Asks for the records of a name: server after server, along CNAMEs.
 */
import { exchange } from './exchange.ts'
import { isName, normalName } from './names.ts'
import type { DnsRecord, QuestionType, Reply } from './message.ts'
import type { Server } from './servers.ts'
import type { ProviderTools } from '../types.ts'

/** Questions for one name, when each answer is only a CNAME. */
const MAX_QUESTIONS = 8

export interface ClientOptions {
  /** In the order in which they are asked. */
  readonly servers: readonly Server[]
  /** One question to one server, ms. */
  readonly timeout: number
  readonly sleep: ProviderTools['sleep']
}

/** What a name has; no records: it does not exist, or has none of this type. */
export interface Found {
  /** All of the type that was asked for. */
  readonly records: readonly DnsRecord[]
  /** What the server thought useful besides. */
  readonly additionals: readonly DnsRecord[]
  /** How long this holds, seconds; Infinity: nobody said. */
  readonly ttl: number
}

export interface Client {
  /** Throws an Error that names the question, and what each server said, when none could answer. */
  ask (name: string, type: QuestionType, signal: AbortSignal): Promise<Found>
}

/** For one round of questions: a server that did not answer is asked last from then on. */
export function createClient ({ servers, timeout, sleep }: ClientOptions): Client {
  const order = [...servers]

  async function askServers (name: string, type: QuestionType, signal: AbortSignal): Promise<Reply> {
    const said: string[] = []
    for (const server of [...order]) {
      try {
        const reply = await askServer(server, name, type, signal)
        const refusal = refusalOf(reply)
        if (refusal === undefined) return reply
        said.push(`${server.text}: ${refusal}`)
      } catch (error) {
        signal.throwIfAborted()
        said.push(`${server.text}: ${describe(error)}`)
        order.push(...order.splice(order.indexOf(server), 1))
      }
    }
    throw new Error(`DNS question ${name} ${type} failed (${said.join('; ') || 'no servers'})`)
  }

  async function askServer (server: Server, name: string, type: QuestionType, signal: AbortSignal): Promise<Reply> {
    const reply = await exchange(server, { name, type, timeout, sleep, edns: true }, signal)
    // A server that does not know EDNS says so in this way (RFC 6891 section 7).
    const isOld = !reply.edns && (reply.code === 'FORMERR' || reply.code === 'NOTIMP')
    return isOld ? await exchange(server, { name, type, timeout, sleep, edns: false }, signal) : reply
  }

  async function ask (name: string, type: QuestionType, signal: AbortSignal): Promise<Found> {
    const chain = new Set<string>()
    let current = normalName(name)
    let ttl = Infinity
    for (let questions = 0; questions < MAX_QUESTIONS; questions++) {
      if (!isName(current)) throw new Error(`DNS question ${name} ${type} failed (${JSON.stringify(current)} is no name of a host)`)
      const reply = await askServers(current, type, signal)
      const walked = walk(reply, current, type, chain)
      if (walked === 'loop') throw new Error(`DNS question ${name} ${type} failed (its CNAMEs go round in a circle)`)
      ttl = Math.min(ttl, walked.ttl)
      if (walked.records.length > 0) return { records: walked.records, additionals: reply.additionals, ttl }
      if (walked.name === current || reply.code === 'NXDOMAIN' || reply.negativeTtl !== undefined) {
        return { records: [], additionals: [], ttl: reply.negativeTtl === undefined ? Infinity : Math.min(ttl, reply.negativeTtl) }
      }
      current = walked.name
    }
    throw new Error(`DNS question ${name} ${type} failed (more than ${MAX_QUESTIONS} CNAMEs)`)
  }

  return { ask }
}

/** Follows the CNAMEs of one answer from a name to its records, or to where the answer ends. */
function walk ({ answers }: Reply, start: string, type: QuestionType, chain: Set<string>): { name: string, records: readonly DnsRecord[], ttl: number } | 'loop' {
  let name = start
  let ttl = Infinity
  for (;;) {
    const records = answers.filter(record => record.name === name && record.type === type)
    if (records.length > 0) return { name, records, ttl: Math.min(ttl, ...records.map(({ ttl }) => ttl)) }
    const alias = answers.find(record => record.name === name && record.type === 'CNAME')
    if (alias?.type !== 'CNAME') return { name, records, ttl }
    chain.add(name)
    if (chain.has(alias.data)) return 'loop'
    name = alias.data
    ttl = Math.min(ttl, alias.ttl)
  }
}

/** Why an answer is none; undefined: it is one. */
function refusalOf ({ code, referral }: Reply): string | undefined {
  if (code !== 'NOERROR' && code !== 'NXDOMAIN') return code
  return code === 'NOERROR' && referral ? 'names other servers instead of asking them' : undefined
}

function describe (error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code ?? message
}
