/** What `reverseproxy.explain()` takes and gives. Data only: it can be sent as JSON. */
import type { TargetState, Timeouts } from '../types.ts'

export interface RequestLike {
  /** Default GET. Any that Node knows; others are a BadRequestError. */
  readonly method?: string
  /** Path and query; default `/`. A concrete one: `/users/7`, not `/users/:id`. */
  readonly url?: string
  /** `host` is `localhost` by default. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>
  /** Default 127.0.0.1. */
  readonly remoteAddress?: string
}

export interface Explanation {
  readonly route: {
    /** null: none was reached. */
    readonly name: string | null
    /** As it was declared. */
    readonly path: string | null
    /** `other`: a handler of the app's own, which was not run; `none`: no route, or something before it has answered. */
    readonly kind: 'proxy' | 'composite' | 'other' | 'none'
  }
  /** null: nobody in particular. */
  readonly tenant: { readonly id: string, readonly known: boolean } | null
  /** Of a composite one for each part, of `proxy` one. */
  readonly calls: readonly CallExplanation[]
  /** What the client would get without any backend being asked: a 404, a refusal of a hook, a missing tenant. */
  readonly answered?: AnsweredWith
  /** What may have been meant otherwise: the path of a route has been given, say, and not one that a client asks for. */
  readonly note?: string
}

export interface AnsweredWith {
  readonly statusCode: number
  readonly code?: string
  readonly message?: string
}

export interface CallExplanation {
  /** Name of the part. */
  readonly part?: string
  /** Parts that this one waits for. Its path is a template then. */
  readonly needs?: readonly string[]
  readonly backend: string | null
  readonly method: string
  /** After rewriting, without the base path of the target. */
  readonly path: string
  readonly settings?: {
    readonly timeouts: Timeouts
    /** Tries in all. */
    readonly attempts: number
    readonly circuitBreaker: boolean
    /** Calls of the backend at once; left out: no limit. */
    readonly concurrency?: { readonly max: number, readonly taken: number, readonly waiting: number }
  }
  readonly balancer?: string
  readonly targets: readonly TargetExplanation[]
  /** URL of the target; null: none, or chance decides among those that are not excluded. */
  readonly chosen: string | null
  /** Why there would be no call. */
  readonly error?: AnsweredWith
}

export interface TargetExplanation {
  readonly url: string
  readonly state: TargetState
  readonly weight: number
  readonly inflight: number
  readonly chosen: boolean
  /** Why it would not be chosen: `draining`, `inactive`, `weight 0`, `unhealthy`, `ejected`, `circuit-open …`, `limit …`, `panic`, `warming`. */
  readonly excluded?: string
}
