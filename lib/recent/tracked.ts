/** What is kept of a request until it ends. */
import type { Part } from '../composite/part.ts'
import type { RouteNameOf } from '../routes/forwarding.ts'

/** A class, as there is one per request. */
export class Tracked {
  /** Those of a composite. */
  parts: readonly Part[] | undefined = undefined

  /** `startedAt`: clock time. */
  constructor (readonly startedAt: number, readonly nameOf: RouteNameOf) {}
}
