/**
 * Names of the DNS: in lower case, without the dot at the end; the root is `.`.
 */
import { domainToASCII } from 'node:url'

/** What hosts and services are called in practice; anything else in an answer is not something to connect to or to ask for. */
const NAME = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/

const BEYOND_ASCII = /[^\0-\x7F]/

/** The name as it is asked for and compared. */
export function normalName (name: string): string {
  const ascii = BEYOND_ASCII.test(name) ? domainToASCII(name) || name : name
  const lower = ascii.toLowerCase()
  return lower.length > 1 && lower.endsWith('.') ? lower.slice(0, -1) : lower
}

/** Whether a normal name may be asked for. */
export function isName (name: string): boolean {
  return NAME.test(name)
}
