/** OpenTelemetry's API: a package that is only there where somebody traces. */
import { OptionsError } from '../errors.ts'

/** Kept out of types.ts, which users without the package read. */
export type Api = typeof import('@opentelemetry/api')

/** @throws OptionsError when the package is not installed */
export async function loadApi (library: () => Promise<Api> = () => import('@opentelemetry/api')): Promise<Api> {
  try {
    return await library()
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error
    throw new OptionsError([{ path: 'tracing', rule: 'needs the package "@opentelemetry/api": npm install @opentelemetry/api' }])
  }
}
