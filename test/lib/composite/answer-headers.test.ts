/** The headers of a combined answer: a table of Cache-Control, and the policies of the other families. */
import fc from 'fast-check'
import t from 'tap'
import { createAnswerHeaders } from '../../../lib/composite/answer-headers.ts'
import type { HeaderSource } from '../../../lib/composite/answer-headers.ts'
import type { CompositeHeadersConfig } from '../../../lib/composite/types.ts'

type Headers = Record<string, string | string[]>

const defaults: CompositeHeadersConfig = {
  from: undefined, setCookie: 'all', cacheControl: 'strictest', vary: 'union', serverTiming: false, response: {}
}

/** Parts a, b, c …, each of which is used. */
function sources (...headers: Headers[]): HeaderSource[] {
  return headers.map((headers, index) => ({ name: String.fromCharCode(97 + index), headers, duration: 1, state: 'ok', used: true }))
}

function combined (headers: readonly Headers[], config: Partial<CompositeHeadersConfig> = {}, authorized = false): Headers {
  return { ...createAnswerHeaders({ ...defaults, ...config })(sources(...headers), authorized) }
}

/** An array is several field lines, undefined a part without the header. */
function cacheControl (values: ReadonlyArray<string | string[] | undefined>, authorized = false): string | string[] | undefined {
  return combined(values.map(value => value === undefined ? {} : { 'cache-control': value }), {}, authorized)['cache-control']
}

t.test('parts without such headers make an answer without them', async t => {
  t.same(combined([{}, { 'content-type': 'application/json', etag: '"x"', 'x-a': '1' }]), {})
  t.same(combined([]), {})
})

// ---- Cache-Control

const table: Array<[rule: string, parts: Array<string | string[] | undefined>, result: string | undefined]> = [
  ['nothing said', [undefined, undefined], undefined],
  ['an empty value', ['', ' , ,'], undefined],
  ['one part alone', ['public, max-age=60'], 'public, max-age=60'],
  ['no-store anywhere', ['max-age=60', 'no-store'], 'no-store'],
  ['no-store against silence', [undefined, 'no-store'], 'no-store'],
  ['no-store stands alone', ['no-store, private, no-cache, max-age=0, must-understand', 'public'], 'no-store'],
  ['no-store in capitals', ['max-age=60', 'No-Store'], 'no-store'],
  ['no-store with an argument', ['no-store=1', 'max-age=60'], 'no-store'],
  ['private anywhere', ['public, max-age=60', 'private, max-age=30'], 'private, max-age=30'],
  ['private against silence', ['private', undefined], 'private'],
  ['private for a field', ['private="x-user, x-id", max-age=5', 'max-age=9'], 'private, max-age=5'],
  ['private and s-maxage', ['private, max-age=60', 's-maxage=600, max-age=600'], 'private, max-age=60'],
  ['private and public in one part', ['public, private'], 'private'],
  ['no-cache anywhere', ['no-cache', 'max-age=60'], 'no-cache'],
  ['no-cache for a field', ['no-cache="set-cookie", max-age=10', 'max-age=20'], 'no-cache, max-age=10'],
  ['the smallest max-age', ['max-age=60', 'max-age=30', 'max-age=90'], 'max-age=30'],
  ['max-age against silence', ['max-age=60', undefined], undefined],
  ['stale against silence', ['max-age=0', undefined], 'max-age=0'],
  ['max-age in quotes', ['max-age="60"', 'Max-Age=70'], 'max-age=60'],
  ['malformed max-age: text', ['max-age=soon', 'max-age=60'], 'max-age=0'],
  ['malformed max-age: negative', ['max-age=-1', 'max-age=60'], 'max-age=0'],
  ['malformed max-age: fraction', ['max-age=1.5', 'max-age=60'], 'max-age=0'],
  ['malformed max-age: no value', ['max-age', 'max-age=60'], 'max-age=0'],
  ['malformed max-age: empty', ['max-age=', 'max-age=60'], 'max-age=0'],
  ['malformed max-age: a space', ['max-age= 60', 'max-age=60'], 'max-age=0'],
  ['malformed max-age: semicolons', ['max-age=60; public', 'max-age=60'], 'max-age=0'],
  ['malformed max-age: half a quote', ['max-age="60', 'max-age=60'], 'max-age=0'],
  ['max-age too large to count', ['max-age=99999999999999999999'], 'max-age=2147483648'],
  ['max-age twice', ['max-age=60, max-age=10'], 'max-age=10'],
  ['max-age in two lines', [['public, max-age=60', 'max-age=20'], 'public, max-age=90'], 'public, max-age=20'],
  ['no-store in the second line', [['max-age=60', 'no-store'], 'max-age=60'], 'no-store'],
  ['the smallest s-maxage', ['s-maxage=60, max-age=5', 's-maxage=30, max-age=7'], 'max-age=5, s-maxage=30'],
  ['max-age counts for s-maxage', ['s-maxage=60, max-age=5', 'max-age=20'], 'max-age=5, s-maxage=20'],
  ['s-maxage does not count for max-age', ['s-maxage=60', 'max-age=90'], 's-maxage=60'],
  ['s-maxage against silence', ['s-maxage=60', undefined], undefined],
  ['malformed s-maxage', ['s-maxage=x, max-age=60', 'max-age=60'], 'max-age=60, s-maxage=0'],
  ['public by all', ['public, max-age=1', 'max-age=2, public'], 'public, max-age=1'],
  ['public by some', ['public, max-age=1', 'max-age=2'], 'max-age=1'],
  ['immutable by all', ['immutable, max-age=1', 'immutable, max-age=1'], 'max-age=1, immutable'],
  ['immutable by some', ['immutable, max-age=1', 'max-age=1'], 'max-age=1'],
  ['must-revalidate anywhere', ['must-revalidate, max-age=5', 'max-age=5'], 'max-age=5, must-revalidate'],
  ['proxy-revalidate anywhere', ['proxy-revalidate', undefined], 'proxy-revalidate'],
  ['no-transform anywhere', [undefined, 'no-transform'], 'no-transform'],
  ['must-understand anywhere', ['must-understand, max-age=3', 'max-age=3'], 'max-age=3, must-understand'],
  ['all restrictions', ['must-revalidate', 'proxy-revalidate', 'no-transform', 'must-understand', 'no-cache'],
    'no-cache, must-revalidate, proxy-revalidate, no-transform, must-understand'],
  ['stale-while-revalidate by all', ['max-age=1, stale-while-revalidate=60', 'max-age=1, stale-while-revalidate=30'], 'max-age=1, stale-while-revalidate=30'],
  ['stale-while-revalidate by some', ['max-age=1, stale-while-revalidate=60', 'max-age=1'], 'max-age=1'],
  ['stale-if-error by all', ['stale-if-error=9', 'stale-if-error="8"'], 'stale-if-error=8'],
  ['malformed stale-if-error', ['stale-if-error=9', 'stale-if-error=x'], undefined],
  ['unknown directives', ['community="UCI, no-store", max-age=5, pre-check=0', 'max-age=6'], 'max-age=5'],
  ['an escaped quote', ['x="a\\", no-store, \\"b", max-age=5'], 'max-age=5'],
  ['a quote that never ends hides nothing', ['x="a, no-store', 'max-age=5'], 'no-store'],
  ['a quote in a name hides nothing', ['x"a, no-store, b"', 'max-age=5'], 'no-store'],
  ['odd spaces', ['  public ,max-age=5  ,', '\tmax-age=7,public'], 'public, max-age=5'],
  ['names of objects', ['constructor, __proto__=1, toString', undefined], undefined]
]

for (const [rule, parts, result] of table) {
  t.test(`Cache-Control, ${rule}`, async t => {
    t.equal(cacheControl(parts), result)
    t.equal(cacheControl([...parts].reverse()), result, 'in any order')
  })
}

t.test('max-age is what is left of it after Age', async t => {
  const left = (headers: Headers): unknown => combined([{ 'cache-control': 'max-age=100' }, headers])['cache-control']
  t.equal(left({ 'cache-control': 'max-age=60', age: '20' }), 'max-age=40')
  t.equal(left({ 'cache-control': 'max-age=60', age: '90' }), 'max-age=0')
  t.equal(left({ 'cache-control': 'max-age=60', age: ['20', '50'] }), 'max-age=40', 'the first counts')
  t.equal(left({ 'cache-control': 'max-age=60', age: '20, 50' }), 'max-age=40', 'the first counts')
  t.equal(left({ 'cache-control': 'max-age=60', age: 'old' }), 'max-age=60', 'a malformed one does not')
  t.equal(left({ 'cache-control': 's-maxage=60, max-age=10', age: '5' }), 'max-age=5, s-maxage=55')
})

t.test('Expires is a lifetime where there is no max-age', async t => {
  const date = 'Sat, 21 Nov 2026 12:00:00 GMT'
  const left = (headers: Headers): unknown => combined([{ 'cache-control': 'max-age=100' }, { date, ...headers }])['cache-control']
  t.equal(left({ expires: 'Sat, 21 Nov 2026 12:01:00 GMT' }), 'max-age=60')
  t.equal(left({ expires: 'Sat, 21 Nov 2026 12:01:00 GMT', age: '20' }), 'max-age=40')
  t.equal(left({ expires: 'Sat, 21 Nov 2026 12:01:00 GMT', 'cache-control': 'max-age=5' }), 'max-age=5')
  t.equal(left({ expires: 'Sat, 21 Nov 2026 12:01:00 GMT', 'cache-control': 's-maxage=30' }), 'max-age=60, s-maxage=30')
  t.equal(left({ expires: 'Sat, 21 Nov 2026 11:00:00 GMT' }), 'max-age=0')
  for (const expires of ['0', '-1', '', '9999', 'never', ['Sat, 21 Nov 2026 12:01:00 GMT', '0']]) t.equal(left({ expires }), 'max-age=0', String(expires))
  const soon = new Date(Date.now() + 50_500).toUTCString()
  t.match(combined([{ expires: soon }])['cache-control'], /^max-age=(?:49|50)$/, 'without Date, from now')
})

t.test('a part that is not used has no say', async t => {
  const parts = sources({ 'cache-control': 'max-age=60', vary: 'a' }, { 'cache-control': 'no-store', vary: 'b', 'set-cookie': 'x=1', 'x-a': '1' })
  parts[1] = { ...parts[1]!, used: false, state: 'failed' }
  const answer = createAnswerHeaders({ ...defaults, from: 'b' })(parts, false)
  t.same({ ...answer }, { 'cache-control': 'max-age=60', vary: 'a' })
})

t.test('one part cannot open up the personal answer of another to shared caches', async t => {
  t.equal(cacheControl(['max-age=60', 's-maxage=30, max-age=60'], true), 'private, max-age=60')
  t.equal(cacheControl(['max-age=60', 'must-revalidate, max-age=60'], true), 'private, max-age=60, must-revalidate')
  t.equal(cacheControl([undefined, 'must-revalidate, max-age=60'], true), 'private, must-revalidate')
  t.equal(cacheControl(['max-age=60', 'public, max-age=60'], true), 'max-age=60', 'nothing opens it up here')
  t.equal(cacheControl(['public, max-age=60', 'must-revalidate, max-age=60'], true), 'max-age=60, must-revalidate', 'all allow it')
  t.equal(cacheControl(['public, max-age=60', 's-maxage=30, max-age=60'], true), 'max-age=60, s-maxage=30', 'all allow it')
  const unknown = createAnswerHeaders(defaults)(sources({ 'cache-control': 'max-age=9' }, { 'cache-control': 's-maxage=9' }))
  t.equal(unknown['cache-control'], 'private', 'not knowing is taken for yes')
})

t.test('Cache-Control is never looser than any part, whatever the parts say', async t => {
  const directive = fc.oneof(
    fc.constantFrom('no-store', 'private', 'no-cache', 'public', 'must-revalidate', 'immutable', 'NO-CACHE', 'private="x, y"', 'x=", no-store"', '', '"', '='),
    fc.record({ name: fc.constantFrom('max-age', 's-maxage', 'stale-if-error'), value: fc.nat(200) }).map(({ name, value }) => `${name}=${value}`)
  )
  const line = fc.array(directive, { maxLength: 5 }).map(all => all.join(', '))
  const age = (text: string, name: string): number => Math.min(...[...text.matchAll(new RegExp(`(?<![\\w-])${name}=(\\d+)`, 'g'))].map(match => Number(match[1])))
  fc.assert(fc.property(fc.array(line, { minLength: 1, maxLength: 4 }), values => {
    const result = cacheControl(values) ?? ''
    t.equal(cacheControl([...values].reverse()) ?? '', result)
    if (typeof result !== 'string' || result === 'no-store') return
    const wellFormed = values.filter(value => !value.includes('"'))
    for (const value of wellFormed) {
      if (/no-store/.test(value)) t.fail(`${value} → ${result}`)
      if (/no-cache/i.test(value) && !result.includes('no-cache')) t.fail(`${value} → ${result}`)
      if (/private/.test(value) && !result.includes('private')) t.fail(`${value} → ${result}`)
      if (!/public/.test(value) && result.includes('public')) t.fail(`${value} → ${result}`)
      if (result.includes('max-age=') && age(result, 'max-age') > age(value, 'max-age')) t.fail(`${value} → ${result}`)
      if (result.includes('stale-if-error=') && age(result, 'stale-if-error') > age(value, 'stale-if-error')) t.fail(`${value} → ${result}`)
    }
  }), { numRuns: 300 })
})

t.test('Cache-Control of one part comes with what belongs to it', async t => {
  const headers = [
    { 'cache-control': 'no-store' },
    { 'cache-control': 'max-age=60, ext', age: '20', expires: 'Sat, 21 Nov 2026 12:01:00 GMT', 'cdn-cache-control': 'max-age=600', etag: '"x"', 'x-b': '1', vary: 'b' }
  ]
  t.same(combined(headers, { cacheControl: 'b', vary: 'none' }), {
    'cache-control': 'max-age=60, ext', age: '20', expires: 'Sat, 21 Nov 2026 12:01:00 GMT', 'cdn-cache-control': 'max-age=600'
  })
  t.same(combined(headers, { cacheControl: 'none', vary: 'none' }), {})
  t.same(combined(headers, { cacheControl: 'absent', vary: 'none' }), {})
})

// ---- Set-Cookie

t.test('the cookies of all parts are there in order', async t => {
  t.same(combined([{ 'set-cookie': ['a=1', 'b=2; Path=/'] }, {}, { 'set-cookie': 'c=3' }]), { 'set-cookie': ['a=1', 'b=2; Path=/', 'c=3'] })
  t.same(combined([{ 'set-cookie': 'a=1' }]), { 'set-cookie': ['a=1'] })
  t.same(combined([{ 'set-cookie': [] }]), {})
})

t.test('identical cookies are there once, and the last of a name stays the last', async t => {
  t.same(combined([{ 'set-cookie': ['a=1', 'b=1'] }, { 'set-cookie': ['a=1', 'a=1; Secure'] }])['set-cookie'], ['b=1', 'a=1', 'a=1; Secure'])
  t.same(combined([{ 'set-cookie': 'a=1' }, { 'set-cookie': 'a=2' }, { 'set-cookie': 'a=1' }])['set-cookie'], ['a=2', 'a=1'])
})

t.test('cookies can be those of a part, or none', async t => {
  const headers = [{ 'set-cookie': 'a=1' }, { 'set-cookie': ['b=1', 'b=1'] }]
  t.same(combined(headers, { setCookie: 'b' }), { 'set-cookie': ['b=1', 'b=1'] })
  t.same(combined(headers, { setCookie: 'none' }), {})
  t.same(combined(headers, { setCookie: 'none', from: 'a' }), {}, 'not by way of `from` either')
  t.same(combined(headers, { setCookie: 'absent' }), {})
})

t.test('combining leaves the parts as they are', async t => {
  const headers = { 'set-cookie': ['a=1', 'b=1', 'a=1'], 'cache-control': ['max-age=1', 'public'], vary: ['a', 'b'] }
  const before = structuredClone(headers)
  combined([headers, headers], { from: 'a' })
  t.same(headers, before)
})

// ---- Vary

t.test('Vary has the names of all parts once', async t => {
  const vary = (...values: Array<string | string[]>): unknown => combined(values.map(vary => ({ vary }))).vary
  t.equal(vary('Origin'), 'Origin')
  t.equal(vary('Origin', 'origin'), 'Origin')
  t.equal(vary('Accept-Encoding, Origin', 'accept-language,ORIGIN'), 'Accept-Encoding, Origin, accept-language')
  t.equal(vary(['a', 'b, a'], 'c'), 'a, b, c')
  t.equal(vary('a, *', 'b'), '*')
  t.equal(vary('*'), '*')
  t.equal(vary(' a '), 'a')
  t.equal(vary(' , ,'), undefined)
  t.equal(vary('', ''), undefined)
})

t.test('Vary can be that of a part, or none', async t => {
  const headers = [{ vary: 'a' }, { vary: ['b', 'c'] }]
  t.same(combined(headers, { vary: 'b' }), { vary: ['b', 'c'] })
  t.same(combined(headers, { vary: 'none', from: 'a' }), {})
})

// ---- Server-Timing

t.test('Server-Timing has every part, used or not', async t => {
  const parts: HeaderSource[] = [
    { name: 'users', headers: { 'server-timing': 'db;dur=5' }, duration: 12.345, state: 'ok', used: true },
    { name: '$orders', headers: {}, duration: 3, state: 'partial', used: true },
    { name: 'x-y_z', headers: {}, duration: 250.06, state: 'failed', used: false },
    { name: 'a b;c"ü', headers: {}, duration: 0, state: 'skipped', used: false },
    { name: '', headers: {}, duration: NaN, state: 'fallback', used: false },
    { name: 'e', headers: {}, duration: -1, state: 'empty', used: true }
  ]
  t.equal(createAnswerHeaders({ ...defaults, serverTiming: true, from: 'users' })(parts)['server-timing'],
    'users;dur=12.3, $orders;dur=3;desc="partial", x-y_z;dur=250.1;desc="failed", a_b_c__;dur=0;desc="skipped", _;dur=0;desc="fallback", e;dur=0;desc="empty"')
  t.same({ ...createAnswerHeaders({ ...defaults, from: 'users' })(parts) }, {}, 'off, and a part\'s own does not come through')
  t.same({ ...createAnswerHeaders({ ...defaults, serverTiming: true })([]) }, {})
})

// ---- the headers of one part

t.test('`from` takes the other headers of that part, in order', async t => {
  const answer = combined([{ 'x-a': '1' }, { 'x-c': '3', 'x-b': ['1', '2'], location: '/orders/7', link: '</next>; rel=next' }], { from: 'b' })
  t.same(answer, { 'x-c': '3', 'x-b': ['1', '2'], location: '/orders/7', link: '</next>; rel=next' })
  t.same(Object.keys(answer), ['x-c', 'x-b', 'location', 'link'])
  t.same(combined([{ 'x-a': '1' }], { from: 'absent' }), {})
})

t.test('`from` never takes what is about the part\'s message or body', async t => {
  const names = [
    'content-type', 'content-length', 'content-encoding', 'content-language', 'content-location', 'content-range', 'content-disposition', 'content-digest',
    'content-md5', 'etag', 'last-modified', 'accept-ranges', 'digest', 'repr-digest', 'want-digest', 'want-repr-digest', 'want-content-digest', 'date',
    'signature', 'signature-input', 'allow', 'accept-patch', 'x-composite-complete', 'server-timing'
  ]
  t.same(combined([Object.fromEntries(names.map(name => [name, 'x']))], { from: 'a' }), {})
})

t.test('`from` never takes what caches would put before Cache-Control', async t => {
  const names = ['age', 'expires', 'pragma', 'warning', 'cdn-cache-control', 'cloudflare-cdn-cache-control', 'surrogate-control', 'x-accel-expires']
  const headers = Object.fromEntries(names.map(name => [name, '1']))
  t.same(combined([headers, { 'cache-control': 'no-store' }], { from: 'a' }), { 'cache-control': 'no-store' })
  t.same(combined([headers], { from: 'a', cacheControl: 'none' }), {})
})

t.test('`from` never takes hop-by-hop headers, nor those named in Connection', async t => {
  const headers = {
    connection: 'close, X-Hop',
    'x-hop': '1',
    'keep-alive': 'timeout=5',
    'transfer-encoding': 'chunked',
    trailer: 'x',
    upgrade: 'h2c',
    te: 'x',
    'proxy-authenticate': 'Basic',
    'proxy-connection': 'x',
    'x-kept': '1'
  }
  t.same(combined([headers], { from: 'a' }), { 'x-kept': '1' })
  t.same(combined([{ connection: ['keep-alive', 'x-hop'], 'x-hop': '1', 'x-kept': '1' }], { from: 'a' }), { 'x-kept': '1' })
})

t.test('security headers come with `from`', async t => {
  const headers = { 'content-security-policy': 'default-src \'none\'', 'content-security-policy-report-only': 'x', 'strict-transport-security': 'max-age=1' }
  t.same(combined([headers], { from: 'a' }), headers)
})

t.test('a header called like a thing of JavaScript is a header', async t => {
  const headers = JSON.parse('{"__proto__":"x","constructor":"y","tostring":"z"}') as Headers
  const answer = createAnswerHeaders({ ...defaults, from: 'a' })(sources(headers), false)
  t.same(Object.entries(answer), [['__proto__', 'x'], ['constructor', 'y'], ['tostring', 'z']])
})

t.test('`from` and Cache-Control can be of different parts', async t => {
  const headers = [{ 'x-a': '1', 'cache-control': 'max-age=1', age: '1' }, { 'x-b': '1', 'cache-control': 'max-age=2', age: '2' }]
  t.same(combined(headers, { from: 'a', cacheControl: 'b' }), { 'x-a': '1', 'cache-control': 'max-age=2', age: '2' })
  t.same(combined(headers, { from: 'b', cacheControl: 'b' }), { 'x-b': '1', 'cache-control': 'max-age=2', age: '2' })
})
