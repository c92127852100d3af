/**
 * Addresses of DNS servers as users and `dns.getServers()` write them.
 */
import { isIP } from 'node:net'

export interface Server {
  /** As it was written, for errors. */
  readonly text: string
  /** An address, or a name that the machine looks up. */
  readonly host: string
  readonly port: number
}

const PORT = 53
const BRACKETS = /^\[([^\]]+)\](?::(\d+))?$/
const HOST_PORT = /^([^:]+)(?::(\d+))?$/

/** `10.0.0.2`, `10.0.0.2:5353`, `fd00::2`, `[fd00::2]`, `[fd00::2]:5353`, `fe80::1%eth0`, `consul:8600`. Throws on anything else. */
export function parseServer (text: string): Server {
  if (isIP(text) !== 0) return { text, host: text, port: PORT }
  const brackets = BRACKETS.exec(text)
  const [, host = '', digits] = brackets ?? HOST_PORT.exec(text) ?? []
  const port = digits === undefined ? PORT : Number(digits)
  if (host === '' || port < 1 || port > 65535 || (brackets !== null && isIP(host) !== 6)) throw new Error(`${JSON.stringify(text)} is no address of a DNS server`)
  return { text, host, port }
}
