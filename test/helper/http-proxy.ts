/** A small HTTP proxy that connects (CONNECT), and remembers what it was asked for. */
import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { TestLike } from './time.ts'

export interface HttpProxy {
  readonly url: string
  readonly port: number
  /** What it was asked to connect to, in order: `host:port`, with the credentials that were shown. */
  readonly asked: Array<{ readonly authority: string, readonly authorization: string | undefined }>
  /** Requests that were not CONNECT. */
  readonly others: string[]
  /** Tunnels that are open now. */
  readonly open: number
}

/** `answer`: a status to refuse with; undefined to connect; `silent` to say nothing. `to`: connects there whatever was asked. */
export async function httpProxy (t: TestLike, { answer = () => undefined, to }: { answer?: (authorization: string | undefined) => number | 'silent' | undefined, to?: number } = {}): Promise<HttpProxy> {
  const asked: Array<{ authority: string, authorization: string | undefined }> = []
  const others: string[] = []
  const tunnels = new Set<Socket>()
  const clients = new Set<Socket>()
  const server = createServer((request, response) => {
    others.push(request.url!)
    response.writeHead(400).end()
  })
  server.on('connection', socket => { clients.add(socket) })
  server.on('connect', (request, client: Socket, head: Buffer) => {
    const authorization = request.headers['proxy-authorization']
    asked.push({ authority: request.url!, authorization })
    client.on('error', () => {})
    const status = answer(authorization)
    if (status === 'silent') return
    if (status !== undefined) {
      client.end(`HTTP/1.1 ${status} No\r\nContent-Length: 6\r\nProxy-Authenticate: Basic\r\n\r\nsecret`)
      return
    }
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(request.url!) ?? []
    const tunnel = connect(to ?? Number(port), to === undefined ? host.replace(/^\[|\]$/g, '') : '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      tunnel.write(head)
      tunnel.pipe(client).pipe(tunnel)
    })
    tunnels.add(tunnel)
    tunnel.on('error', () => { client.destroy() }).on('close', () => { tunnels.delete(tunnel); client.destroy() })
    client.on('close', () => { tunnel.destroy() })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    for (const socket of [...tunnels, ...clients]) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, port, asked, others, get open () { return tunnels.size } }
}
