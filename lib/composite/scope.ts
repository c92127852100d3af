/** What the templates and functions of one call may read: the request, the parts that are over, and the value at hand. */
import { toValue } from '../combine/index.ts'
import { viewOf } from './part.ts'
import type { FastifyRequest } from 'fastify'
import type { Json } from '../combine/index.ts'
import type { CallScope } from './call.ts'
import type { Part } from './part.ts'
import type { Known } from './values.ts'

/** What all calls of one request have in common. */
export interface Surroundings {
  readonly request: FastifyRequest
  readonly parts: readonly Part[]
  readonly clientBody: Buffer | undefined
  /** The client's body; undefined: none, or not JSON. */
  readonly clientJson: Json | undefined
}

export class PartScope implements CallScope {
  #view: Readonly<Record<string, unknown>> | undefined = undefined

  constructor (
    readonly around: Surroundings,
    readonly reader: Part,
    /** Within forEach: the value, or with batch the list of values. */
    readonly item: Json | undefined
  ) {}

  get request (): FastifyRequest {
    return this.around.request
  }

  get clientBody (): Buffer | undefined {
    return this.around.clientBody
  }

  part (name: string): Known {
    return this.around.parts.find(part => part.name === name)!
  }

  requestBody (): Json | undefined {
    return this.around.clientJson
  }

  get view (): Readonly<Record<string, unknown>> {
    this.#view ??= this.#makeView()
    return this.#view
  }

  #makeView (): Readonly<Record<string, unknown>> {
    const view: Record<string, unknown> = {}
    const { needs, config } = this.reader.plan
    for (const index of needs) {
      const part = this.around.parts[index]!
      view[part.name] = viewOf(part)
    }
    if (this.item !== undefined) view[config.forEach?.batch === undefined ? 'item' : 'items'] = toValue(this.item)
    return view
  }
}
