/** What would become of the parts of a composite. Those that read other parts are shown as they are written. */
import { createPartCall } from '../composite/call.ts'
import { pathOf } from '../composite/fill.ts'
import { PartScope } from '../composite/scope.ts'
import { PartInputError } from '../errors.ts'
import { MissingValue } from '../composite/values.ts'
import { UNTRIED } from '../routes/call.ts'
import { answerTo, explainCall } from './call.ts'
import type { Gathering } from '../composite/gather.ts'
import type { Part } from '../composite/part.ts'
import type { Call, Gate } from '../types.ts'
import type { CallExplanation } from './types.ts'

export function explainPart (gathering: Gathering, part: Part, gates: readonly Gate[]): CallExplanation {
  const { plan } = part
  const needs = plan.needs.map(index => gathering.parts[index]!.name)
  const named = { part: plan.name, ...(needs.length === 0 ? undefined : { needs }) }
  try {
    return { ...named, ...explainCall(callOf(gathering, part), gates) }
  } catch (error) {
    const { method, path } = asWritten(gathering, part)
    return { ...named, backend: plan.route.config.backend ?? null, method, path, targets: [], chosen: null, error: answerTo(error as Error) }
  }
}

function callOf (gathering: Gathering, part: Part): Call {
  if (part.plan.needs.length > 0 || part.plan.forEach !== undefined) return templateCall(gathering, part)
  try {
    return createPartCall(part.plan, part, new PartScope(gathering, part, undefined), gathering, gathering.tools)
  } catch (error) {
    // it reads the client's body, say, and there is none
    if (error instanceof MissingValue || error instanceof PartInputError) return templateCall(gathering, part)
    throw error
  }
}

/** A call with everything but the values that are not there yet. */
function templateCall (gathering: Gathering, part: Part): Call {
  const { request, reply, record, deadline, tools } = gathering
  const { backend, settings } = tools.lookup(part.plan.route, record.scope)
  return { request, reply, record, backend, settings, ...asWritten(gathering, part), headers: [], edits: undefined, body: { kind: 'none' }, timeouts: settings.timeouts, deadline, owner: part, upgrade: undefined, ...UNTRIED }
}

function asWritten ({ request: { raw } }: Gathering, { plan: { config } }: Part): { method: string, path: string } {
  const path = typeof config.path === 'function' ? '(a function)' : config.path ?? pathOf(raw.url!)
  const query = typeof config.query === 'object' ? Object.entries(config.query).map(([name, value]) => `${name}=${[value].flat().join(',')}`).join('&') : ''
  return { method: config.method ?? (raw.method === 'HEAD' ? 'GET' : raw.method!), path: query === '' ? path : `${path}?${query}` }
}
