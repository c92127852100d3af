/**
 * What the primary and its workers say to each other.
 */
import type { Deed } from '../../lib/admin/index.ts'
import type { PortableFile } from './portable.ts'

/** Somebody has told one worker what to do: all do it. */
interface Done { readonly kind: 'reverseproxy:done', readonly deed: Deed }

export type ToWorker =
  /** Once, and first: the answer to `ready`. */
  | { readonly kind: 'reverseproxy:serve', readonly file: PortableFile }
  | { readonly kind: 'reverseproxy:reload', readonly id: number, readonly file: PortableFile }
  /** A configuration was refused before any worker was told: for the count of it. */
  | { readonly kind: 'reverseproxy:refused' }
  /** Drain, and end with 0. `replaced`: others go on, so connections have time to end by themselves. */
  | { readonly kind: 'reverseproxy:end', readonly replaced: boolean }
  | Done
  | { readonly kind: 'reverseproxy:scraped', readonly id: number, readonly text?: string, readonly error?: string }

export type FromWorker =
  /** It hears: what is said before may be lost. */
  | { readonly kind: 'reverseproxy:ready' }
  | { readonly kind: 'reverseproxy:serving', readonly addresses: readonly string[] }
  /** It cannot serve, and ends. */
  | { readonly kind: 'reverseproxy:failed', readonly error: string }
  | { readonly kind: 'reverseproxy:reloaded', readonly id: number, readonly waiting: readonly string[], readonly error?: string }
  /** It wants to be replaced (a signal of its own), or ends already (a fault). */
  | { readonly kind: 'reverseproxy:leaving', readonly why: string, readonly ends: boolean }
  | Done
  /** Somebody asked it for the metrics of all. */
  | { readonly kind: 'reverseproxy:scrape', readonly id: number }

export type Message = ToWorker | FromWorker

/** Others use the same channel. */
export function isMessage<K extends Message['kind']> (message: unknown, kind: K): message is Extract<Message, { kind: K }> {
  return typeof message === 'object' && message !== null && (message as { kind?: unknown }).kind === kind
}

/** In a worker. A primary that is gone hears nothing, and nobody waits for it. */
export function tellPrimary (message: FromWorker, said: () => void = () => {}): void {
  if (process.send === undefined || !process.connected) said()
  else process.send(message, undefined, {}, () => { said() })
}
