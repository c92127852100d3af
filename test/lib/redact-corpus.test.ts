/** Property: no secret of a corpus is in any line, wherever it stood, whole or cut off, compressed or not, as bytes or as text. */
import t from 'tap'
import fc from 'fast-check'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { createRedactor } from '../../lib/redact/index.ts'
import { createLines } from '../../lib/traffic-dump/index.ts'
import type { Dumped } from '../../lib/traffic-dump/line.ts'

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_'
/** Nothing else in a line looks like it. */
const secret = fc.string({ unit: fc.constantFrom(...LETTERS), minLength: 6, maxLength: 40 }).map(text => `zQ${text}Qz`)
const headerName = fc.constantFrom('Authorization', 'proxy-authorization', 'Cookie', 'Set-Cookie', 'X-Api-Key', 'X-Auth-Token', 'X-Csrf-Token', 'X-Client-Secret')
const name = fc.constantFrom('access_token', 'api_key', 'key', 'token', 'password', 'secret', 'signature', 'code', 'id_token', 'clientSecret', 'apiKey', 'refreshToken', 'private_key', 'X-Amz-Signature', 'passwd', 'sig')
const harmless = fc.constantFrom('a', 'page', 'name', 'q', 'filter')
const around = fc.constantFrom('', 'Bearer ', 'x', '"', ' ', '\\', '/', 'ü')

/** Any JSON with the secret somewhere below a name that says so. */
const jsonWith = (hush: string): fc.Arbitrary<unknown> => fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.tuple(name, around).map(([name, before]) => ({ [name]: before + hush })),
    fc.tuple(name, fc.array(fc.constant(hush), { maxLength: 3, minLength: 1 })).map(([name, list]) => ({ other: 1, [name]: { list, deep: { hush } } })),
    fc.tuple(name).map(([name]) => ({ url: `https://x.example/?a=b&${name}=${hush}` })),
    fc.tuple(name).map(([name]) => ({ inner: JSON.stringify({ [name]: hush }) })),
    fc.constant({ url: `https://me:${hush}@x.example/` }),
    fc.tuple(harmless, tie('value')).map(([name, value]) => ({ before: 'x"}{', [name]: value, after: [1, 'ü'] })),
    tie('value').map(value => [null, value, 'x'])
  )
})).value

const bodyWith = (hush: string): fc.Arbitrary<readonly [type: string | undefined, text: string]> => fc.oneof(
  fc.tuple(fc.constantFrom('application/json', 'application/problem+json; charset=utf-8', undefined), jsonWith(hush), fc.constantFrom(undefined, 2)).map(([type, value, indent]) => [type, JSON.stringify(value, null, indent)] as const),
  fc.tuple(name, harmless).map(([name, other]) => ['application/x-www-form-urlencoded', `${other}=1&${encodeURIComponent(name)}=${encodeURIComponent(`;${hush} &`)}&x=y`] as const),
  fc.tuple(name, harmless).map(([name, other]) => ['multipart/form-data; boundary=AaB', `--AaB\r\nContent-Disposition: form-data; name="${other}"\r\n\r\nok\r\n--AaB\r\ncontent-disposition: form-data; name="${name}"; filename="x"\r\nContent-Type: text/plain\r\n\r\n--${hush}\r\n${hush}\r\n--AaB--\r\n`] as const),
  // in XML these are words like others
  name.filter(name => name !== 'key' && name !== 'code').map(name => ['application/xml', `<r><${name}>${hush}</${name}></r>`] as const),
  name.map(name => ['text/event-stream', `data: ${JSON.stringify({ [name]: hush })}\n\ndata: https://x/?${name}=${hush}\n\n`] as const),
  fc.constant(['text/plain', `Authorization: Bearer ${hush}\nhttps://me:${hush}@x.example/ ok`] as const)
)

const requests = secret.chain(hush => fc.record({
  hush: fc.constant(hush),
  headers: fc.array(fc.oneof(
    fc.tuple(headerName, around).map(([name, before]) => [name, `${before.trim()}${hush}`] as const),
    name.map(name => ['Referer', `https://x.example/a?b=c&${name}=${hush}`] as const),
    fc.constant(['X-Note', `Bearer ${hush}`] as const),
    fc.constant(['Location', `https://me:${hush}@x.example/`] as const)
  ), { maxLength: 4 }),
  url: fc.oneof(
    fc.tuple(name, harmless).map(([name, other]) => `/a/b?${other}=1&${encodeURIComponent(name)}=${hush}&${name}=x${hush}`),
    name.map(name => `/a?back=${encodeURIComponent(`https://x/?${name}=${hush}&a=b`)}#${name}=${hush}`),
    fc.constant(`http://me:${hush}@x.example/a`),
    fc.constant('/plain')
  ),
  request: bodyWith(hush),
  response: bodyWith(hush),
  coding: fc.constantFrom(undefined, 'gzip', 'br', 'zstd'),
  latin: fc.boolean(),
  // anywhere: of numbers, those at the ends would come more often
  cut: fc.option(fc.integer({ min: 0, max: 996 }).map(n => (n * 617 % 997) / 997), { nil: undefined })
}))

type Request = typeof requests extends fc.Arbitrary<infer R> ? R : never

function dumpedOf ({ headers, url, request, response, coding, latin, cut }: Request): Dumped {
  const encoded = (text: string): { bytes: Buffer, truncated: boolean } => {
    const plain = latin ? Buffer.concat([Buffer.from(text), Buffer.from([0xff])]) : Buffer.from(text)
    const bytes = coding === 'gzip' ? gzipSync(plain) : coding === 'br' ? brotliCompressSync(plain) : plain
    return cut === undefined ? { bytes, truncated: false } : { bytes: bytes.subarray(0, Math.floor(cut * bytes.length)), truncated: true }
  }
  const typed = (type: string | undefined): string[] => [...type === undefined ? [] : ['content-type', type], ...coding === undefined ? [] : ['Content-Encoding', coding]]
  const [type, text] = response
  return {
    at: 0,
    route: 'r',
    backend: 'b',
    tenant: undefined,
    requestId: 'req-1',
    clientAddress: '127.0.0.1',
    method: 'POST',
    url,
    httpVersion: '1.1',
    rawHeaders: [...headers.flat(), ...typed(request[0])],
    requestBody: encoded(request[1]),
    status: 200,
    responseHeaders: { ...Object.fromEntries(headers), ...(type === undefined ? undefined : { 'content-type': type }), ...(coding === undefined ? undefined : { 'content-encoding': coding }) },
    responseBody: encoded(text),
    duration: 1,
    aborted: false,
    cut: false,
    attempts: []
  }
}

t.test('a secret is in no line', async t => {
  const lineOf = createLines(createRedactor(), 65_536)
  fc.assert(fc.property(requests, request => {
    const line = lineOf(dumpedOf(request))
    const parsed = JSON.parse(line) as Record<string, string | undefined>
    const texts = [line, decodeURIComponent(line.replaceAll(/%(?![0-9a-f]{2})/gi, '')), ...['request', 'response'].map(of => parsed[`${of}_body_encoding`] === 'base64' ? Buffer.from(parsed[`${of}_body`]!, 'base64').toString('latin1') : '')]
    // a part of it would be too much as well
    const part = request.hush.slice(0, 8)
    for (const text of texts) if (text.includes(part)) throw new Error(`${part} is in ${text}`)
  }), { numRuns: 1500 })
  t.pass()
})

t.test('the corpus would be found if it were not taken out', async t => {
  const lineOf = createLines(createRedactor({ headers: [], query: [], json: [], replaceDefaults: true }), 65_536)
  const found = fc.sample(requests, 50).filter(request => {
    const dumped = dumpedOf({ ...request, coding: undefined, latin: false, cut: undefined })
    return lineOf(dumped).includes(request.hush)
  })
  t.ok(found.length > 40)
})
