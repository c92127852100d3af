/**
 * Consul: the instances of one service, followed with blocking queries.
 *
 * Source of the rules: Consul's documentation of blocking queries ("Implementation Details") and of the health endpoint.
 */
import { createPace } from './consul/pace.ts'
import { readInstances } from './consul/instances.ts'
import { createQuestions } from './consul/questions.ts'
import { openLine } from './consul/line.ts'
import type { Line } from './consul/line.ts'
import type { Question } from './consul/questions.ts'
import type { ConsulDiscoveryConfig, DiscoveredTarget, DiscoveryProvider, ProviderTools } from './types.ts'

/** Questions in a row that are asked at once; after them one a `PAUSE`, ms. Consul's advice is a token bucket that allows a few. */
const BURST = 5
const PAUSE = 1000
/** How often Consul is asked where it gives no index that one could wait with, ms. */
const POLL = 15_000

/**
 * `resolve` asks once; `watch` lets Consul hold its questions until something changes, and yields the list when it is another one
 * than that of the last `resolve` or yield.
 *
 * - An index that goes backwards is dropped: the next question is not held, and its index counts from then on.
 * - An index below 1 is never sent: without a usable one Consul is asked every 15 s (or every `wait`, where that is shorter).
 * - Answers that come at once again and again (a service that changes all the time, a proxy that does not hold questions) are
 *   limited: five in a row, then one a second.
 * - Connections live as long as the `resolve` or `watch` they were made for, and end with its signal.
 *
 * @throws (both) an Error that says what Consul answered, or why it could not be asked; the token is never part of it. After a
 *   `Retry-After` the next question waits until then, for at most a minute.
 * @throws RangeError at once for an address that is none
 */
export function createConsul (config: ConsulDiscoveryConfig, tools: ProviderTools): DiscoveryProvider {
  const questions = createQuestions(config, tools)
  const takeTurn = createPace(tools, BURST, PAUSE)
  /** Where the last answer stood; 0: there is nothing to wait for. */
  let index = 0n
  /** The last list that was handed out, as text. */
  let known: string | undefined

  async function ask (line: Line, question: Question): Promise<{ targets: readonly DiscoveredTarget[], isNew: boolean, hasIndex: boolean }> {
    const answer = await questions.ask(line, question)
    index = answer.index < index ? 0n : answer.index
    const targets = readInstances(answer.entries, config, tools.warn)
    // the same targets always make the same text, for their order is fixed
    const text = JSON.stringify(targets)
    const isNew = text !== known
    known = text
    return { targets, isNew, hasIndex: answer.index > 0n }
  }

  return {
    async resolve (signal) {
      const line = openLine(config, signal)
      try {
        await questions.ready(signal)
        return (await ask(line, { index: 0n, signal })).targets
      } finally {
        await line.close()
      }
    },

    async * watch (signal) {
      const line = openLine(config, signal)
      try {
        await questions.ready(signal)
        while (!signal.aborted) {
          await takeTurn(signal)
          const { targets, isNew, hasIndex } = await ask(line, { index, signal })
          if (isNew) yield targets
          if (!hasIndex) await tools.sleep(Math.min(POLL, config.wait), signal)
        }
      } catch (error) {
        // to be told to end is no failure
        if (!signal.aborted) throw error
      } finally {
        await line.close()
      }
    }
  }
}
