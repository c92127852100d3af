/**
 * What another configuration would change: the words of a plan. No behaviour here.
 *
 * All of it can be printed and sent as JSON: secrets are left out, and so is what only code can say.
 */

import type { ConfigFile } from '../config-file.ts'

/** What a file says, and what can be put together in code as well. */
export type Configuration = Pick<ConfigFile, 'server' | 'gateway' | 'config'>

/** An option that differs. */
export interface Change {
  /** Where it stands, `retry.attempts`; `''`: what it is a change of, as a whole. */
  readonly path: string
  /** As it was written; left out: it was not there. Of a secret: `(changed)`. */
  readonly from?: unknown
  /** The same of what comes. */
  readonly to?: unknown
}

export interface ServerChange extends Change {
  /** Whether it holds as soon as the file has been read again, or needs another process. */
  readonly how: 'live' | 'restart'
}

/** Something with a name that is there before and after, and differs. */
export interface NamedChange {
  readonly name: string
  readonly options: readonly Change[]
}

/** What goes, comes and changes of a kind; `unchanged` is a number. */
export interface Changes<Name, Changed> {
  readonly added: readonly Name[]
  readonly removed: readonly Name[]
  readonly changed: readonly Changed[]
  readonly unchanged: number
}

export interface TargetChange {
  readonly url: string
  readonly options: readonly Change[]
}

export interface TargetChanges {
  /** URLs. */
  readonly added: readonly string[]
  /** URLs: they get no new requests, and those under way finish. */
  readonly removed: readonly string[]
  readonly changed: readonly TargetChange[]
  /** How many stay as they are. */
  readonly kept: number
}

export interface BackendChange extends NamedChange {
  /** Options as they hold for the backend: its own, over those of the gateway. */
  readonly options: readonly Change[]
  readonly targets: TargetChanges
  /** false: options of the connections differ, so that all of them are closed and made anew. */
  readonly poolsKept: boolean
}

export interface RouteName {
  readonly name: string
  readonly path: string
}

export interface RouteChange extends RouteName, NamedChange {}

export interface Plan {
  readonly server: readonly ServerChange[]
  /** Options of the whole gateway. What they mean for a backend stands there as well, headers aside. */
  readonly global: readonly Change[]
  readonly backends: Changes<string, BackendChange>
  readonly routes: Changes<RouteName, RouteChange>
  readonly tenants: Changes<string, NamedChange>
  /** What happens to connections that are open, one sentence a line. */
  readonly effects: readonly string[]
}
