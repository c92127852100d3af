import fc from 'fast-check'
import t, { type Test } from 'tap'
import { BadPathError } from '../../../lib/errors.ts'
import { isSafePath } from '../../../lib/rewrite/guard.ts'
import { createRewrite, joinPath } from '../../../lib/rewrite/rewrite.ts'
import { templateParams } from '../../../lib/rewrite/template.ts'
import type { RewriteStep } from '../../../lib/types.ts'

function rewritten (steps: RewriteStep | RewriteStep[], target: string, params: Record<string, string | undefined> = {}): string {
  const rewrite = createRewrite([steps].flat())
  return rewrite === undefined ? target : rewrite(target, params)
}

function table (t: Test, steps: RewriteStep | RewriteStep[], cases: Record<string, string>): void {
  for (const [target, expected] of Object.entries(cases)) t.equal(rewritten(steps, target), expected, target)
}

t.test('nothing to do is no rewrite at all', async t => {
  const idle: RewriteStep[] = [
    { kind: 'stripPrefix', prefix: '/' }, { kind: 'addPrefix', prefix: '' }, { kind: 'replacePrefix', from: '/a', to: '/a/' }, { kind: 'query', set: {}, remove: [] }
  ]
  t.equal(createRewrite([]), undefined)
  t.equal(createRewrite(idle), undefined)
})

t.test('stripPrefix cuts whole segments only', async t => {
  for (const prefix of ['/api', '/api/']) {
    table(t, { kind: 'stripPrefix', prefix }, {
      '/api/x': '/x',
      '/api': '/',
      '/api/': '/',
      '/api?q=1': '/?q=1',
      '/apiary': '/apiary',
      '/x/api/y': '/x/api/y',
      '/api%2Fx': '/api%2Fx',
      '/API/x': '/API/x',
      '/api/api/x': '/api/x'
    })
  }
})

t.test('stripPrefix finds a prefix that the client encoded', async t => {
  table(t, { kind: 'stripPrefix', prefix: '/api/v1' }, { '/%61pi/v%31/x%2Fy': '/x%2Fy', '/ap%69/v1': '/', '/%61piary/v1/x': '/%61piary/v1/x' })
  table(t, { kind: 'stripPrefix', prefix: '/caf\u00e9' }, { '/caf%C3%A9/x': '/x', '/caf%c3%a9/x': '/x' })
})

t.test('stripPrefix decodes segments once only', async t => {
  table(t, { kind: 'stripPrefix', prefix: '/api' }, { '/%2561pi/x': '/%2561pi/x' })
})

t.test('stripPrefix leaves one slash where the client sent several', async t => {
  table(t, { kind: 'stripPrefix', prefix: '/api' }, { '/api//evil.example/x': '/evil.example/x', '/api///': '/' })
})

t.test('addPrefix goes before every path', async t => {
  table(t, { kind: 'addPrefix', prefix: '/v1/' }, { '/x': '/v1/x', '/': '/v1/', '/x?a=/': '/v1/x?a=/', '//x': '/v1//x' })
})

t.test('addPrefix is encoded as it must be on the wire', async t => {
  table(t, { kind: 'addPrefix', prefix: '/caf\u00e9 a%2Fb' }, { '/x': '/caf%C3%A9%20a%2Fb/x' })
})

t.test('replacePrefix puts another prefix in its place', async t => {
  table(t, { kind: 'replacePrefix', from: '/api/v1', to: '/api/v2' }, { '/api/v1/x': '/api/v2/x', '/api/v1': '/api/v2', '/api/v10': '/api/v10', '/api/v1/?a': '/api/v2/?a' })
  table(t, { kind: 'replacePrefix', from: '/', to: '/new' }, { '/x': '/new/x' })
  table(t, { kind: 'replacePrefix', from: '/old', to: '/' }, { '/old/x': '/x', '/old': '/' })
})

t.test('regex works on the encoded path and leaves the query alone', async t => {
  table(t, { kind: 'regex', pattern: /^\/u\/(\d+)$/, replacement: '/users/$1' }, {
    '/u/7': '/users/7', '/u/7?x=/u/7': '/users/7?x=/u/7', '/u/a': '/u/a', '/u/%37': '/u/%37'
  })
  table(t, { kind: 'regex', pattern: /a/g, replacement: 'b' }, { '/aa?a': '/bb?a' })
})

t.test('regex gives a path with one slash at its beginning', async t => {
  table(t, { kind: 'regex', pattern: /^\/old/, replacement: '' }, { '/old/x': '/x', '/oldx': '/x', '/old//x': '/x', '/old': '/' })
})

t.test('regex has no memory of the request before', async t => {
  const rewrite = createRewrite([{ kind: 'regex', pattern: /\/a/gy, replacement: '/b' }])!
  t.strictSame([rewrite('/a/a', {}), rewrite('/a/a', {})], ['/b/b', '/b/b'])
})

t.test('template puts a parameter in as one encoded segment', async t => {
  const template: RewriteStep = { kind: 'template', template: '/api/users/:id' }
  for (const [id, expected] of Object.entries({ 7: '7', 'a b': 'a%20b', 'a/b': 'a%2Fb', 'a?b=c': 'a%3Fb%3Dc', é: '%C3%A9', 'a#b': 'a%23b', '%2e': '%252e', '...': '...' })) {
    t.equal(rewritten(template, '/u/x?q=1', { id }), `/api/users/${expected}?q=1`)
  }
})

t.test('template refuses a parameter that is no segment', async t => {
  for (const id of [undefined, '', '.', '..', '../x', 'x/../y', '..\\x', '%2e%2e', '\ud800', 'a\0b']) {
    t.throws(() => rewritten({ kind: 'template', template: '/api/:id/x' }, '/u/x', { id }), BadPathError, JSON.stringify(id))
  }
})

t.test('template does not take a parameter from the prototype', async t => {
  t.throws(() => rewritten({ kind: 'template', template: '/:constructor' }, '/u/x'), BadPathError)
})

t.test('template puts the rest of the path in as it was sent', async t => {
  const template: RewriteStep = { kind: 'template', template: '/files/*' }
  const cases: Array<[target: string, rest: string, expected: string]> = [
    ['/f/a/b', 'a/b', '/files/a/b'],
    ['/f/a%2Fb/c?q', 'a/b/c', '/files/a%2Fb/c?q'],
    ['/f/%61%2561', 'a%61', '/files/%61%2561'],
    ['/f/caf%C3%A9/%F0%9F%98%80', 'caf\u00e9/\u{1f600}', '/files/caf%C3%A9/%F0%9F%98%80'],
    ['/f/', '', '/files/'],
    ['/f/a//b', 'a//b', '/files/a//b'],
    ['/other', 'not there/x', '/files/not%20there/x']
  ]
  for (const [target, rest, expected] of cases) t.equal(rewritten(template, target, { '*': rest }), expected)
})

t.test('template takes the rest from the path of the client, whatever came before', async t => {
  const steps: RewriteStep[] = [{ kind: 'addPrefix', prefix: '/x' }, { kind: 'template', template: '/y/*' }]
  t.equal(rewritten(steps, '/f/a%2Fb', { '*': 'a/b' }), '/y/a%2Fb')
})

t.test('template knows an escaped colon and several parameters in a segment', async t => {
  t.equal(rewritten({ kind: 'template', template: '/v1::batch/:a-:b.json' }, '/', { a: '1', b: '2' }), '/v1:batch/1-2.json')
})

t.test('template sets parameters of the query and keeps the others', async t => {
  const template: RewriteStep = { kind: 'template', template: '/x?id=:id&kind=a%26b' }
  t.equal(rewritten(template, '/u/7?p=%zz&id=1', { id: 'a&b=c' }), '/x?p=%zz&id=a%26b%3Dc&kind=a%26b')
  t.equal(rewritten(template, '/u/7', { id: '' }), '/x?id=&kind=a%26b')
  t.throws(() => rewritten(template, '/u/7'), BadPathError)
})

t.test('template names the parameters it needs', async t => {
  t.strictSame(templateParams('/a/:id/b-:id/:x_1?q=:q&r=::no/*'), ['id', 'x_1', 'q', '*'])
  t.strictSame(templateParams('/a'), [])
})

t.test('query sets and removes parameters and leaves the others byte for byte', async t => {
  const step: RewriteStep = { kind: 'query', set: { v: 'a b&c' }, remove: ['debug', 'a b'] }
  table(t, step, {
    '/x': '/x?v=a%20b%26c',
    '/x?': '/x?v=a%20b%26c',
    '/x?a=%zz&b=+&a=%2f': '/x?a=%zz&b=+&a=%2f&v=a%20b%26c',
    '/x?v=1&z&v=2': '/x?v=a%20b%26c&z',
    '/x?debug&a+b=1&a%20b=2&d%65bug=1&y=1': '/x?y=1&v=a%20b%26c'
  })
})

t.test('query that has nothing to remove leaves the query as it is', async t => {
  table(t, { kind: 'query', set: {}, remove: ['debug'] }, { '/x?': '/x?', '/x?&&a=': '/x?&&a=', '/x?debug': '/x', '/x?a&debug&&b': '/x?a&&b', '/x': '/x' })
})

t.test('steps work one after the other', async t => {
  table(t, [
    { kind: 'stripPrefix', prefix: '/api' }, { kind: 'regex', pattern: /^\/u\//, replacement: '/users/' }, { kind: 'addPrefix', prefix: '/v1' }, { kind: 'query', set: { k: '1' }, remove: [] }
  ], { '/api/u/7?a': '/v1/users/7?a&k=1' })
})

t.test('a path that no step matches is byte-identical, two slashes at its beginning included', async t => {
  table(t, { kind: 'stripPrefix', prefix: '/api' }, Object.fromEntries(['//evil.example/x?a', '/a%2Fb;c/%3f?%zz&&=#', '/%41%7e'].map(target => [target, target])))
})

t.test('a rewrite that makes a climb is refused', async t => {
  t.throws(() => rewritten({ kind: 'regex', pattern: /x/g, replacement: '.' }, '/a/xx/b'), BadPathError)
  t.throws(() => rewritten({ kind: 'stripPrefix', prefix: '/api' }, '/api/../x'), BadPathError)
})

t.test('the target of OPTIONS * is no path', async t => {
  table(t, { kind: 'addPrefix', prefix: '/v1' }, { '*': '*' })
})

t.test('options that make no path are refused with their value', async t => {
  const wrong: RewriteStep[] = [
    { kind: 'addPrefix', prefix: 'v1' }, { kind: 'addPrefix', prefix: '/a/../b' }, { kind: 'stripPrefix', prefix: '/a?b' }, { kind: 'addPrefix', prefix: '/%zz' },
    { kind: 'replacePrefix', from: '/a', to: '/b#c' }, { kind: 'regex', pattern: /a/, replacement: '/x?y' }, { kind: 'template', template: 'x/:id' }
  ]
  for (const step of wrong) t.throws(() => createRewrite([step]), { name: 'RangeError', message: /rewrite .*\(got "/ }, JSON.stringify(step))
})

t.test('no rewritten path ever climbs or names a host', async () => {
  const pieces = fc.array(fc.constantFrom('/', '//', '.', '..', '%2e', '%2F', '%5c', '\\', 'api', '%61pi', 'x', ';', '%25', '%252e', '*', ':id'), { maxLength: 10 })
  const param = fc.oneof(fc.string(), fc.constantFrom('..', '../x', '%2e%2e', '/', '//h'))
  const steps: RewriteStep[][] = [
    [{ kind: 'stripPrefix', prefix: '/api' }],
    [{ kind: 'replacePrefix', from: '/api', to: '/' }, { kind: 'addPrefix', prefix: '/v1' }],
    [{ kind: 'regex', pattern: /^\/api(.*)x/, replacement: '$1' }],
    [{ kind: 'template', template: '/users/:id' }],
    [{ kind: 'template', template: '/*' }],
    [{ kind: 'template', template: '/q?id=:id' }]
  ]
  fc.assert(fc.property(pieces, param, param, fc.constantFrom(...steps), (parts, id, rest, chain) => {
    const target = '/' + parts.join('')
    try {
      const result = rewritten(chain, target, { id, '*': rest })
      const [path = ''] = result.split('?')
      return isSafePath(path) && (result === target || !path.startsWith('//'))
    } catch (error) {
      return error instanceof BadPathError
    }
  }), { seed: 6, numRuns: 5000 })
})

t.test('stripping and adding the same prefix gives the target back', async () => {
  const name = fc.string({ minLength: 1 }).map(encodeURIComponent).filter(text => isSafePath(`/${text}/`))
  fc.assert(fc.property(fc.array(name, { minLength: 1 }), fc.string().map(encodeURIComponent), (names, query) => {
    const target = `/api/${names.join('/')}?${query}`
    return rewritten([{ kind: 'stripPrefix', prefix: '/api' }, { kind: 'addPrefix', prefix: '/api' }], target) === target
  }), { seed: 7, numRuns: 300 })
})

t.test('a base path and a target are joined with one slash', async t => {
  const cases: Array<[base: string, target: string, joined: string]> = [
    ['', '/x?y', '/x?y'], ['/', '/x', '/x'], ['/b', '/x', '/b/x'], ['/b/', '/x', '/b/x'], ['/b', '/', '/b/'], ['/b', '//x', '/b//x'], ['', '//x', '//x'],
    ['/b', 'x', '/b/x'], ['', 'x', '/x'], ['/b', '?q', '/b?q'], ['', '?q', '/?q'], ['/b/', '', '/b/'], ['', '', '/'], ['/b', '*', '*']
  ]
  for (const [base, target, joined] of cases) t.equal(joinPath(base, target), joined, `${base} + ${target}`)
})
