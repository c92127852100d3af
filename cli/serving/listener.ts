/**
 * What listens for as long as the process runs, whichever gateway answers: the servers of all addresses, and which stage is on.
 *
 * Gateways come and go with their configuration; ports and connections stay. So each gateway gets a stage for its server, and
 * what happens on the real ones is played to the stage that is on at that moment.
 */
import Fastify from 'fastify'
import { EventEmitter } from 'node:events'
import { lookup } from 'node:dns/promises'
import type { Server, ServerResponse } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { ServerHttp2Session } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type { FastifyServerOptions } from 'fastify'
import { follow, type Connections } from '../../lib/connections.ts'
import type { ServerConfig } from '../../lib/options/server.ts'
import type { Stage } from './stage.ts'

/** Events of a server that are no business of the gateway's: it never listens or closes by itself. */
const OWN_EVENTS = new Set<string | symbol>(['listening', 'close', 'error', 'newListener', 'removeListener', 'request'])

/** Certificate and key for new connections. */
export interface Certificate {
  readonly cert: string
  readonly key: string
  readonly ca?: readonly string[]
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
}

export interface Listener {
  /** One for each address that the host's name has. */
  readonly servers: readonly Server[]
  readonly connections: Connections
  readonly listening: boolean
  /** Listens on all addresses. Rejects when one of them cannot be had. */
  listen (): Promise<void>
  /** From now on everything that happens is this stage's. */
  show (stage: Stage): void
  isOn (stage: Stage): boolean
  /** The certificate for connections from now on. */
  renew (certificate: Certificate): void
  close (done: () => void): void
}

/** Does not listen yet. The servers are made as Fastify makes them of the same options. */
export async function createListener ({ host, port, fastify }: ServerConfig): Promise<Listener> {
  const addresses = host === 'localhost' ? [...new Set((await lookup(host, { all: true })).map(({ address }) => address))] : [host]
  const sockets = new Map<Socket, number>()
  const sessions = new Set<ServerHttp2Session>()
  const connections = { sockets, sessions }
  const servers = addresses.map(() => bareServer(fastify))
  let current: Stage | undefined
  let listening = false
  /** Listeners of the stage that is on, by event: Node does some things by itself where nobody listens. */
  let played: Array<readonly [event: string | symbol, play: (...args: unknown[]) => void]> = []

  for (const server of servers) {
    follow(server, connections)
    server.on('request', (request, response: ServerResponse) => { current?.play('request', request, response) })
  }

  function show (stage: Stage): void {
    for (const server of servers as readonly EventEmitter[]) for (const [event, play] of played) server.off(event, play)
    current = stage
    played = EventEmitter.prototype.eventNames.call(stage)
      .filter(event => !OWN_EVENTS.has(event))
      .map(event => [event, (...args: unknown[]) => { stage.play(event, ...args) }] as const)
    for (const server of servers as readonly EventEmitter[]) for (const [event, play] of played) server.on(event, play)
  }

  return {
    servers,
    connections,
    get listening () { return listening },
    async listen () {
      // the second address gets the port that the first one has found
      let free = port
      for (const [index, server] of servers.entries()) {
        await listenOn(server, addresses[index]!, free)
        free = (server.address() as AddressInfo).port
      }
      listening = true
    },
    show,
    isOn: stage => stage === current,
    renew (certificate) {
      for (const server of servers) (server as TlsServer).setSecureContext(certificate as Parameters<TlsServer['setSecureContext']>[0])
    },
    close (done) {
      listening = false
      let left = servers.length
      for (const server of servers) server.close(() => { if (--left === 0) done() })
    }
  }
}

/** A server with Fastify's settings, and nobody behind it. */
function bareServer (options: FastifyServerOptions & Record<string, unknown>): Server {
  const { server } = Fastify({ ...options, logger: false })
  server.removeAllListeners('request').removeAllListeners('clientError')
  return server
}

function listenOn (server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
