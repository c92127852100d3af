/** What is taken out of headers, URLs and bodies, and what is not. */
import t from 'tap'
import { deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { createRedactor, DEFAULT_REDACTION } from '../../lib/redact/index.ts'
import { readJson } from '../../lib/redact/json.ts'
import { createSecretNames } from '../../lib/redact/names.ts'
import { isSuspicious, redactText } from '../../lib/redact/text.ts'

const redactor = createRedactor()
const body = (text: string | Buffer, type?: string, more: { truncated?: boolean, encoding?: string, limit?: number } = {}) =>
  redactor.body({ bytes: Buffer.from(text as string), truncated: false, encoding: undefined, limit: 65_536, type, ...more })

t.test('headers that are secret by their name', async t => {
  for (const name of ['Authorization', 'proxy-authorization', 'Cookie', 'SET-COOKIE', 'x-api-key', 'Api-Key', 'X-Auth-Token', 'x-csrf-token', 'X-Amz-Security-Token', 'X-Forwarded-Access-Token', 'X-Hub-Signature', 'x-client-secret', 'Sec-WebSocket-Protocol']) {
    t.equal(redactor.header(name, 'abc'), '[redacted]', name)
  }
  for (const name of ['Host', 'User-Agent', 'Accept', 'Sec-WebSocket-Key', 'Idempotency-Key', 'ETag', 'X-Request-Id', 'Content-Type', 'Surrogate-Key', 'Keep-Alive']) {
    t.equal(redactor.header(name, 'abc'), 'abc', name)
  }
})

t.test('secrets within values of other headers', async t => {
  t.equal(redactor.header('referer', 'https://a.example/x?q=1&access_token=abc#id_token=def'), 'https://a.example/x?q=1&access_token=[redacted]#id_token=[redacted]')
  t.equal(redactor.header('location', 'https://me:pass@a.example/'), 'https://[redacted]@a.example/')
  t.equal(redactor.header('x-note', 'Bearer abcdefghijkl'), 'Bearer [redacted]')
  t.equal(redactor.header('x-note', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln'), '[redacted]')
  t.equal(redactor.header('accept', 'text/html;q=0.9, */*;q=0.8'), 'text/html;q=0.9, */*;q=0.8')
})

t.test('a user before the host', async t => {
  t.equal(redactor.header('Host', 'me:pa@ss@a.example:80'), '[redacted]@a.example:80')
  t.equal(redactor.header('X-Forwarded-Host', 'me@a.example'), '[redacted]@a.example')
  t.equal(redactor.header('from', 'me@a.example'), 'me@a.example')
})

t.test('URLs', async t => {
  for (const [url, shown] of [
    ['/a?b=c', '/a?b=c'],
    ['/a?token=x', '/a?token=[redacted]'],
    ['/a?Access%5FToken=x&b=1', '/a?Access%5FToken=[redacted]&b=1'],
    ['/a?user[password]=x', '/a?user[password]=[redacted]'],
    ['/a?user%5Bkey%5D=x', '/a?user%5Bkey%5D=[redacted]'],
    ['/a?token=x&token=y', '/a?token=[redacted]&token=[redacted]'],
    ['/a?token=x;y', '/a?token=[redacted]'],
    ['/a;jsessionid=1?b=2', '/a;jsessionid=[redacted]?b=2'],
    ['/a?back=https%3A%2F%2Fx%2F%3Ftoken%3Dabc', `/a?back=${encodeURIComponent('https://x/?token=[redacted]')}`],
    ['/a?x=1&&y=2', '/a?x=1&&y=2'],
    ['/a?%zz=1&token=%zz', '/a?%zz=1&token=[redacted]'],
    ['/reset/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln', '/reset/[redacted]'],
    ['http://me:pw@a/b?nextPageToken=x', 'http://[redacted]@a/b?nextPageToken=x'],
    ['/a?page=2&sort=key', '/a?page=2&sort=key']
  ] as const) t.equal(redactor.url(url), shown, url)
})

t.test('JSON keeps its text but for secrets', async t => {
  for (const [text, shown] of [
    ['{"a": 12345678901234567890, "a": 1.0}', '{"a": 12345678901234567890, "a": 1.0}'],
    ['{"password":"x","n":1}', '{"password":"[redacted]","n":1}'],
    ['{ "deep": [ { "apiKey" : "x\\"y" } ] }', '{ "deep": [ { "apiKey" : "[redacted]" } ] }'],
    ['{"token":{"a":[1,"]"],"b":"}"},"c":1}', '{"token":"[redacted]","c":1}'],
    ['{"secret":123,"pin":true,"token":null}', '{"secret":"[redacted]","pin":true,"token":null}'],
    ['{"p\\u0061ssword":"x"}', '{"p\\u0061ssword":"[redacted]"}'],
    ['{"code":"RP_ERR_TIMEOUT"}', '{"code":"RP_ERR_TIMEOUT"}'],
    ['{"code":"4/0AbC"}', '{"code":"[redacted]"}'],
    ['{"url":"https:\\/\\/x\\/?token=ab\\/c&b=1"}', '{"url":"https://x/?token=[redacted]&b=1"}'],
    ['{"inner":"{\\"password\\":\\"x\\"}"}', '{"inner":"{\\"password\\":\\"[redacted]\\"}"}'],
    ['{"max_tokens":5,"nextPageToken":"n"}', '{"max_tokens":5,"nextPageToken":"n"}'],
    ['{"a":1}\n{"token":"x"}', '{"a":1}\n{"token":"[redacted]"}'],
    ['["password","x"]', '["password","x"]']
  ] as const) t.equal(body(text, 'application/json').text, shown, text)
})

t.test('JSON that was cut off', async t => {
  for (const [text, shown] of [
    ['{"password":"hush', '{"password":"[redacted]"'],
    ['{"password":"hush\\', '{"password":"[redacted]"'],
    ['{"password":', '{"password":'],
    ['{"token":{"a":"hush","b":[1,', '{"token":"[redacted]"'],
    ['{"secret":12', '{"secret":"[redacted]"'],
    ['{"url":"https://x/?token=hu', '{"url":"https://x/?token=[redacted]"']
  ] as const) t.match(body(text, 'application/json', { truncated: true }), { text: shown, truncated: true }, text)
})

t.test('a URL that was cut off before its path may begin with a user', async t => {
  const cut = { truncated: true }
  t.equal(body('see https://me:hus', 'text/plain', cut).text, 'see https://[redacted]')
  t.equal(body('{"url":"https:\\/\\/hus', 'application/json', cut).text, '{"url":"https:\\/\\/[redacted]')
  t.equal(body('url=https%3a%2F%2Fme%3Ahus', 'application/x-www-form-urlencoded', cut).text, 'url=https%3a%2F%2F[redacted]')
  t.equal(body('see https://a.example/x', 'text/plain', cut).text, 'see https://a.example/x')
  t.equal(body('see https://a.example:80', 'text/plain').text, 'see https://a.example:80', 'it is whole')
  t.equal(body('a://b', 'image/png', cut).text, 'a://b')
})

t.test('forms', async t => {
  t.equal(body('user=ann&password=a%26b&x=1', 'application/x-www-form-urlencoded').text, 'user=ann&password=[redacted]&x=1')
  t.equal(body('a=1&pass%77ord=hus', 'application/x-www-form-urlencoded; charset=utf-8', { truncated: true }).text, 'a=1&pass%77ord=[redacted]')
  const part = (name: string, value: string, more = '') => `--b0\r\nContent-Disposition: form-data; name="${name}"\r\n${more}\r\n${value}\r\n`
  const form = `${part('user', 'ann')}${part('password', 'hush\r\nhush')}${part('data', '{"token":"hush"}', 'Content-Type: application/json\r\n')}--b0--\r\n`
  const { text } = body(form, 'multipart/form-data; boundary=b0')
  t.equal(text, `${part('user', 'ann')}${part('password', '[redacted]')}${part('data', '{"token":"[redacted]"}', 'Content-Type: application/json\r\n')}--b0--\r\n`)
  t.notMatch(body(form.slice(0, form.indexOf('hush') + 2), 'multipart/form-data; boundary="b0"', { truncated: true }).text, /hu/)
  t.match(body(form, 'multipart/form-data; boundary=other'), { text: null, omitted: 'form' })
})

t.test('other texts', async t => {
  for (const [text, shown, type] of [
    ['<user><password>hush</password><n a="1">x</n></user>', '<user><password>[redacted]</password><n a="1">x</n></user>', 'application/xml'],
    ['<s:ApiKey x="1">hush', '<s:ApiKey x="1">[redacted]', 'text/xml'],
    ['data: {"token":"hush"}\n\ndata: {"a":1}\n\n', 'data: {"token":"[redacted]"}\n\ndata: {"a":1}\n\n', 'text/event-stream'],
    ['say "hi" {"password": "hush"}', 'say "hi" {"password": "[redacted]"}', 'text/plain'],
    ['password: hush hush\nname: ann', 'password: [redacted]\nname: ann', 'text/plain'],
    ['INFO: login, password: hush', 'INFO: login, password: [redacted]', 'text/plain'],
    ['INFO: password: hush', 'INFO: password: [redacted]', 'text/plain'],
    ['code: 404, key: a', 'code: 404, key: a', 'text/plain'],
    ['<input type="password" value="x">', '<input type="password" value="x">', 'text/html']
  ] as const) t.equal(body(text, type).text, shown, text)
})

t.test('private keys, whatever stands around them', async t => {
  const key = '-----BEGIN RSA PRIVATE KEY-----\nMIIE+/a==\n-----END RSA PRIVATE KEY-----'
  t.equal(redactor.text(`a\n${key}\nb`), 'a\n[redacted]\nb')
  t.equal(redactor.text(`${key} and ${key}`), '[redacted] and [redacted]')
  t.equal(redactor.text('-----BEGIN PRIVATE KEY-----\nMIIE'), '[redacted]', 'cut off')
  t.equal(body(JSON.stringify({ note: `here: ${key}`, b: 1 }), 'application/json').text, '{"note":"here: [redacted]","b":1}')
  t.equal(redactor.text('-----BEGIN CERTIFICATE-----\nabc'), '-----BEGIN CERTIFICATE-----\nabc')
  t.equal(redactor.text('a private key'), 'a private key')
})

t.test('a JSON body without a type, or with a wrong one', async t => {
  t.equal(body(' {"password":"hush"}').text, ' {"password":"[redacted]"}')
  t.equal(body('not json {"password":"hush"} "', 'application/json').text, 'not json {"password":"[redacted]"} "')
})

t.test('a name in JSON may be a text with a secret', async t => {
  t.equal(body('{"token=hush":"","a b":{"password=hush":1}}', 'application/json').text, '{"token=[redacted]":"","a b":{"password=[redacted]":1}}')
})

t.test('what calls itself JSON and is none is looked through like other text', async t => {
  for (const [text, expected] of [
    ['token=hush', 'token=[redacted]'],
    ['{"a":1} password=hush', '{"a":1} password=[redacted]'],
    ['{"a":tru password=hush', '{"a":tru password=[redacted]'],
    ["{'note':true,'x':'password=hush'}", "{'note':true,'x':'password=[redacted]'}"],
    ['{"a":"b"c":"Bearer hushhush"}', '{"a":"b"c":"Bearer [redacted]"}'],
    ['{"a":"x\nBearer\thushhush"}', '{"a":"x\\nBearer\\t[redacted]"}'],
    ['{"a":"\\q","b":"y"} Basic hushhush', '{"a":"\\q","b":"y"} Basic [redacted]'],
    ['{"a":"b\\key=hush', '{"a":"b\\key=[redacted]'],
    ['\u00a0{"a":"x"} eyJhbGciOiJIUzI1NiJ9.hush', '\u00a0{"a":"x"} [redacted]']
  ] as const) {
    t.equal(body(text, 'application/json').text, expected)
    t.equal(body(text, 'application/json', { truncated: true }).text, expected, 'nor does it help to be too long')
  }
  // words, numbers and brackets hide nothing, whatever their order
  for (const text of ['{"a":[true,false,null,-1.5e+3]}', '{"a":1}\n{"a":2}\n', '[1,2', '{"note":"a: b", "page":tr', '}{ 12 "a" ', '{"a":"b\\u00e', '{"a: b":"c\\']) {
    t.equal(body(text, 'application/json').text, text)
  }
})

t.test('no text is so much like JSON that a secret in it is overlooked', async t => {
  const names = createSecretNames(DEFAULT_REDACTION)
  const inner = fc.array(fc.constantFrom('{', ':', ' ', '\n', '\\', '\\"', '\\u00e', '\\k', 'é', 'a', 'token', 'key=', 'secret: ', 'Bearer x', '\\"token\\":', 'hushhushhush'), { maxLength: 5 }).map(parts => parts.join(''))
  const piece = fc.oneof(
    fc.constantFrom('{', '}', '[', ']', ',', ':', ':', ' ', '\n', '1', '-2.5e3', 'true', 'null', '"password":', '"hushhushhush"'),
    fc.constantFrom('tru', '\u00a0', 'token', 'key=', "'", '\\'),
    inner.map(text => `"${text}"`),
    inner.map(text => `"${text}`)
  )
  const seen = { json: 0, other: 0 }
  fc.assert(fc.property(fc.array(piece, { maxLength: 8 }), parts => {
    const text = parts.join('')
    const { clean, json } = readJson(text, names)
    if (!text.includes('hush') || !clean.includes('hush')) return
    seen[json ? 'json' : 'other']++
    // what would be found in the text as it came as well as in what was left of it
    if (json && !isJson(text) && [text, clean].every(text => !redactText(text, names).includes('hush'))) throw new Error(`${JSON.stringify(text)} became ${JSON.stringify(clean)}`)
    if (!json && isJson(text)) throw new Error(`${text} has not been understood`)
  }), { numRuns: 50_000 })
  t.ok(seen.json > 100 && seen.other > 1_000, JSON.stringify(seen))
})

function isJson (text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

t.test('all JSON is understood', async t => {
  const names = createSecretNames(DEFAULT_REDACTION)
  fc.assert(fc.property(fc.json({ stringUnit: 'binary' }), fc.constantFrom(0, 1, '\t'), (text, space) => {
    const written = JSON.stringify(JSON.parse(text), null, space)
    if (!readJson(written, names).json) throw new Error(`${written} has not been understood`)
    for (let end = 0; end < written.length; end += 7) if (!readJson(written.slice(0, end), names).json) throw new Error(`${written.slice(0, end)} has not been understood`)
  }), { numRuns: 2_000 })
  t.pass()
})

t.test('JSON of any length, and a short one after a long one', async t => {
  const names = createSecretNames(DEFAULT_REDACTION)
  for (const length of [40, 65_535, 65_536, 65_537, 65_538, 200_000, 40]) {
    const json = (secret: string): string => `{"é":"${'x'.repeat(length - 29)}","token":"${secret}"}`
    const text = json('hush-hush-')
    t.equal(text.length, length)
    t.equal(readJson(text, names).clean, json('[redacted]'), `${length} characters`)
  }
})

t.test('bytes', async t => {
  const latin = Buffer.from('{"name":"J\xf6rg","password":"h\xfcsh"}', 'latin1')
  t.match(body(latin, 'application/json'), { base64: true, text: Buffer.from('{"name":"J\xf6rg","password":"[redacted]"}', 'latin1').toString('base64') })
  const image = Buffer.from('\xff\xd8token=abc', 'latin1')
  t.match(body(image, 'image/jpeg'), { base64: true, text: image.toString('base64') }, 'pictures stay as they are')
  t.match(body(Buffer.from('{"password":"hush"}', 'utf16le'), 'application/json; charset=utf-16'), { text: null, omitted: 'charset' })
  t.match(body(Buffer.from('{"password":"hush"}', 'utf16le'), 'application/json'), { text: null, omitted: 'charset' })
  t.match(body(Buffer.from('grüß').subarray(0, 3), 'text/plain', { truncated: true }), { text: 'gr', base64: false }, 'half a character is left out')
  t.same(body(''), { text: null, base64: false, truncated: false, decoded: undefined, omitted: undefined })
})

t.test('compressed bodies', async t => {
  const text = '{"a":1,"password":"hush"}'
  t.match(body(gzipSync(text), 'application/json', { encoding: 'gzip' }), { text: '{"a":1,"password":"[redacted]"}', decoded: 'gzip' })
  t.match(body(deflateSync(text), 'application/json', { encoding: 'DEFLATE' }), { text: '{"a":1,"password":"[redacted]"}', decoded: 'deflate' })
  const long = JSON.stringify({ password: 'hush', list: Array.from({ length: 300 }, (_, i) => i * 7919 % 1009) })
  const cut = gzipSync(long).subarray(0, 200)
  const read = body(cut, 'application/json', { encoding: 'gzip', truncated: true })
  t.match(read, { truncated: true, decoded: 'gzip', text: /^{"password":"\[redacted\]","list":\[0,/ })
  t.match(body(gzipSync('x'.repeat(3000)), 'text/plain', { encoding: 'gzip', limit: 1000 }), { text: 'x'.repeat(1000), truncated: true })
  t.match(body(gzipSync('x'.repeat(100_000)), 'text/plain', { encoding: 'gzip', limit: 1000 }), { text: null, omitted: 'compressed' }, 'no bombs')
  for (const encoding of ['zstd', 'gzip, br', 'gzip']) t.match(body('not that', 'text/plain', { encoding }), { text: null, omitted: 'compressed' }, encoding)
})

t.test('names of one\'s own, and only those', async t => {
  const own = createRedactor({ headers: ['x-mine'], query: ['who'], json: ['ssn', 'a.b', 'list.*.c'], replaceDefaults: true })
  t.equal(own.header('X-Mine', 'a'), '[redacted]')
  t.equal(own.header('authorization', 'a'), 'a')
  t.equal(own.url('/?who=1&token=2'), '/?who=[redacted]&token=2')
  const shown = own.body({ bytes: Buffer.from('{"ssn":1,"a":{"b":2,"c":{"b":3}},"x":{"a":{"b":4}},"list":[{"k":{"c":5}}],"token":6}'), truncated: false, type: 'application/json', encoding: undefined, limit: 1000 })
  t.equal(shown.text, '{"ssn":"[redacted]","a":{"b":"[redacted]","c":{"b":3}},"x":{"a":{"b":4}},"list":[{"k":{"c":"[redacted]"}}],"token":6}')
  t.equal(createRedactor({ ...DEFAULT_REDACTION, query: ['who'] }).url('/?who=1&token=2'), '/?who=[redacted]&token=[redacted]')
})

t.test('texts made to be slow are not', async t => {
  // each would take minutes if something looked at the rest of the text from each of its places
  for (const text of ['a'.repeat(65_536), '"'.repeat(65_536), '\\"'.repeat(32_768), '<a'.repeat(32_768), '='.repeat(65_536), 'a='.repeat(32_768), '%3D'.repeat(21_000), '{"a":'.repeat(13_000), 'eyJ'.repeat(21_000), '://'.repeat(21_000), 'token'.repeat(13_000), 'a: '.repeat(21_000), '&a=%26'.repeat(10_000), '\\'.repeat(65_536)]) {
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded']) body(text, type)
    redactor.url(`/?${text}`)
  }
  t.pass('all of them are through')
})

t.test('a text that deserves no closer look holds nothing that one would find', async t => {
  const names = createSecretNames(DEFAULT_REDACTION)
  const pieces = ['token', 'password', 'api', '_', '-', 'key', ':', '=', ' ', '\t', '\n', '"', '\\', "'", '/', '//', '@', '?', '&', '%', '%3D', '+', '<', '>', ',', ';', 'Bearer', 'basic', 'eyJ', 'abcdefghijkl', '.', '1', '12:30', '-----BEGIN PRIVATE KEY-----', 'http', 'me']
  const seen = { plain: 0, suspicious: 0 }
  fc.assert(fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 12 }), parts => {
    const text = parts.join('')
    if (isSuspicious(text)) seen.suspicious++
    else {
      seen.plain++
      // the line behind it is harmless, and makes it be looked at
      const looked = redactText(`${text}\n<`, names)
      if (looked !== `${text}\n<`) throw new Error(`${JSON.stringify(text)} became ${JSON.stringify(looked)}`)
    }
  }), { numRuns: 50_000 })
  t.ok(seen.plain > 1_000 && seen.suspicious > 1_000, JSON.stringify(seen))
})

t.test('the same value is shown the same way, whether or not it was seen before', async t => {
  const redactor = createRedactor()
  for (let time = 0; time < 2; time++) {
    t.equal(redactor.header('cache-control', 'max-age=60'), 'max-age=60')
    t.equal(redactor.header('x-note', 'token=abc'), 'token=[redacted]')
    t.equal(redactor.header('x-api-key', 'max-age=60'), '[redacted]', 'by the name, whatever the value')
  }
})
