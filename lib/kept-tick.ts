/**
 * V8 forgets the shape of objects of which none is left. Where garbage is collected while an app starts, that may happen to what
 * `process.nextTick` queues, between its first calls and its compilation. What V8 has learned of the function is then of no use, it
 * does not learn anew, and each call takes three times as long for as long as the process lives (Node 20 to 24): a tenth of the CPU
 * that a small request takes. One such object that is kept keeps the shape.
 */
import { executionAsyncResource } from 'node:async_hooks'

export const kept: { tick: object | undefined } = { tick: undefined }

process.nextTick(() => { kept.tick = executionAsyncResource() })
