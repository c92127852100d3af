/**
 * Addresses of one name, or of many at once.
 */
import type { Client, Found } from './client.ts'
import type { DnsRecord } from './message.ts'
import type { ProviderTools } from '../types.ts'

export interface Addresses {
  readonly addresses: readonly string[]
  /** Seconds; Infinity: nobody said. */
  readonly ttl: number
}

export interface Round {
  readonly client: Client
  readonly signal: AbortSignal
  readonly warn: ProviderTools['warn']
  /** What the round before found, by question: the last good answer stays where one of several questions fails. */
  readonly before: ReadonlyMap<string, readonly string[]>
  /** What this round finds. */
  readonly found: Map<string, readonly string[]>
}

/** Sockets at once. */
const PARALLEL = 16

/** Both kinds are asked for at the same time. Throws when a question fails and no other one has addresses. */
export async function addressesOfName (name: string, types: ReadonlyArray<'A' | 'AAAA'>, round: Round): Promise<Addresses> {
  const questions = types.map(type => ({ label: `${name} ${type}`, ask: async () => addresses(await round.client.ask(name, type, round.signal), type) }))
  return await together(questions, round)
}

/** IPv4 addresses where a host has some, else IPv6. Throws when no host has addresses and a question has failed. */
export async function addressesOfHosts (hosts: readonly string[], additionals: readonly DnsRecord[], round: Round): Promise<Addresses> {
  return await together(hosts.map(host => ({ label: host, ask: () => addressesOfHost(host, additionals, round) })), round)
}

async function addressesOfHost (host: string, additionals: readonly DnsRecord[], { client, signal }: Round): Promise<Addresses> {
  const asked: number[] = []
  for (const type of ['A', 'AAAA'] as const) {
    const records = additionals.filter(record => record.name === host && record.type === type)
    const found = records.length > 0
      ? { records, ttl: Math.min(...records.map(({ ttl }) => ttl)) }
      : await client.ask(host, type, signal)
    asked.push(found.ttl)
    if (found.records.length > 0) return { addresses: addresses(found, type).addresses, ttl: Math.min(...asked) }
  }
  return { addresses: [], ttl: Math.min(...asked) }
}

/** Several questions as one: those that fail are left out, or as they were, with a warning. */
async function together (questions: ReadonlyArray<{ label: string, ask: () => Promise<Addresses> }>, round: Round): Promise<Addresses> {
  const failures: Array<{ label: string, error: Error }> = []
  let ttl = Infinity
  const waiting = questions.values()
  const work = async (): Promise<void> => {
    for (const { label, ask } of waiting) {
      try {
        const one = await ask()
        ttl = Math.min(ttl, one.ttl)
        round.found.set(label, one.addresses)
      } catch (error) {
        failures.push({ label, error: error as Error })
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(PARALLEL, questions.length) }, work))
  round.signal.throwIfAborted()
  const answered = questions.flatMap(({ label }) => round.found.get(label) ?? [])
  const [failure] = failures
  if (failure !== undefined && answered.length === 0) throw failure.error
  for (const { label, error } of failures) {
    const last = round.before.get(label)
    if (last !== undefined) round.found.set(label, last)
    round.warn(`${error.message}; ${last === undefined ? 'it is left out' : 'its last addresses stay'}`)
  }
  return { addresses: questions.flatMap(({ label }) => round.found.get(label) ?? []), ttl }
}

function addresses ({ records, ttl }: Pick<Found, 'records' | 'ttl'>, type: 'A' | 'AAAA'): Addresses {
  return { addresses: records.flatMap(record => record.type === type ? [record.data] : []), ttl }
}
