/** The same inputs give the same answer, byte for byte, whatever the order in which backends answer. */
import t from 'tap'
import fc from 'fast-check'
import { request } from 'node:http'
import { BREAK, HOLD, json, startBackends, startGateway, status, Whole } from '../helper.ts'
import type { Asked, TestLike } from '../helper.ts'
import type { CompositeOptions, PartOptions } from '../../lib/options/index.ts'

const RUNS = Number(process.env['RUNS'] ?? 300)

// ---- what is asked for

/** What a backend does, whatever it is asked. */
interface Behaviour { readonly kind: 'json' | 'status' | 'break' | 'bad' | 'empty', readonly text: string, readonly status: number, readonly headers: Readonly<Record<string, string | string[]>> }

interface Scenario { readonly composite: CompositeOptions, readonly behaviours: readonly Behaviour[] }

const KEYS = ['k0', 'k1', 'k2', 'k3', '__proto__']
const value = fc.constantFrom('1.0', '12345678901234567890', '"x"', '"\\u00e9"', 'null', 'true', 'false', '0', '""', '{"p":1}', '{"p":2,"q":[1]}', '{"p":{"r":1}}', '[]', '[1,2]', '[3,1,1,"x"]', '-0')
const objectText = fc.array(fc.tuple(fc.constantFrom(...KEYS), value), { maxLength: 5 }).map(entries => `{${entries.map(([key, text]) => `"${key}": ${text}`).join(',')}}`)
const bodyText = fc.oneof({ weight: 8, arbitrary: objectText }, { weight: 2, arbitrary: fc.constantFrom('[1, 2]', '[]', '["a",{"k0":1}]') }, { weight: 1, arbitrary: value })

const behaviour: fc.Arbitrary<Behaviour> = fc.record({
  kind: fc.oneof({ weight: 7, arbitrary: fc.constant<'json'>('json') }, { weight: 3, arbitrary: fc.constantFrom<Behaviour['kind']>('status', 'break', 'bad', 'empty') }),
  text: bodyText,
  status: fc.constantFrom(500, 404, 403),
  headers: fc.constantFrom({}, { 'set-cookie': ['a=1', 'b=2'] }, { 'set-cookie': 'a=1' }, { 'cache-control': 'public, max-age=60' }, { 'cache-control': 'private, max-age=5', vary: 'Cookie' }, { vary: 'accept', 'x-other': 'o' })
})

const perhaps = <Value> (arbitrary: fc.Arbitrary<Value>, weight = 2) => fc.oneof({ weight, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })

const partTraits = fc.record({
  required: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  fallback: perhaps(fc.constantFrom<unknown>({ k0: 'f' }, [0], null, 'f'), 4),
  need: perhaps(fc.nat(3), 1),
  reads: fc.constantFrom('needs', 'path', 'query', 'when', 'whenExists', 'forEach', 'batch'),
  key: fc.constantFrom('k0', 'k1', 'k2', 'k3'),
  onMissing: perhaps(fc.constantFrom<'skip' | 'fail'>('skip', 'fail')),
  onEmpty: perhaps(fc.constantFrom<'allow' | 'skip' | 'fail'>('allow', 'skip', 'fail')),
  nonJson: perhaps(fc.constantFrom<'fail' | 'text' | 'skip'>('fail', 'text', 'skip')),
  shape: perhaps(fc.constantFrom<Partial<PartOptions>>({ group: 'g' }, { pick: ['k0', 'k1.p'] }, { target: 'k1' }, { rename: { k0: 'k1' } }, { omit: ['k0'] }), 4)
})

const STRATEGIES: readonly CompositeOptions[] = [
  { strategy: 'merge', conflict: 'last' }, { strategy: 'merge', conflict: 'first' }, { strategy: 'merge', conflict: 'deep' }, { strategy: 'merge', conflict: 'error' },
  { strategy: 'object' }, { strategy: 'append' }, { strategy: 'select' }, { strategy: 'sequential' }, { strategy: 'told' }
]

const scenario: fc.Arbitrary<Scenario> = fc.record({
  traits: fc.array(fc.record({ part: partTraits, behaviour }), { minLength: 2, maxLength: 5 }),
  ranks: fc.array(fc.nat(99), { minLength: 5, maxLength: 5 }),
  strategy: fc.constantFrom(...STRATEGIES),
  onMismatch: fc.constantFrom<'fail' | 'wrap' | 'skip'>('fail', 'wrap', 'skip'),
  meta: fc.boolean(),
  partialStatus: fc.constantFrom<200 | 206>(200, 206),
  limits: fc.constantFrom({}, {}, {}, { maxBytes: 60, maxPartBytes: 60 }, { maxCalls: 3 }),
  from: perhaps(fc.constant('p0'))
}).map(({ traits, ranks, strategy, onMismatch, meta, partialStatus, limits, from }) => {
  const inOrder = strategy.strategy === 'select' || strategy.strategy === 'sequential'
  // parts may need any part that is earlier in some order of their own; where they run in order, in order of declaration
  const order = traits.map((_, index) => index)
  if (!inOrder) order.sort((a, b) => ranks[a]! - ranks[b]!)
  const parts: Record<string, PartOptions> = {}
  traits.forEach(({ part }, index) => { parts[`p${index}`] = partOf(part, index, order) })
  const mismatch = strategy.strategy === 'merge' || strategy.strategy === 'append' ? { onMismatch } : {}
  const tells = strategy.strategy === 'merge' || strategy.strategy === 'object' ? { meta } : {}
  return {
    composite: { ...strategy, ...mismatch, ...tells, ...limits, partialStatus, parts, ...(from === undefined ? undefined : { headers: { from } }) } as CompositeOptions,
    behaviours: traits.map(({ behaviour }) => behaviour)
  }
})

type Traits = typeof partTraits extends fc.Arbitrary<infer Value> ? Value : never

function partOf ({ required, fallback, need, reads, key, onMissing, onEmpty, nonJson, shape }: Traits, index: number, order: readonly number[]): PartOptions {
  const earlier = order.slice(0, order.indexOf(index))
  const other = need === undefined || earlier.length === 0 ? undefined : `p${earlier[need % earlier.length]}`
  const set = <Key extends string, Value> (name: Key, option: Value) => option === undefined ? {} : { [name]: option }
  return {
    backend: 'abcde'[index]!,
    path: '/x',
    ...(other === undefined ? undefined : readingOf(reads, `{${other}.body.${key}}`, other)),
    ...set('required', required || undefined),
    ...set('fallback', fallback),
    ...set('onMissing', onMissing),
    ...set('onEmpty', onEmpty),
    ...set('nonJson', nonJson),
    ...shape
  } as PartOptions
}

function readingOf (reads: Traits['reads'], reference: string, other: string): Partial<PartOptions> {
  switch (reads) {
    case 'needs': return { needs: [other] }
    case 'path': return { path: `/${reference}` }
    case 'query': return { query: { q: reference } }
    case 'when': return { when: reference }
    case 'whenExists': return { when: { value: reference, exists: true } }
    case 'forEach': return { forEach: { in: reference, concurrency: 2 }, query: { i: '{item}' } }
    case 'batch': return { forEach: { in: reference, batch: 1 }, query: { i: '{items}' } }
  }
}

// ---- who answers when

/** One request of a client, which its parts' requests name in a header: what is left of an earlier one is none of ours. */
interface Run { readonly id: number, readonly seed: number, readonly behaviours: readonly Behaviour[], over: boolean }

/** Priorities are made of the seed. */
function rank ({ backend, target }: Asked, seed: number): number {
  let hash = seed
  for (const char of backend + target) hash = Math.imul(hash ^ char.charCodeAt(0), 0x5bd1e995) ^ (hash >>> 13)
  return hash >>> 0
}

/** Releases held requests one by one, those with the highest priority first. */
function releaseInTurn (asked: readonly Asked[], run: Run): void {
  const begun = asked.length
  const tick = (): void => {
    if (run.over) return
    const waiting = asked.slice(begun).filter(one => !one.answered && !one.dropped && one.headers['x-run'] === String(run.id))
    const [first] = waiting.sort((a, b) => rank(b, run.seed) - rank(a, run.seed))
    first?.answer(answerOf(run.behaviours['abcde'.indexOf(first.backend)]!))
    // some rounds of the event loop, so that what this answer sets off is there before the next one; seeds differ in how many
    let rounds = first === undefined ? 1 : run.seed % 7
    const next = (): void => { if (rounds-- > 0) setImmediate(next); else tick() }
    setImmediate(next)
  }
  tick()
}

function answerOf ({ kind, text, status: code, headers }: Behaviour): unknown {
  switch (kind) {
    case 'json': return json(text, headers)
    case 'status': return status(code, { refused: code }, headers)
    case 'break': return BREAK
    case 'bad': return new Whole(200, { 'content-type': 'text/html', ...headers }, '<p>')
    case 'empty': return json('', headers)
  }
}

/** Status, headers and body as one text, without what is about the moment. */
function tell (url: string, id: number): Promise<string> {
  return new Promise((resolve, reject) => {
    request(url, { agent: false, headers: { 'x-run': id } }, response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const lines: string[] = []
        for (let i = 0; i < response.rawHeaders.length; i += 2) {
          if (!/^(?:date|connection|keep-alive|content-length)$/i.test(response.rawHeaders[i]!)) lines.push(`${response.rawHeaders[i]}: ${response.rawHeaders[i + 1]}`)
        }
        resolve([response.statusCode, ...lines, '', Buffer.concat(chunks).toString().replace(/"ms":[\d.]+/g, '"ms":0')].join('\n'))
      })
      response.on('error', reject)
    }).on('error', reject).end()
  })
}

async function setUp (t: TestLike) {
  const { backends, asked } = await startBackends(t, Object.fromEntries([...'abcde'].map(name => [name, HOLD])))
  let runs = 0
  let composite: CompositeOptions = {}
  const told = (parts: Record<string, { state: string, status: number, outcome: string, attempts: number, body: unknown, error?: { code: string }, headers: object }>) =>
    Object.values(parts).map(({ state, status, outcome, attempts, body, error, headers }) => ({ state, status, outcome, attempts, body: Buffer.isBuffer(body) ? body.toString() : body, code: error?.code, headers: Object.keys(headers) }))
  const { url } = await startGateway(t, { backends, strategies: { told }, circuitBreaker: false }, app => {
    app.get('/c', (_request, reply) => reply.composite(composite))
  })
  return async (scenario: Scenario, seed: number): Promise<string> => {
    composite = scenario.composite
    const current: Run = { id: ++runs, seed, behaviours: scenario.behaviours, over: false }
    releaseInTurn(asked, current)
    try {
      return await tell(`${url}/c`, current.id)
    } finally {
      current.over = true
    }
  }
}

t.test(`${RUNS} random composites answer the same in any order of arrival`, { timeout: 120_000 }, async t => {
  const run = await setUp(t)
  const seen = new Map<string, number>()
  await fc.assert(fc.asyncProperty(scenario, fc.nat(), fc.nat(), async (scenario, one, two) => {
    const first = await run(scenario, one)
    const second = await run(scenario, two)
    const kind = `${scenario.composite.strategy} ${first.slice(0, 3)}`
    seen.set(kind, (seen.get(kind) ?? 0) + 1)
    if (first !== second) throw new Error(`two answers:\n${first}\n---- or\n${second}`)
  }), { numRuns: RUNS, ...(process.env['SEED'] === undefined ? undefined : { seed: Number(process.env['SEED']) }) })
  const statuses = new Set([...seen.keys()].map(kind => kind.split(' ')[1]))
  t.comment(Object.fromEntries(seen))
  for (const code of ['200', '206', '502']) t.ok(statuses.has(code), `some were answered with ${code}`)
  t.ok(statuses.has('404') || statuses.has('403'), 'some were refused')
  for (const { strategy } of STRATEGIES) t.ok(seen.has(`${strategy} 200`), `${strategy} was answered with 200`)
})
