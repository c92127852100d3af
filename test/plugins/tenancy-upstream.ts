/** Backends that know their tenants, and gateways with tenants before them. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { httpUpstream, startGateway, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions, HttpUpstream, StartedGateway, TestLike } from '../helper.ts'

export const TENANT = 'x-tenant-id'

/** A backend that answers with its name, and can be made to fail or wait for some tenants. */
export interface TenantUpstream extends HttpUpstream {
  /** Tenants whose requests are answered with a 500; `''`: those without one. */
  readonly failing: Set<string>
  /** Requests by tenant. */
  readonly seen: Record<string, number>
  /** Requests of health checks. */
  readonly checks: () => number
  /** Connections ever accepted, and those open now, each by the tenants that have used it. */
  readonly connections: ReadonlyArray<ReadonlySet<string>>
  readonly open: () => number
  /** Requests that wait for `release`: those whose path begins with /wait. */
  readonly waiting: Array<{ readonly tenant: string, readonly url: string, readonly response: ServerResponse }>
  /** Answers all that wait. */
  release (): void
}

export async function tenantUpstream (t: TestLike, name = 'up'): Promise<TenantUpstream> {
  const failing = new Set<string>()
  const seen: Record<string, number> = {}
  const connections = new Map<Socket, Set<string>>()
  const waiting: TenantUpstream['waiting'] = []
  let checks = 0
  let open = 0
  const upstream = await httpUpstream(t, (request: IncomingMessage, response: ServerResponse) => {
    const tenant = String(request.headers[TENANT] ?? '')
    const url = request.url!
    if (url === '/health') {
      checks++
      response.end()
      return
    }
    connections.get(request.socket)!.add(tenant)
    seen[tenant] = (seen[tenant] ?? 0) + 1
    if (url.startsWith('/wait')) {
      waiting.push({ tenant, url, response })
      return
    }
    response.statusCode = failing.has(tenant) ? 500 : 200
    response.end(name)
  })
  upstream.server.on('connection', socket => {
    connections.set(socket, new Set())
    open++
    socket.once('close', () => { open-- })
  })
  return {
    ...upstream,
    failing,
    seen,
    waiting,
    checks: () => checks,
    get connections () { return [...connections.values()].filter(tenants => tenants.size > 0) },
    open: () => open,
    release () { for (const { response } of waiting.splice(0)) response.end(name) }
  }
}

export interface TenantGateway extends StartedGateway {
  /** Asks as a tenant; undefined: as nobody in particular. Gives status and body. */
  ask (tenant?: string, path?: string): Promise<string>
  /** The same several times in a row. */
  askTimes (times: number, tenant?: string, path?: string): Promise<string[]>
}

/** A gateway that forwards `/*` to `up`, unless `configure` says otherwise. */
export async function tenantGateway (t: TestLike, options: GatewayOptions | Record<string, unknown>, configure?: Configure): Promise<TenantGateway> {
  const gateway = await startGateway(t, { tenancy: {}, ...options } as GatewayOptions, configure)
  async function ask (tenant?: string, path = '/x'): Promise<string> {
    const answer = await fetch(gateway.url + path, { headers: tenant === undefined ? {} : { [TENANT]: tenant } })
    return `${answer.status} ${answer.status < 300 ? await answer.text() : await answer.text().then(text => answer.status === 500 ? text : (JSON.parse(text) as { code: string }).code)}`
  }
  return {
    ...gateway,
    ask,
    async askTimes (times, tenant, path) {
      const answers: string[] = []
      for (let n = 0; n < times; n++) answers.push(await ask(tenant, path))
      return answers
    }
  }
}

/** Waits, and says so when it was in vain. */
export async function until (what: string, predicate: () => boolean, ms = 5_000): Promise<void> {
  if (!await waitFor(predicate, ms)) throw new Error(`in vain: ${what}`)
}
