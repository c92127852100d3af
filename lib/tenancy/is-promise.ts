/**
 * Whether something must be waited for. Query builders have a `then`, too, without being promises.
 */
export function isPromise (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
