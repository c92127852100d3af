/** From a context to a backend's headers, with the propagator that the app has set. */
import type { Context, TextMapSetter } from '@opentelemetry/api'
import type { Settings } from '../routes/settings.ts'
import type { Call, HeaderEdits, RawHeaders } from '../types.ts'
import type { Api } from './load.ts'

/** Names of headers, lower case. */
interface Names {
  /** The user's rules speak of them: they come before what is written here. */
  readonly withheld: ReadonlySet<string>
  /** Written here, in place of what the client said. */
  readonly written: ReadonlySet<string>
}

interface Carrier extends Names { readonly headers: RawHeaders }

const setter: TextMapSetter<Carrier> = {
  set ({ headers, withheld }, name, value) {
    if (!withheld.has(name.toLowerCase())) headers.push(name, value)
  }
}

export interface Propagation {
  /** The call's headers with those of the trace in place of what the client said of its own. */
  headersOf (call: Call, context: Context): RawHeaders
}

export function createPropagation ({ propagation }: Api): Propagation {
  const known = new WeakMap<Settings, Names>()

  /** undefined: there is no propagator. */
  function namesFor ({ backend: { config }, settings }: Call): Names | undefined {
    let names = known.get(settings)
    if (names === undefined) {
      const fields = propagation.fields().map(name => name.toLowerCase())
      if (fields.length === 0) return undefined
      // equal settings come of equal rules
      const withheld = new Set([config.common, config.headers, settings.proxy.headers].flatMap(({ request }) => namesIn(request)))
      known.set(settings, names = { withheld, written: new Set(fields.filter(name => !withheld.has(name))) })
    }
    return names
  }

  return {
    headersOf (call, context) {
      const names = namesFor(call)
      if (names === undefined) return call.headers
      const headers: RawHeaders = []
      for (let i = 0; i < call.headers.length; i += 2) {
        if (!names.written.has(call.headers[i]!.toLowerCase())) headers.push(call.headers[i]!, call.headers[i + 1]!)
      }
      propagation.inject(context, { ...names, headers }, setter)
      return headers
    }
  }
}

function namesIn ({ remove = [], set = {}, append = {} }: HeaderEdits): string[] {
  return [...remove, ...Object.keys(set), ...Object.keys(append)].map(name => name.toLowerCase())
}
