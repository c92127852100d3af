/** No secret is in the errors of wrong options, wherever it was put. */
import t from 'tap'
import { parseConfigText } from '../../../lib/config-file.ts'
import { OptionsError, problemsOf } from '../../../lib/errors.ts'
import { parseOptions } from '../../../lib/options/index.ts'
import type { GatewayOptions } from '../../../lib/options/index.ts'

const WRONG: ReadonlyArray<readonly [name: string, options: unknown]> = [
  ['a header that is an object', { headers: { request: { set: { authorization: { v: 'Hush' } } } } }],
  ['a header with a line break', { headers: { request: { set: { cookie: 'Hush\nx' } } } }],
  ['headers as a list', { headers: { request: { set: ['authorization: Bearer HushHushHush'] } } }],
  ['an object in a list', { admin: [{ token: 'Hush' }] }],
  ['an unknown name', { admin: { pass: 'Hush' } }],
  ['another one', { backends: { a: { url: 'http://a', tls: { pfx: 'Hush' } } } }],
  ['a URL', { backends: { a: 'http://user:Hush@a:1x' } }],
  ['a query', { backends: { a: 'http://a/?access_token=Hush' } }],
  ['deep within', { backends: { a: { url: 'http://a', retry: [{ x: [{ clientSecret: ['Hush'] }] }] } } }]
]

t.test('in code and from a file', async t => {
  for (const [name, options] of WRONG) {
    const problems = problemsOf(() => parseOptions(options as GatewayOptions))
    t.ok(problems.length > 0, name)
    t.notMatch(JSON.stringify(problems), /Hush/, name)
    t.notMatch(new OptionsError(problems).message, /Hush/, name)
    t.throws(() => parseConfigText(JSON.stringify(options), { path: 'g.yaml', env: {} }), { message: /^(?:(?!Hush)[^])*$/ }, `${name}, file`)
  }
})

t.test('the line of what is no YAML is not shown', async t => {
  t.throws(() => parseConfigText("admin: { token: 'Hush' port: 1 }", { path: 'g.yaml', env: {} }), { message: /^g\.yaml: (?:(?!Hush)[^])*g\.yaml:1:\d+ (?:(?!Hush)[^])*$/ })
})

t.test('what is no secret is shown as it is', async t => {
  t.match(problemsOf(() => parseOptions({ backends: { a: { url: 'http://a', timeout: 'soon', balancer: { type: 'hash', key: 3 } } } } as unknown as GatewayOptions)).map(({ value }) => value), ['soon', 3])
})

t.test('routes that cannot be told apart are found in the file, with their line', async t => {
  const text = 'backends: { a: http://127.0.0.1:1 }\nroutes:\n  - { path: "/x/:id", proxy: a }\n  - { path: "/x/:name", proxy: a }\n'
  t.throws(() => parseConfigText(text, { path: 'g.yaml', env: {} }), { message: /g\.yaml:4:5 {2}routes\[1\]/ })
})
