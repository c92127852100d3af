/**
 * What went wrong with a new configuration, for the log: once. A mistake says all of it in its message; a fault has its stack.
 */
import type { FastifyBaseLogger } from 'fastify'
import { UsageError } from '../usage.ts'

/** `what`: what follows from it. */
export function tellRefusal (log: Pick<FastifyBaseLogger, 'error'>, what: string, error: Error): void {
  if (isMistake(error)) log.error(`${what}: ${error.message}`)
  else log.error({ err: error }, what)
}

/** Wrong options, a port that is in use, a certificate that does not fit; all of these have a code. */
export function isMistake (error: Error): boolean {
  return error instanceof UsageError || typeof (error as NodeJS.ErrnoException).code === 'string'
}

/** What a worker has told, or what has become of it: a stack would be the primary's. */
export function workerError (message: string): Error {
  return Object.assign(new Error(message), { code: 'RP_ERR_WORKER' })
}
