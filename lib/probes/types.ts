/** The words of probes as types. No behaviour here. */

/** Parsed, defaulted, frozen. */
export interface ProbesConfig {
  /** Where it says that the process can answer; undefined: nowhere. */
  readonly live: string | undefined
  /** Where it says whether it should get requests; undefined: nowhere. */
  readonly ready: string | undefined
  /** Backends that must be usable; undefined: one of all is enough. */
  readonly required: readonly string[] | undefined
}

/** Whether the gateway should get requests now, and why not. */
export interface Readiness {
  readonly ready: boolean
  /** Why it is not, in plain words without addresses; empty: it is. */
  readonly reasons: readonly string[]
}
