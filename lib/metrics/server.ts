/** A server of its own for metrics: one path, GET and HEAD. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'

export interface MetricsServer {
  readonly host: string
  readonly port: number
  /** Where it shows it, and what: another gateway may take its place. */
  path: string
  registry: Registry
  /** Where it listens; undefined: it does not. */
  readonly address: AddressInfo | undefined
  /** Rejects when the address is taken. */
  listen (): Promise<void>
  close (): Promise<void>
}

export function createMetricsServer ({ host, port, path }: Pick<MetricsServer, 'host' | 'port' | 'path'>, registry: Registry): MetricsServer {
  const server = createServer((request, response) => {
    request.resume()
    if (request.url?.split('?')[0] !== metrics.path) {
      response.writeHead(404).end()
      return
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end()
      return
    }
    metrics.registry.metrics().then(
      text => { response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(text) },
      () => { response.writeHead(500).end() }
    )
  })
  const metrics: MetricsServer = {
    host,
    port,
    path,
    registry,
    get address () { return server.address() as AddressInfo | null ?? undefined },
    listen: () => new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, () => {
        server.off('error', reject)
        resolve()
      })
    }),
    close: () => new Promise(resolve => {
      server.close(() => { resolve() })
      server.closeIdleConnections()
    })
  }
  return metrics
}
