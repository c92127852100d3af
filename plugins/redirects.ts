/**
 * Redirects that the gateway follows itself, where a backend or route asks for it. Stage: a layer around each call.
 *
 * Only targets that are configured are ever reached. A redirect that cannot be followed (to elsewhere, or with a
 * body that is gone) goes to the client as it is.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { TooManyRedirectsError } from '../lib/errors.ts'
import { resolveRedirect } from '../lib/redirects.ts'
import type { Answer, Call, Layer, Send } from '../lib/types.ts'

const redirects: FastifyPluginAsync = async function redirects (fastify) {
  const { reverseproxy } = fastify

  const layer: Layer = next => function followRedirects (call) {
    const policy = call.settings.redirects
    if (policy === 'pass') return next(call)
    // nearly all answers are no redirects, and for them one promise more is enough
    return next(call).then(answer => answer.status < 300 || answer.status > 399 ? answer : follow(next, call, answer, policy.follow))
  }

  async function follow (next: Send, first: Call, redirect: Answer, limit: number) {
    let call = first
    let answer = redirect
    for (let followed = 0; ; followed++) {
      const redirected = resolveRedirect(call, answer, origin => reverseproxy.registry.findOrigin(origin, call.record.scope))
      if (redirected === undefined) return answer
      answer.discard()
      if (followed >= limit) throw new TooManyRedirectsError({ cause: new Error(`more than ${limit} redirects, the last one to ${redirected.path}`) })
      call = redirected
      answer = await next(call)
    }
  }

  reverseproxy.layer('redirects', layer)
}

export default fp(redirects, { name: 'reverseproxy-redirects', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends'] })
