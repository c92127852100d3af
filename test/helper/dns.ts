/** DNS servers for tests: a scripted one for what real ones rarely do, and dnsmasq. */
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { decode, encode, RECURSION_AVAILABLE, RECURSION_DESIRED } from 'dns-packet'
import { sleep } from './messages.ts'
import type { ChildProcess } from 'node:child_process'
import type { AddressInfo, Socket } from 'node:net'
import type { Answer, Packet, RecordType } from 'dns-packet'
import type { TestLike } from './time.ts'

// ---- scripted

export interface Asked {
  readonly name: string
  readonly type: RecordType
  readonly via: 'udp' | 'tcp'
  readonly id: number
  /** Size of answers that is asked for; undefined without EDNS. */
  readonly udpSize: number | undefined
  /** Port that it came from. */
  readonly from: number
  readonly packet: Packet
}

/** What goes back: records, a whole packet, bytes as they are, several of them; undefined: nothing. `close`: ends a TCP connection. */
export type Said = readonly Answer[] | Partial<Packet> & { rcode?: keyof typeof RCODES } | Buffer | { datagrams: readonly Buffer[] } | 'close' | undefined

const RCODES = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 }

export interface DnsServer {
  readonly address: string
  readonly port: number
  readonly asked: Asked[]
  /** Connections and questions that are open at the server's end. */
  readonly connections: number
}

/** The packet that answers a question. */
export function answerTo ({ packet: { id, questions } }: Asked, said: readonly Answer[] | Partial<Packet> & { rcode?: keyof typeof RCODES }): Buffer {
  const { rcode = 'NOERROR', flags = 0, ...rest } = 'length' in said ? { answers: said as Answer[] } as Partial<Packet> & { rcode?: keyof typeof RCODES } : said
  return encode({ type: 'response', id: id!, questions: questions!, ...rest, flags: flags | RECURSION_DESIRED | RECURSION_AVAILABLE | RCODES[rcode] })
}

export async function dnsServer (t: TestLike, say: (asked: Asked) => Said, host = '127.0.0.1'): Promise<DnsServer> {
  const asked: Asked[] = []
  const connections = new Set<Socket>()

  function hear (bytes: Buffer, via: 'udp' | 'tcp', from: number, send: (bytes: Buffer) => void, close: () => void): void {
    const packet = decode(bytes)
    const [question] = packet.questions!
    const extension = packet.additionals!.find(record => record.type === 'OPT')
    const one: Asked = { name: question!.name, type: question!.type, via, id: packet.id!, udpSize: extension?.udpPayloadSize, from, packet }
    asked.push(one)
    const said = say(one)
    if (said === undefined) return
    if (said === 'close') close()
    else if (Buffer.isBuffer(said)) send(said)
    else if ('datagrams' in said) said.datagrams.forEach(send)
    else send(answerTo(one, said))
  }

  const tcp = createServer(socket => {
    connections.add(socket)
    let rest = Buffer.alloc(0)
    socket.on('data', chunk => {
      rest = Buffer.concat([rest, chunk])
      if (rest.length < 2 || rest.length < 2 + rest.readUInt16BE(0)) return
      const frames: Buffer[] = []
      hear(rest.subarray(2), 'tcp', socket.remotePort!, bytes => {
        const length = Buffer.alloc(2)
        length.writeUInt16BE(bytes.length)
        frames.push(length, bytes)
      }, () => socket.end())
      if (frames.length === 0) return
      // in pieces, as the network may do
      const all = Buffer.concat(frames)
      socket.write(all.subarray(0, 1))
      setImmediate(() => { socket.write(all.subarray(1)) })
    }).on('error', () => {}).on('close', () => { connections.delete(socket) })
  })
  const udp = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  udp.on('message', (bytes, peer) => hear(bytes, 'udp', peer.port, answer => { udp.send(answer, peer.port, peer.address) }, () => {}))
  await listenOnBoth(tcp, udp, host)
  t.teardown(() => {
    udp.close()
    tcp.close()
    for (const socket of connections) socket.destroy()
  })
  const { port } = udp.address()
  return { address: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`, port, asked, get connections () { return connections.size } }
}

/** The same free port for both. */
async function listenOnBoth (tcp: ReturnType<typeof createServer>, udp: ReturnType<typeof createSocket>, host: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    await new Promise<void>(resolve => { tcp.listen(0, host, resolve) })
    const { port } = tcp.address() as AddressInfo
    try {
      return await new Promise<void>((resolve, reject) => {
        udp.once('error', reject)
        udp.bind(port, host, () => { udp.off('error', reject); resolve() })
      })
    } catch (error) {
      if (tries === 5) throw error
      await new Promise(resolve => { tcp.close(resolve) })
    }
  }
}

// ---- dnsmasq

export interface Dnsmasq {
  readonly address: string
  /** Ends it, so that its port refuses, or begins anew with other records. */
  stop (): Promise<void>
  start (records: readonly string[]): Promise<void>
  /** Reads its hosts files anew. */
  reload (): void
}

const BASE = ['--no-daemon', '--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--listen-address=127.0.0.1', '--bind-interfaces', '--log-facility=-', '--local=/test/']

/** The real server with these records (`--host-record=…`, `--srv-host=…`), and authority for `.test`. Throws when it is not installed. */
export async function dnsmasq (t: TestLike, records: readonly string[]): Promise<Dnsmasq> {
  let port = 0
  let child: ChildProcess | undefined

  async function stop (): Promise<void> {
    const running = child
    child = undefined
    if (running === undefined || running.exitCode !== null) return
    const gone = new Promise(resolve => { running.once('exit', resolve) })
    running.kill('SIGKILL')
    await gone
  }

  async function start (records: readonly string[]): Promise<void> {
    await stop()
    for (let tries = 0; tries < 10; tries++) {
      // Its port is kept through restarts; another one only where somebody was faster at the first start.
      const chosen = port === 0 ? await freePort() : port
      const begun = await begin([...BASE, `--port=${chosen}`, ...records])
      if (begun instanceof Error) {
        if (!/in use/.test(begun.message)) throw begun
        await sleep(50)
        continue
      }
      child = begun
      port = chosen
      return
    }
    throw new Error('dnsmasq found no free port')
  }

  await start(records)
  t.teardown(stop)
  return { address: `127.0.0.1:${port}`, stop, start, reload: () => { child!.kill('SIGHUP') } }
}

/** The process when it answers, or why it ended. */
function begin (args: readonly string[]): Promise<ChildProcess | Error> {
  return new Promise((resolve, reject) => {
    // Debian has it where only root's path leads.
    const child = spawn('dnsmasq', args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } })
    let said = ''
    child.once('error', error => {
      const { code } = error as NodeJS.ErrnoException
      reject(code === 'ENOENT' ? new Error('dnsmasq is not installed: these tests need it (Debian package dnsmasq-base)') : error)
    })
    child.once('exit', () => { resolve(new Error(`dnsmasq ended: ${said}`)) })
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (/started, version/.test(said)) resolve(child)
    })
  })
}

async function freePort (): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>(resolve => { socket.bind(0, '127.0.0.1', resolve) })
  const { port } = socket.address()
  await new Promise<void>(resolve => { socket.close(resolve) })
  return port
}
