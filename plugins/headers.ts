/**
 * What goes out and what comes back, by name. Stage: a layer around every call (requests), and policies for the
 * handlers (answers). Reads: the configuration, the call's backend and route. Writes: `call.headers`, and what a
 * `modifyRequest` hook changes about the call.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { bagOfList } from '../lib/headers/bag.ts'
import { compilePolicies } from '../lib/headers/policies.ts'
import { checkMethod, checkPath } from '../lib/routes/call.ts'
import type { HeaderPolicies } from '../lib/headers/policies.ts'
import type { BackendConfig, Call, Layer, LimitsConfig, ModifyRequest, ProxyConfig } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Compiles the header policies of a route towards a backend. Owner: plugins/headers.ts */
    policies: (proxy: ProxyConfig, backend: BackendConfig, limits: LimitsConfig) => HeaderPolicies
  }
}

const headers: FastifyPluginAsync = async function headers (fastify) {
  const { reverseproxy } = fastify

  const layer: Layer = next => function writeHeaders (call) {
    const { policies, modifyRequest } = call.settings
    try {
      call.headers = policies.request(call.request)
      if (call.record.tenantHeaders !== undefined) applyEdits(call, call.record.tenantHeaders)
      // a call of the app's own was checked when it was made
      if (call.edits !== undefined) applyEdits(call, call.edits, call.reply.from === undefined)
      if (call.body.kind === 'value' && call.body.verbatim === undefined) describeValue(call)
      else if (call.body.kind === 'chunked' && call.body.decoded === true) bagOfList(call.headers).delete('content-encoding')
    } catch (error) {
      return Promise.reject(error)
    }
    return modifyRequest === undefined ? next(call) : modify(call, modifyRequest).then(next)
  }

  reverseproxy.policies = (proxy, backend, limits) => compilePolicies(reverseproxy.config, proxy, backend, limits)
  reverseproxy.layer('headers', layer)
}

/** Headers of `reply.proxy()`, or of a tenant's hooks. `lists`: there may be some. */
function applyEdits (call: Call, edits: NonNullable<Call['edits']>, lists = false): void {
  const bag = bagOfList(call.headers)
  for (const [name, value] of Object.entries(edits)) {
    if (value === undefined) bag.delete(name)
    else if (!lists || typeof value === 'string') bag.set(name, value as string)
    else {
      bag.delete(name)
      for (const one of value) bag.append(name, one)
    }
  }
}

/** A body of our own has its own type, and is not compressed as the client's was. */
function describeValue (call: Call): void {
  const bag = bagOfList(call.headers)
  const { contentType } = call.body as { contentType: string | undefined }
  bag.delete('content-encoding')
  if (contentType !== undefined && Object.keys(call.edits ?? {}).every(name => name.toLowerCase() !== 'content-type')) bag.set('content-type', contentType)
}

async function modify (call: Call, hook: ModifyRequest): Promise<Call> {
  const draft = { method: call.method, path: call.path, headers: bagOfList(call.headers) }
  await hook(draft, call.request)
  if (draft.path !== call.path) call.path = checkPath(draft.path)
  if (draft.method !== call.method) call.method = checkMethod(draft.method)
  return call
}

export default fp(headers, { name: 'reverseproxy-headers', fastify: '5.x', dependencies: ['reverseproxy-core'] })
