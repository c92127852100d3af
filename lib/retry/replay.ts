/** Keeps the client's body for another try, where it is small enough. */
import { broken, isTorn, payloadOf } from '../forward/payload.ts'
import type { Call } from '../types.ts'

/**
 * Reads a body of at most `limit` bytes and makes it the call's value. A longer one stays a stream, as it was, and can be
 * sent once. undefined: nothing to wait for. @throws AbortedError when the client goes before its body is complete
 */
export function keepForReplay (call: Call, limit: number): Promise<void> | undefined {
  const { body, request: { raw } } = call
  if (body.kind === 'none' || body.kind === 'value') return undefined
  // a client that asks first (RFC 9110 section 10.1.1) does not want to send it for nothing
  if (raw.headers.expect !== undefined) return undefined
  const most = Math.min(limit, call.settings.bodyLimit)
  if (body.kind === 'chunked') return collect(call, most)
  if (body.length > most) return undefined
  if (raw.readableLength < body.length) return collect(call, most)
  keep(call, raw.read(body.length) as Buffer)
  return undefined
}

/** Whether the body can be sent once more. */
export function canReplay ({ body, request }: Call): boolean {
  // a stream that nobody has begun to read is as good as new
  return body.kind === 'none' || body.kind === 'value' || !payloadOf(request).readableDidRead
}

function keep (call: Call, value: Buffer): void {
  call.body = { kind: 'value', value, contentType: undefined, verbatim: true }
}

function collect (call: Call, limit: number): Promise<void> {
  const raw = payloadOf(call.request)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0

    function stop (): void {
      raw.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone)
    }

    function onData (chunk: Buffer): void {
      chunks.push(chunk)
      size += chunk.length
      if (size <= limit) return
      stop()
      raw.pause()
      // back to where it was: whoever sends it begins at its first byte
      raw.unshift(Buffer.concat(chunks))
      resolve()
    }

    function onEnd (): void {
      stop()
      if (isTorn(raw)) {
        reject(broken(raw))
        return
      }
      keep(call, Buffer.concat(chunks))
      resolve()
    }

    function onGone (): void {
      stop()
      reject(broken(raw))
    }

    if (raw.readableEnded) onEnd()
    else if (raw.destroyed) onGone()
    else raw.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone).resume()
  })
}
