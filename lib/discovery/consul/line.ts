/** A connection to Consul: TCP, TLS or a unix socket. It lives as long as one `resolve` or `watch`. */
import { Client } from 'undici'
import { splitTargetUrl } from '../../options/target-url.ts'
import type { Dispatcher } from 'undici'
import type { TargetAddress } from '../../options/target-url.ts'
import type { ConsulDiscoveryConfig } from '../types.ts'

export interface Line {
  readonly request: (options: Dispatcher.RequestOptions) => Promise<Dispatcher.ResponseData>
  /** Ends what is under way, and the connection. */
  close (): Promise<void>
}

/** The parts of Consul's address. @throws RangeError */
export function consulAddress (url: string): TargetAddress {
  const address = splitTargetUrl(url)
  if (typeof address === 'string') throw new RangeError(`the address of Consul ${address}`)
  return address
}

/** Connects with the first request. When the signal aborts, requests reject and the connection is closed. */
export function openLine (config: ConsulDiscoveryConfig, signal: AbortSignal): Line {
  const { origin, socketPath } = consulAddress(config.address)
  const client = new Client(origin, { pipelining: 1, connect: connectOptions(config, socketPath) })
  let ended: Promise<void> | undefined

  function end (): void {
    ended ??= client.destroy(new Error('it is no longer wanted'))
  }

  if (signal.aborted) end()
  else signal.addEventListener('abort', end, { once: true })

  return {
    request: options => client.request(options),
    async close () {
      signal.removeEventListener('abort', end)
      end()
      await ended
    }
  }
}

function connectOptions ({ tls, timeout }: ConsulDiscoveryConfig, socketPath: string | undefined): NonNullable<Client.Options['connect']> {
  return {
    timeout,
    rejectUnauthorized: tls.rejectUnauthorized ?? true,
    ...(tls.servername === undefined ? undefined : { servername: tls.servername }),
    ...(tls.ca === undefined ? undefined : { ca: tls.ca as string | string[] }),
    ...(tls.cert === undefined ? undefined : { cert: tls.cert }),
    ...(tls.key === undefined ? undefined : { key: tls.key }),
    ...(socketPath === undefined ? undefined : { socketPath })
  }
}
