/** What comes before and after an answer proper: 103 Early Hints (RFC 8297) and trailers (RFC 9110 section 6.5). */
import { isHopByHop, takesTrailers } from '../headers/names.ts'
import type { Call } from '../types.ts'

type Fields = Record<string, string | string[]>

/** To clients that can take them; Node sends none without a `Link`, and refuses malformed ones. */
export function passEarlyHints (headers: Fields, { reply, request }: Call): void {
  const response = reply.raw
  if (headers.link === undefined || response.headersSent || request.raw.httpVersion === '1.0') return
  try {
    response.writeEarlyHints(headers)
  } catch {
    // a hint is not worth an answer
  }
}

/**
 * To clients that have asked for them, before the body's end is written. `Trailer` does not announce them: it would
 * have to be known before the body.
 */
export function passTrailers (trailers: Fields, { reply, request }: Call): void {
  const { te } = request.raw.headers
  if (typeof te !== 'string' || !takesTrailers(te)) return
  try {
    reply.raw.addTrailers(Object.fromEntries(Object.entries(trailers).filter(([name]) => isTrailer(name))) as Record<string, string>)
  } catch {
    // a trailer that Node would not send is no reason to lose the answer
  }
}

/** RFC 9110 section 6.5.1: nothing that frames, routes or describes the message may come after it. */
function isTrailer (name: string): boolean {
  return !isHopByHop(name) && name !== 'host' && !name.startsWith('content-')
}
