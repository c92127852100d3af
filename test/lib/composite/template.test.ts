/** Templates: which texts are references, parameters and literals, and which are refused. */
import t from 'tap'
import fc from 'fast-check'
import { isStatic, parsePath, parseReference, parseText, staticText, TemplateError, textsOf } from '../../../lib/composite/template.ts'

function refuses (parse: () => unknown): boolean {
  try {
    parse()
    return false
  } catch (error) {
    return error instanceof TemplateError
  }
}

const pathOf = (text: string) => { const { root, part, field, path } = parseReference(text); return [root, part, field, path] }

const REFERENCES: Array<[text: string, result: unknown]> = [
  ['user.body', ['part', 'user', 'body', []]],
  ['user.body.a.b', ['part', 'user', 'body', ['a', 'b']]],
  ['user.body[0]', ['part', 'user', 'body', [0]]],
  ['user.body.items[10].id', ['part', 'user', 'body', ['items', 10, 'id']]],
  ['user.body.0', ['part', 'user', 'body', ['0']]],
  ['user.body["a.b"].c', ['part', 'user', 'body', ['a.b', 'c']]],
  ['user.body["0"]', ['part', 'user', 'body', ['0']]],
  ['user.body.größe', ['part', 'user', 'body', ['größe']]],
  ['user.body.__proto__', ['part', 'user', 'body', ['__proto__']]],
  ['my-part.status', ['part', 'my-part', 'status', []]],
  ['$x.headers.X-Total', ['part', '$x', 'headers', ['x-total']]],
  ['user.headers["X-Total"]', ['part', 'user', 'headers', ['x-total']]],
  ['request.params.id', ['request', '', 'params', ['id']]],
  ['request.query.q', ['request', '', 'query', ['q']]],
  ['request.headers.Accept', ['request', '', 'headers', ['accept']]],
  ['request.body', ['request', '', 'body', []]],
  ['request.body.list[0].x', ['request', '', 'body', ['list', 0, 'x']]],
  ['item', ['item', '', 'body', []]],
  ['item.id', ['item', '', 'body', ['id']]],
  ['item[0]', ['item', '', 'body', [0]]],
  ['items', ['items', '', 'body', []]],
  ['items[0].id', ['items', '', 'body', [0, 'id']]],
  [' user.body.id ', ['part', 'user', 'body', ['id']]]
]
for (const [text, result] of REFERENCES) t.test(`{${text}} is a reference`, async t => { t.same(pathOf(text), result) })

const WRONG = ['', ' ', 'user', 'user.', 'user.bod', 'user.bodyx', '.body', 'user..body', 'user.body.', 'user.body..a', 'user.body[', 'user.body[a]', 'user.body[-1]', 'user.body[1', 'user.body a', 'user.status.x', 'user.headers', 'user.headers.a.b', 'request', 'request.params', 'request.params.a.b', 'request.cookies.a', 'request.url', '[0]', 'user[0]', 'user.body["a]']
for (const text of WRONG) t.test(`{${text}} is refused`, async t => { t.ok(refuses(() => parseReference(text))) })

const kinds = (pieces: ReturnType<typeof parseText>) => pieces.map(piece => piece.kind === 'text' ? piece.text : piece.kind === 'param' ? [piece.name] : { of: piece.reference.text })

t.test('a text has references anywhere, and a parameter only as the whole', async t => {
  t.same(kinds(parseText('a{user.body}b{item}')), ['a', { of: 'user.body' }, 'b', { of: 'item' }])
  t.same(kinds(parseText('{user.body}{item}')), [{ of: 'user.body' }, { of: 'item' }])
  t.same(kinds(parseText(':id')), [['id']])
  t.same(kinds(parseText('a:id')), ['a:id'])
  t.same(kinds(parseText(':id ')), [':id '])
  t.same(kinds(parseText('::id')), ['::id'])
  t.same(kinds(parseText('*')), ['*'])
  t.same(kinds(parseText('12:30')), ['12:30'])
  t.same(kinds(parseText('')), [])
})

t.test('a path has parameters anywhere', async t => {
  t.same(kinds(parsePath('/u/:id/x')), ['/u/', ['id'], '/x'])
  t.same(kinds(parsePath('/u-:id.json')), ['/u-', ['id'], '.json'])
  t.same(kinds(parsePath('/:a:b')), ['/', ['a'], ['b']])
  t.same(kinds(parsePath('/x/*')), ['/x/', ['*']])
  t.same(kinds(parsePath('/a::b')), ['/a:b'])
  t.same(kinds(parsePath('/:id/{user.body.id}')), ['/', ['id'], '/', { of: 'user.body.id' }])
})

t.test('a path\'s literals are encoded, escapes stay', async t => {
  t.same(kinds(parsePath('/ä b/%20/:id')), ['/%C3%A4%20b/%20/', ['id']])
})

t.test('doubled braces are literal ones', async t => {
  t.same(kinds(parseText('{{x}}')), ['{x}'])
  t.same(kinds(parseText('{{{item}}}')), ['{', { of: 'item' }, '}'])
  t.same(kinds(parseText('{{user.body}}')), ['{user.body}'])
})

for (const text of ['{', '}', 'a{b', 'a}b', '{item}}', '{{item}', '{a{b}c}', '{}']) {
  t.test(`${text} is refused`, async t => { t.ok(refuses(() => parseText(text))) })
}

t.test('isStatic and staticText', async t => {
  t.equal(isStatic(parseText('a{{b}}')), true)
  t.equal(staticText(parseText('a{{b}}')), 'a{b}')
  t.equal(isStatic(parseText('')), true)
  t.equal(isStatic(parseText(':id')), false)
  t.equal(isStatic(parseText('a{item}')), false)
})

t.test('textsOf finds every text with its path', async t => {
  t.same([...textsOf({ a: 'x', b: [1, 'y', { c: 'z', d: null }], e: true })], [['x', ['a']], ['y', ['b', 1]], ['z', ['b', 2, 'c']]])
  t.same([...textsOf('x')], [['x', []]])
  t.same([...textsOf(Buffer.from('x'))], [])
})

t.test('any text with its braces doubled is itself', async () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom('{', '}', 'a', '.', ' ', '[', '0', 'ä') }), text => {
    const pieces = parseText(text.replace(/[{}]/g, '$&$&'))
    return isStatic(pieces) && staticText(pieces) === text
  }))
})

t.test('any text is parsed or refused, never anything else', async () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom('{', '}', 'a', '.', 'user', '.body', ':', '*', '[', ']', '0', '"', '/') }), text => {
    for (const parse of [parseText, parsePath]) {
      try {
        parse(text)
      } catch (error) {
        if (!(error instanceof TemplateError)) throw error
      }
    }
  }), { numRuns: 500 })
})
