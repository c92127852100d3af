/**
 * Questions and answers as bytes (RFC 1035 section 4, RFC 6891).
 *
 * What comes from the wire is believed in nothing: whatever does not decode, or does not answer the question, is no answer.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { decode, encode, RECURSION_DESIRED } from 'dns-packet'
import type { Answer, DecodedPacket, OptAnswer } from 'dns-packet'
import { normalName } from './names.ts'

export type QuestionType = 'A' | 'AAAA' | 'SRV'

export interface Question {
  readonly id: number
  /** Normal: lower case, no dot at the end. */
  readonly name: string
  readonly type: QuestionType
  /** Whether larger answers than 512 bytes are asked for. Servers that do not know the extension refuse the question. */
  readonly edns: boolean
}

export interface ServiceData {
  readonly priority: number
  readonly weight: number
  readonly port: number
  readonly target: string
}

/** One record that is of use here; `ttl` in seconds. */
export type DnsRecord = { readonly name: string, readonly ttl: number } & (
  | { readonly type: 'A' | 'AAAA' | 'CNAME', readonly data: string }
  | { readonly type: 'SRV', readonly data: ServiceData }
)

export interface Reply {
  /** `NOERROR`, `NXDOMAIN`, `SERVFAIL` … */
  readonly code: string
  /** The server could not send all of it this way. */
  readonly truncated: boolean
  readonly answers: readonly DnsRecord[]
  readonly additionals: readonly DnsRecord[]
  /** How long "there is nothing" holds, seconds; undefined: nobody said (RFC 2308 section 5). */
  readonly negativeTtl: number | undefined
  /** It names servers to ask instead, as one that does not look things up itself does. */
  readonly referral: boolean
  /** Whether the server knows EDNS. */
  readonly edns: boolean
}

/** What passes everywhere without being cut to pieces (DNS flag day 2020). */
const UDP_SIZE = 1232
const TRUNCATED = 1 << 9
const MAX_TTL = 2 ** 31

// `rcode` and `opcode` are there, but not in the package's types.
type Packet = DecodedPacket & { rcode: string, opcode: string }

export function encodeQuestion ({ id, name, type, edns }: Question): Buffer {
  const extension: OptAnswer = { type: 'OPT', name: '.', udpPayloadSize: UDP_SIZE, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false, options: [] }
  return encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type, name }], additionals: edns ? [extension] : [] })
}

/** The answer to the question, or undefined: malformed, or to another question. Never throws. */
export function decodeReply (bytes: Buffer, question: Question): Reply | undefined {
  if (bytes.length < 12 || bytes.readUInt16BE(0) !== question.id) return undefined
  const truncated = (bytes.readUInt16BE(2) & TRUNCATED) !== 0
  const packet = decodePacket(truncated ? withoutRecords(bytes) : bytes)
  if (packet === undefined || !isAnswerTo(packet, question)) return undefined
  const answers = recordsOf(packet.answers)
  const additionals = recordsOf(packet.additionals)
  if (answers === undefined || additionals === undefined) return undefined
  const extension = packet.additionals?.find(record => record.type === 'OPT')
  return {
    code: extension !== undefined && extension.extendedRcode !== 0 ? `RCODE_${extension.extendedRcode * 16 + (packet.flags! & 15)}` : packet.rcode,
    truncated,
    answers,
    additionals,
    negativeTtl: negativeTtl(packet),
    referral: isReferral(packet),
    edns: extension !== undefined
  }
}

/** A truncated message may end in the middle of a record: the question is all that is wanted of it. */
function withoutRecords (bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  copy.fill(0, 6, 12)
  return copy
}

function decodePacket (bytes: Buffer): Packet | undefined {
  try {
    const packet = decode(bytes) as Packet
    // Some records are decoded past the end.
    return decode.bytes > bytes.length ? undefined : packet
  } catch {
    return undefined
  }
}

function isAnswerTo (packet: Packet, { name, type }: Question): boolean {
  if (!packet.flag_qr || packet.opcode !== 'QUERY') return false
  const [asked, ...more] = packet.questions ?? []
  // A server that could not make out the question may leave it out when it says so.
  if (asked === undefined) return !packet.flag_tc && packet.rcode !== 'NOERROR' && packet.rcode !== 'NXDOMAIN'
  return more.length === 0 && normalName(asked.name) === name && asked.type === type && asked.class === 'IN'
}

/** undefined: one of them lies about what it holds. */
function recordsOf (records: readonly Answer[] = []): DnsRecord[] | undefined {
  const found: DnsRecord[] = []
  for (const record of records) {
    if (record.type !== 'A' && record.type !== 'AAAA' && record.type !== 'CNAME' && record.type !== 'SRV') continue
    if (record.class !== 'IN') continue
    const common = { name: normalName(record.name), ttl: ttlOf(record) }
    if (record.type === 'SRV') found.push({ ...common, type: 'SRV', data: { ...record.data, target: normalName(record.data.target) } as ServiceData })
    else if (record.type === 'CNAME') found.push({ ...common, type: 'CNAME', data: normalName(record.data) })
    else if (record.type === 'A' ? isIPv4(record.data) : isIPv6(record.data)) found.push({ ...common, type: record.type, data: record.data })
    else return undefined
  }
  return found
}

/** Seconds; with the highest bit set it means 0 (RFC 2181 section 8). */
function ttlOf ({ ttl = 0 }: { ttl?: number | undefined }): number {
  return ttl < MAX_TTL ? ttl : 0
}

function negativeTtl ({ authorities = [] }: Packet): number | undefined {
  const soa = authorities.find(record => record.type === 'SOA')
  return soa === undefined ? undefined : Math.min(ttlOf(soa), ttlOf({ ttl: soa.data.minimum }))
}

function isReferral ({ answers = [], authorities = [], flag_aa: authoritative, flag_ra: recursive }: Packet): boolean {
  return answers.length === 0 && !authoritative && !recursive &&
    authorities.some(({ type }) => type === 'NS') && !authorities.some(({ type }) => type === 'SOA')
}
