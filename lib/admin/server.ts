/** A server of its own for the admin interface. */
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface AdminServer {
  readonly host: string
  readonly port: number
  /** Answers: another gateway may take its place. */
  answer: RequestListener
  /** Where it listens; undefined: it does not. */
  readonly address: AddressInfo | undefined
  /** Rejects when the address cannot be had. */
  listen (): Promise<void>
  /** Resolves when the last connection has ended. */
  close (): Promise<void>
  /** Ends all connections. */
  cut (): void
}

export function createAdminServer ({ host, port }: Pick<AdminServer, 'host' | 'port'>, answer: RequestListener): AdminServer {
  const server = createServer((request, response) => { admin.answer(request, response) })
  const admin: AdminServer = {
    host,
    port,
    answer,
    get address () { return server.address() as AddressInfo | null ?? undefined },
    listen: () => new Promise((resolve, reject) => {
      function fail (cause: Error): void {
        reject(new Error(`the admin interface cannot listen on ${host}:${port}: ${cause.message}`, { cause }))
      }
      server.once('error', fail)
      server.listen({ host, port }, () => {
        server.off('error', fail)
        resolve()
      })
    }),
    close: () => new Promise(resolve => {
      // connections that fall idle from now on
      server.keepAliveTimeout = 1
      server.close(() => { resolve() })
      server.closeIdleConnections()
    }),
    cut () { server.closeAllConnections() }
  }
  return admin
}
