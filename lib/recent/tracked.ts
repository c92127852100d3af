/** What is kept of a request until it ends. */
import type { Part } from '../composite/part.ts'
import type { RouteNameOf } from '../routes/forwarding.ts'
import type { Attempt } from '../types.ts'

/** A class, as there is one per request. */
export class Tracked {
  /** Those of a composite. */
  parts: readonly Part[] | undefined = undefined
  #backend: string | undefined = undefined
  /** Attempts whose backend is not that of the first one. */
  #others: Map<Attempt, string> | undefined = undefined

  /** `startedAt`: clock time. */
  constructor (readonly startedAt: number, readonly nameOf: RouteNameOf) {}

  note (attempt: Attempt, backend: string): void {
    this.#backend ??= backend
    if (backend !== this.#backend) (this.#others ??= new Map()).set(attempt, backend)
  }

  /** Of an attempt that was noted. */
  backendOf (attempt: Attempt): string | undefined {
    return this.#others?.get(attempt) ?? this.#backend
  }
}
