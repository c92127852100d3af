/** After two hundred calls that were given up, refused or cut short the first good one is answered at once, and nothing is left. */
import { respond, wait } from '../helper.ts'
import { GOOD, OFF, testFault } from './fault.ts'
import type { Fault } from './fault.ts'

const HUGE = respond(503, [], Buffer.alloc(256 * 1024, 'x'))

const FAULTS: Readonly<Record<string, Fault>> = {
  'a 503 with a big body, given up for a retry': { script: HUGE, backend: { ...OFF, retry: { attempts: 3, backoff: { initial: 1, max: 1 }, budget: { ratio: 1, min: 1_000 } } }, statuses: [503] },
  'a try that takes too long': { script: [], backend: { ...OFF, retry: { attempts: 2, perTryTimeout: 200, backoff: { initial: 1, max: 1 }, budget: { ratio: 1, min: 1_000 } } }, statuses: [504] },
  'the loser of a hedge': {
    // one of two never answers
    script: ({ nth }) => nth % 2 === 0 ? [] : GOOD,
    backend: { ...OFF, retry: { attempts: 2, hedge: { after: 20 }, budget: { ratio: 1, min: 1_000 } }, timeout: { headers: 800 } },
    statuses: [200, 504]
  },
  'no place in the queue in time': { script: [wait(60), GOOD], backend: { ...OFF, concurrency: { max: 2, queue: 5, queueTimeout: 30 } }, statuses: [200, 503] },
  'clients that do not wait': { script: [], backend: OFF, statuses: [0], ms: 30 },
  'an open breaker': { script: respond(500, [], 'bad'), backend: { circuitBreaker: { failureThreshold: 3, resetTimeout: 100 } }, statuses: [500, 503] },
  'an ejected target': { script: respond(500, [], 'bad'), backend: { ...OFF, outlier: { consecutive: 3, baseEjection: 100, maxEjection: 100, maxEjectedPercent: 100 } }, statuses: [500, 503] }
}

for (const [name, fault] of Object.entries(FAULTS)) testFault(name, fault)
