/** Lines are put together from texts: they say what `JSON.stringify` of an object would. */
import t from 'tap'
import fc from 'fast-check'
import { createRedactor } from '../../lib/redact/index.ts'
import { canonical, createHeads } from '../../lib/traffic-dump/head.ts'
import { createBeginning, createMember, milliseconds, withinString } from '../../lib/traffic-dump/json-text.ts'
import { createLines } from '../../lib/traffic-dump/index.ts'
import type { Redactor } from '../../lib/redact/types.ts'
import type { Dumped } from '../../lib/traffic-dump/line.ts'

/** Shows what it is asked for, and who asked. */
function createPlain (header: Redactor['header'] = (_, value) => value): Redactor {
  const asIs = (text: string): string => text
  return {
    header,
    url: asIs,
    text: asIs,
    urlOrText: asIs,
    body: ({ bytes, truncated, type, encoding }) => ({ text: bytes.length === 0 ? null : `${type}/${encoding}: ${bytes.toString()}`, base64: false, truncated, decoded: encoding, omitted: undefined })
  }
}

const name = fc.oneof(
  fc.constantFrom('accept', 'Accept', 'ACCEPT', 'content-type', 'Content-Type', 'Content-Encoding', 'x-a', 'X-A', '__proto__', 'constructor', 'toString', '1', '0', 'x"y', 'x-é'),
  fc.string({ minLength: 1, maxLength: 8 }).map(text => `x${text}`),
  fc.constantFrom('long', 'Long').map(name => name + 'g'.repeat(300))
)
const value = fc.oneof(fc.constantFrom('', '*/*', 'text/plain', 'gzip', 'a\\b', '"quoted"', 'é\u0001\u2028', 'v'.repeat(400)), fc.string({ maxLength: 20 }))
const lines = fc.array(fc.tuple(name, value), { maxLength: 30 })

/** As it was done with objects. */
function expectedFields (lines: ReadonlyArray<readonly [string, string]>): Array<[string, string[]]> {
  const fields = new Map<string, string[]>()
  for (const [name, value] of lines) fields.set(canonical(name), [...fields.get(canonical(name)) ?? [], value])
  return [...fields].sort(byName)
}

const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => a < b ? -1 : 1
const fieldsOf = (json: string): Array<[string, string[]]> => Object.entries(JSON.parse(`{${json}}`) as Record<string, string[]>).sort(byName)

t.test('any head is there with all names and values, whatever came before it', async t => {
  // enough of them that nothing more is kept in the end
  const heads = createHeads(createPlain())
  let met = 0
  fc.assert(fc.property(lines, lines => {
    met += lines.length
    const head = heads.ofRequest(lines.flat())
    const expected = JSON.stringify(expectedFields(lines))
    if (JSON.stringify(fieldsOf(head.fields)) !== expected) throw new Error(`${head.fields} is not ${expected}`)
    const text = JSON.parse(`"${head.lines}"`) as string
    if (text !== lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')) throw new Error(`${JSON.stringify(text)} is not what was sent`)
    const first = (wanted: string): string | undefined => lines.find(([name]) => name.toLowerCase() === wanted)?.[1]
    if (head.type !== first('content-type') || head.encoding !== first('content-encoding')) throw new Error(`${head.type} and ${head.encoding}`)
  }), { numRuns: 2_000 })
  t.ok(met > 5_000, `${met} lines`)
})

t.test('heads of answers: lists, numbers, names without a value', async t => {
  const heads = createHeads(createPlain())
  t.equal(heads.ofResponse({ 'set-cookie': ['a', 'b'], 'content-length': 12, vary: undefined, 'Set-Cookie': 'c', trailer: [] }).fields, '"Set-Cookie":["a","b","c"],"Content-Length":["12"]')
  t.equal(heads.ofResponse({}).fields, '')
  t.match(heads.ofRequest([':path', '/', 'a', 'b']), { fields: '"A":["b"]', lines: 'a: b\\r\\n' })
})

t.test('what has been shown is not asked for again, but for what holds a secret: that is not kept', async t => {
  const asked: string[] = []
  const heads = createHeads(createPlain((_, value) => {
    asked.push(value)
    return value.replace('hush', '[redacted]')
  }))
  for (let time = 0; time < 3; time++) {
    t.equal(heads.ofRequest(['Accept', '*/*', 'X-Note', 'of hush']).fields, '"Accept":["*/*"],"X-Note":["of [redacted]"]')
  }
  t.same(asked, ['*/*', 'of hush', 'of hush', 'of hush'])
  t.equal(heads.ofRequest(['X-Note', 'of [redacted]']).fields, '"X-Note":["of [redacted]"]')
  t.equal(asked.length, 4, 'what became of it is known')
})

/** Whether the redactor is asked for a header line that has been shown, and then another one of the same name. */
function createForgetting (): (name: string, value: string) => boolean {
  let asked = 0
  const heads = createHeads(createPlain((_, value) => {
    asked++
    return value
  }))
  return (name, value) => {
    heads.ofRequest([name, value])
    heads.ofRequest([name, `${value}!`])
    const before = asked
    heads.ofRequest([name, value])
    return asked > before
  }
}

t.test('what is kept is bounded: lengths, values of each name, and all of it, names included', async t => {
  const forgets = createForgetting()
  t.notOk(forgets('a', 'v'.repeat(256)))
  t.ok(forgets('a', 'v'.repeat(257)), 'a long value')
  t.ok(forgets('a'.repeat(257), 'v'), 'a long name')
  for (let i = 0; i < 8; i++) t.notOk(forgets('a', `${i}`))
  t.ok(forgets('a', 'one more'), 'a name that has sixteen values')
  for (const length of [1, 200]) {
    const forgets = createForgetting()
    let kept = 0
    for (let i = 0; i < 400; i++) for (let j = 0; j < 3; j++) if (!forgets(`${i}`.padEnd(length, 'n'), `${j}`.padEnd(255, 'w'))) kept++
    const each = 2 * (4 * 256 + 3 * length)
    t.ok(kept > 230_000 / each && kept < 250_000 / each, `${kept} values of ${each} characters`)
  }
})

t.test('the latest value of a name is known, however many there were', async t => {
  const asked: string[] = []
  const heads = createHeads(createPlain((_, value) => {
    asked.push(value)
    return value.replace('hush', '[redacted]')
  }))
  const shown = (value: string): string => heads.ofResponse({ server: 's', date: value }).fields
  for (let second = 0; second < 20; second++) for (let time = 0; time < 3; time++) t.equal(shown(`:${second}`), `"Server":["s"],"Date":[":${second}"]`)
  t.same(asked, ['s', ...Array.from({ length: 20 }, (_, second) => `:${second}`)])
  for (let time = 0; time < 2; time++) t.equal(shown('of hush'), '"Server":["s"],"Date":["of [redacted]"]')
  t.same(asked.slice(21), ['of hush', 'of hush'], 'but for one that holds a secret')
  t.equal(heads.ofResponse({ date: 'd'.repeat(257) }).fields.length, 268)
  t.equal(heads.ofResponse({ date: ['x"', 'y', 'x"'] }).fields, '"Date":["x\\"","y","x\\""]')
  t.equal(heads.ofRequest(['Date', 'x"', 'date', 'z']).lines, 'Date: x\\"\\r\\ndate: z\\r\\n')
})

t.test('so many names are kept, and known ones go on', async t => {
  const forgets = createForgetting()
  for (let i = 0; i < 500; i++) t.notOk(forgets(`c${i}`, ''))
  t.ok(forgets('d', ''), 'a name where there are 500')
  t.notOk(forgets('c1', 'another value'))
})

t.test('a line is JSON that has all members in their order', async t => {
  const lineOf = createLines(createPlain(), 100)
  const none = { bytes: Buffer.alloc(0), truncated: false }
  const dumped: Dumped = {
    at: Date.UTC(2026, 10, 22, 14, 19, 37, 5),
    route: 'a "route"',
    backend: undefined,
    tenant: undefined,
    requestId: 'r\n1',
    clientAddress: undefined,
    method: 'GET',
    url: '/é?"',
    httpVersion: '1.1',
    rawHeaders: [],
    requestBody: none,
    status: 502,
    responseHeaders: {},
    responseBody: none,
    duration: 0.0004,
    aborted: false,
    cut: false,
    attempts: []
  }
  t.equal(lineOf(dumped), JSON.stringify({
    timestamp: '2026-11-22T14:19:37.005Z',
    rule: 'a "route"',
    backend: null,
    target: null,
    tenant: null,
    request_id: 'r\n1',
    method: 'GET',
    url: '/é?"',
    raw_request: 'GET /é?" HTTP/1.1\r\n\r\n',
    request_headers: {},
    request_body: null,
    status_code: 502,
    response_headers: {},
    response_body: null,
    duration: 0,
    attempts: []
  }))
  const body = { bytes: Buffer.from('"b"'), truncated: true }
  const attempt = { backend: 'b', target: 'http://t/', number: 1, startedAt: 0 }
  t.equal(lineOf({
    ...dumped,
    backend: 'b',
    tenant: 't"',
    clientAddress: '::1',
    rawHeaders: ['Host', 'h', 'Content-Encoding', 'x"'],
    requestBody: body,
    responseHeaders: { 'content-type': 'c' },
    responseBody: body,
    duration: 1234.5678,
    aborted: true,
    cut: true,
    attempts: [{ ...attempt, part: 'p', outcome: 'ok', status: 200, duration: 1.5 }, attempt] as unknown as Dumped['attempts']
  }), JSON.stringify({
    timestamp: '2026-11-22T14:19:37.005Z',
    rule: 'a "route"',
    backend: 'b',
    target: 'http://t/',
    tenant: 't"',
    client_ip: '::1',
    request_id: 'r\n1',
    method: 'GET',
    url: '/é?"',
    raw_request: 'GET /é?" HTTP/1.1\r\nHost: h\r\nContent-Encoding: x"\r\n\r\n',
    request_headers: { Host: ['h'], 'Content-Encoding': ['x"'] },
    request_body: 'undefined/x": "b"',
    request_body_truncated: true,
    request_body_decoded: 'x"',
    status_code: 502,
    response_headers: { 'Content-Type': ['c'] },
    response_body: 'c/undefined: "b"',
    response_body_truncated: true,
    duration: 1234.568,
    aborted: true,
    cut: true,
    attempts: [{ part: 'p', backend: 'b', target: 'http://t/', outcome: 'ok', status: 200, duration: 1.5 }, { backend: 'b', target: 'http://t/', outcome: null, status: null, duration: null }]
  }))
  const real = createLines(createRedactor(), 100)
  t.match(JSON.parse(real({ ...dumped, requestBody: { bytes: Buffer.from([0xff]), truncated: false }, responseHeaders: { 'content-encoding': 'zstd' }, responseBody: { bytes: Buffer.from('x'), truncated: false } })), {
    request_body: '/w==', request_body_encoding: 'base64', response_body: null, response_body_omitted: 'compressed'
  })
})

t.test('milliseconds, times of day and texts are as JSON has them', async t => {
  fc.assert(fc.property(fc.oneof(fc.double({ min: 0, max: 1e6 }), fc.double(), fc.integer(), fc.integer({ min: 0, max: 10_000_000 }).map(micros => micros / 1_000)), ms => {
    const expected = JSON.stringify(Math.round(ms * 1_000) / 1_000)
    if (milliseconds(ms) !== expected) throw new Error(`${milliseconds(ms)} is not ${expected}`)
  }), { numRuns: 10_000 })
  const beginning = createBeginning()
  fc.assert(fc.property(fc.array(fc.oneof(fc.integer({ min: -1e12, max: 1e13 }), fc.integer({ min: 1_700_000_000_000, max: 1_700_000_002_000 })), { minLength: 1, maxLength: 10 }), times => {
    for (const at of times) if (beginning(at) !== `{"timestamp":"${new Date(at).toISOString()}",`) throw new Error(`${beginning(at)} does not tell of ${new Date(at).toISOString()}`)
  }), { numRuns: 2_000 })
  const member = createMember('m', text => text.toUpperCase())
  for (let time = 0; time < 2; time++) t.same(['a"', '', null, undefined].map(member), ['"m":"A\\"",', '"m":"",', '"m":null,', '"m":null,'])
  t.equal(withinString('a"\n'), 'a\\"\\n')
})
