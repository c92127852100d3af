import fc from 'fast-check'
import t from 'tap'
import { isSafePath, pathProblem } from '../../../lib/rewrite/guard.ts'

const refused: Record<string, string[]> = {
  'a plain climb': ['/..', '/../', '/../x', '/a/..', '/a/../b', '/a/b/../../..'],
  'an encoded climb': ['/%2e%2e', '/%2E%2e/x', '/.%2e/x', '/%2e./x', '/a/%2e%2E/b', '/a/.%2E'],
  'a climb encoded twice or more': [
    '/%252e%252e/x', '/.%252e/x', '/%25252e%25252e', '/%25%32%65%25%32%65/', '/%2525252525252525252e./x', '/%25%32%35%32%65./x'
  ],
  'a climb behind an encoded slash': ['/a%2f..', '/a%2F..%2Fb', '/..%2fx', '/%2e%2e%2fx', '/a%252f..%252fb', '/%2f..'],
  'a climb behind an encoded backslash': ['/..%5cx', '/a%5c..', '/a%5C%2e%2e%5Cb', '/a%255c..%255cb', '/%5c..%2f'],
  'a climb with path parameters': ['/..;/x', '/..;a=b/x', '/a/..;', '/%2e%2e;x/y', '/..%3bx/y', '/..%253b/y'],
  'a climb cut off by an encoded delimiter': ['/..%3fx', '/..%23x', '/..%3Fa/b'],
  'a climb with a line break in it': ['/.%0a./x', '/.%09./x', '/%0d../x'],
  'a raw backslash': ['/a\\b', '/\\', '/..\\x', '/a\\..\\b'],
  'a NUL': ['/a\0b', '/a%00b', '/%00', '/..%00/x'],
  'a fragment': ['/a#b', '/#'],
  'a query': ['/a?b', '/?'],
  'malformed percent-encoding': ['/%', '/%z', '/%zz', '/a%2', '/%%32e', '/%u002e', '/a%g0/b'],
  'percent-encoding that is not UTF-8': ['/%ff', '/%c0%ae%c0%ae/x', '/%e0%80%ae', '/%c0%af..', '/%ed%a0%80'],
  'a control, a space or no byte': ['/a b', '/a\tb', '/a\r\nb', '/\x7f', '/\x1f', '/\u0100', '/\u{1f600}'],
  'no slash at its beginning': ['', 'a', '*', 'http://a/', '%2f', '.', '..']
}

for (const [what, paths] of Object.entries(refused)) {
  t.test(`a path with ${what} is refused`, async t => {
    for (const path of paths) t.type(pathProblem(path), 'string', JSON.stringify(path))
  })
}

const passed = [
  '/', '//', '//host/x', '/a//b', '/a/', '/a%2Fb', '/a%2fb/c', '/%2F', '/a;b=c/d', '/;', '/;..', '/a..;', '/a%3fb', '/a%23b', '/...', '/.../a',
  '/a..b', '/..a', '/a..', '/..a/b..', '/.', '/./', '/a/./b', '/%2e', '/%2e/a', '/.a', '/.well-known/x', '/..%2e', '/...%2f', '/%2e%2e%2e', '/a%5cb', '/a%5Cb/c',
  '/%5c', '/.%5c.', '/%25', '/100%25', '/%2525', '/a%252fb', '/%252e', '/x%252e%252ey', '/%2500', '/%0a', '/%20', '/%7e', '/%41', '/%C3%A9', '/%F0%9F%98%80',
  '/"<>^`{|}', "/!$&'()*+,-.:=@_~", '/a.b.c', '/.;x', '/..%41', '/caf\xe9'
]

t.test('an odd but legal path passes', async t => {
  for (const path of passed) t.equal(pathProblem(path), undefined, path)
})

t.test('the guard refuses whatever decodes to a climb, however often it was encoded', async () => {
  const encode = (text: string, depth: number): string => depth === 0 ? text : encode(Array.from(text, char => `%${char.charCodeAt(0).toString(16)}`).join(''), depth - 1)
  const piece = (choices: string[]) => fc.tuple(fc.constantFrom(...choices), fc.integer({ min: 0, max: 3 })).map(([text, depth]) => encode(text, depth))
  const climb = fc.tuple(piece(['/', '\\']), piece(['.']), piece(['.']), piece(['/', '\\', ';', '']))
  fc.assert(fc.property(climb, fc.constantFrom('', '/a', '/a/b'), (parts, before) => !isSafePath(`${before}/x${parts.join('')}`)), { seed: 3, numRuns: 500 })
})

t.test('the guard passes every path of encoded names', async () => {
  const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter(text => /^[^./\\\0%]/.test(text) && !/[/\\\0%?#;.]/.test(text))
  fc.assert(fc.property(fc.array(name), names => isSafePath('/' + names.map(encodeURIComponent).join('/'))), { seed: 4, numRuns: 300 })
})

t.test('what the guard passes does not climb for any URL parser, decoded or not', async () => {
  const text = fc.array(fc.constantFrom('.', '/', '\\', '%2e', '%2f', '%5c', '%25', '2e', '2', 'e', 'a', ';', '%0a', '%09', '%32', '%65'), { maxLength: 14 })
  fc.assert(fc.property(text, (parts) => {
    let path = '/base/' + parts.join('')
    if (!isSafePath(path)) return true
    for (let i = 0; i < 6; i++) {
      if (!new URL(path, 'http://h').pathname.startsWith('/base/')) return false
      try { path = decodeURIComponent(path) } catch { return true }
    }
    return true
  }), { seed: 5, numRuns: 5000 })
})

t.test('a long nest of escapes is looked at in linear time', async t => {
  const started = performance.now()
  t.equal(isSafePath(`/%${'25'.repeat(100_000)}2e./x`), false)
  t.ok(performance.now() - started < 1000)
})
