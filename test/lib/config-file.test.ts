/* eslint-disable no-template-curly-in-string */
/** YAML and JSON files: environment, positions, certificates. */
import t from 'tap'
import { join } from 'node:path'
import { loadConfigFile, parseConfigText, type FileProblem } from '../../lib/config-file.ts'
import { parseOptions } from '../../lib/options/index.ts'
import { problemsOf, problemsOfAsync } from './options/problems.ts'

const PEM = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n'

function parse (text: string, env: Record<string, string> = {}) {
  return parseConfigText(text, { path: 'gateway.yaml', env })
}

t.test('YAML and JSON say the same', async (t) => {
  const yaml = parse('backends:\n  users: http://127.0.0.1:4001\ndefaultBackend: users\ntimeout: 30s\n')
  const json = parse('{ "backends": { "users": "http://127.0.0.1:4001" }, "defaultBackend": "users", "timeout": "30s" }')
  t.same(yaml.gateway, json.gateway)
  t.equal(yaml.config.backends['users']?.timeout.total, 30_000)
})

t.test('an empty file is a gateway with nothing in it', async (t) => {
  const { config, server } = parse('# nothing yet\n')
  t.same(Object.keys(config.backends), [])
  t.match(server, { host: '127.0.0.1', port: 8080 })
})

t.test('the server\'s options become Fastify\'s, over serverOptions', async (t) => {
  const { server } = parse('server: { host: 0.0.0.0, port: 9000, trustProxy: [10.0.0.0/8], maxHeaderSize: 8kb, keepAliveTimeout: 5s, logger: warn }')
  t.match(server, {
    host: '0.0.0.0',
    port: 9000,
    fastify: { trustProxy: ['10.0.0.0/8'], keepAliveTimeout: 5_000, logger: { level: 'warn' }, http: { maxHeaderSize: 8_192, requireHostHeader: true }, rewriteUrl: Function }
  })
})

t.test('values come out of the environment', async (t) => {
  const text = [
    'server:',
    '  port: ${PORT:-8080}',
    '  trustProxy: ${TRUST}',
    'backends:',
    '  users: http://${HOST:-127.0.0.1}:${USERS_PORT}',
    'headers:',
    '  request:',
    '    set:',
    '      x-number: "${NUMBER}"',
    '      x-plain: $${HOST} and $1',
    '      x-empty: "${EMPTY:-fallback}"'
  ].join('\n')
  const { server, gateway } = parse(text, { TRUST: 'true', USERS_PORT: '4001', NUMBER: '5', EMPTY: '' })
  t.equal(server.port, 8080)
  t.equal(server.fastify.trustProxy, true)
  t.equal(gateway.backends?.['users'], 'http://127.0.0.1:4001')
  t.same(gateway.headers?.request?.set, { 'x-number': '5', 'x-plain': '${HOST} and $1', 'x-empty': 'fallback' })
})

t.test('an unquoted value of the environment becomes a number only when nothing is lost', async (t) => {
  const text = 'backends:\n  a:\n    url: http://a\n    metadata:\n      value: ${V}\n'
  const typeOf = (value: string) => parse(text, { V: value }).config.backends['a']?.metadata['value']
  t.equal(typeOf('5'), 5)
  t.equal(typeOf('-1.5'), -1.5)
  t.equal(typeOf('007'), '007')
  t.equal(typeOf('12345678901234567890'), '12345678901234567890')
  t.equal(typeOf('a: b'), 'a: b')
  t.equal(typeOf('{}'), '{}')
})

t.test('a missing variable is named once, with its place', async (t) => {
  const problems = problemsOf(() => parse('server:\n  port: ${PORT}\n'))
  t.match(problems, [{ line: 2, column: 3, path: 'server.port', rule: /the environment variable PORT, which is not set/, value: '${PORT}' }])
  t.equal(problems.length, 1)
})

t.test('a malformed substitution is refused', async (t) => {
  t.match(problemsOf(() => parse('defaultBackend: ${9}')), [{ path: 'defaultBackend', rule: /write \$\$\{/ }])
})

t.test('problems come with line and column, in the order of the file', async (t) => {
  const text = ['backends:', '  a:', '    targets:', '      - http://a', '      - url: http://b', '        weight: -1', 'routes:', '  - { path: x, proxy: a, metods: [GET] }', 'defaultBackend: b'].join('\n')
  t.same((problemsOf(() => parse(text)) as FileProblem[]).map(({ line, column, path }) => [line, column, path]), [
    [6, 9, 'backends.a.targets[1].weight'],
    [8, 7, 'routes[0].path'],
    [8, 26, 'routes[0].metods'],
    [9, 1, 'defaultBackend']
  ])
  t.throws(() => parse(text), { code: 'RP_ERR_OPTIONS', message: /^gateway\.yaml: 4 wrong options\ngateway\.yaml:6:9 {2}backends\.a\.targets\[1\]\.weight: must be a number of 0 or more \(got -1\)/ })
})

t.test('what is missing is reported where it should be', async (t) => {
  t.match(problemsOf(() => parse('backends:\n  a: http://a\nroutes:\n  - name: x\n    proxy: a\n')), [{ line: 4, column: 5, path: 'routes[0].path', rule: 'is required' }])
})

t.test('anchors, aliases and merge keys work, also under x- names', async (t) => {
  const text = ['x-defaults: &defaults', '  timeout: { headers: 1s }', '  host: preserve', 'backends:', '  a: { <<: *defaults, url: http://a }', '  b: { <<: *defaults, url: http://b, host: upstream }'].join('\n')
  const { backends } = parse(text).config
  t.match(backends['a'], { host: 'preserve', timeout: { headers: 1_000 } })
  t.match(backends['b'], { host: 'upstream', timeout: { headers: 1_000 } })
})

t.test('a problem in a merged value points at the value', async (t) => {
  const text = ['x-defaults: &defaults', '  hots: preserve', 'backends:', '  a: { <<: *defaults, url: http://a }'].join('\n')
  t.match(problemsOf(() => parse(text)), [{ line: 2, column: 3, path: 'backends.a.hots', rule: /did you mean "host"/ }])
})

t.test('the same key twice is refused', async (t) => {
  t.match(problemsOf(() => parse('backends:\n  a: http://a\n  a: http://b\n')), [{ line: 3, rule: 'must not have the same key twice' }])
})

t.test('a syntax error has a position, and a hint about substitutions in flow style', async (t) => {
  t.match(problemsOf(() => parse('backends:\n  a: "http://a\n')), [{ rule: /must be valid YAML/ }])
  t.match(problemsOf(() => parse('server: { port: ${PORT} }\n'))[0], { line: 1, rule: /needs quotes/ })
})

t.test('one syntax error is told, however often the parser stumbles after it', async (t) => {
  const told = (...lines: string[]) => (problemsOf(() => parse(lines.join('\n'))) as FileProblem[]).map(({ line, column, rule }) => `${line}:${column} ${rule.replace('must be valid YAML: ', '')}`)
  t.same(told('{ "backends": { "a": "http://a" "b": 3 }, "routes": [ }'), ['1:22 Block collections are not allowed within flow collections'])
  t.same(told('backends:', '  a: http://a', ' b: http://b', 'routes:', '  - { path: /x'), ['3:1 All mapping items must start at the same column; 1 more line has errors that may follow from it'])
  t.same(told('a: 1', 'b: }', 'c: ]', 'd: }', 'a: 2'), ['2:4 Unexpected flow-map-end token in YAML stream: "}"; 3 more lines have errors that may follow from it'])
})

t.test('what has no end is told with its beginning', async (t) => {
  const [text, list, short] = ['backends:\n  a: "http://a\nroutes: []\n', 'routes:\n  - methods: [GET, POST\n    path: /x\n', 'a: {'].map(text => problemsOf(() => parse(text))[0])
  t.match(text, { line: 4, rule: /Missing closing "quote \(it begins at line 2\)$/ })
  t.match(list, { line: 3, rule: /must be sufficiently indented and end with a \] \(it begins at line 2\)$/ })
  t.notMatch(short, { rule: /it begins/ })
})

t.test('a syntax error shows nothing of what stands there', async (t) => {
  for (const text of ['a: 1\nb: }s3cret\n', '"a": [1]\n]\ns3cret\n', 'a: |s3cret\n  b\n', '{ a: 1 }\ns3cret\n', 'a: "x" s3cret\n', '- a\ns3cret\n', 'admin: { token: "s3cret-s3cret\n', 'admin:\n  token: s3cret: s3cret\n', 'admin:\n  token: s3cret\n s3cret: ]\n']) t.throws(() => parse(text), { message: /^(?!.*s3cret)/s }, text)
})

t.test('aliases cannot be multiplied without end', async (t) => {
  const lines = ['x-a: &a [x, x, x, x, x, x, x, x, x, x]']
  for (let i = 1; i < 8; i++) lines.push(`x-${i}: &${'a'.repeat(i + 1)} [${Array(10).fill(`*${'a'.repeat(i)}`).join(', ')}]`)
  t.match(problemsOf(() => parse(lines.join('\n'))), [{ rule: /must be valid YAML/ }])
})

t.test('__proto__ in a file is refused', async (t) => {
  t.match(problemsOf(() => parse('backends:\n  __proto__: http://a\n')), [{ path: 'backends.__proto__', rule: 'must not be used as a name', line: 2 }])
})

t.test('what only code can say is refused with the reason', async (t) => {
  t.match(problemsOf(() => parse('balancers: { mine: x }')), [{ path: 'balancers', rule: /register the plugin in code/ }])
})

t.test('a file that is a list is refused', async (t) => {
  t.match(problemsOf(() => parse('- a\n- b\n')), [{ path: '', rule: 'must be an object', line: 1 }])
})

t.test('certificates are read relative to the file and handed on as text', async (t) => {
  const folder = t.testdir({
    'ca.pem': PEM,
    'gateway.yaml': 'tls: { ca: ./ca.pem }\nbackends:\n  a: { url: https://a, tls: { ca: [./ca.pem] } }\nserver:\n  http2: true\n  https: { cert: ./ca.pem, key: ca.pem }\n'
  })
  const { gateway, config, server } = await loadConfigFile(join(folder, 'gateway.yaml'), {})
  t.same(config.backends['a']?.tls.ca, [PEM])
  t.equal(config.backendDefaults.tls.ca, PEM)
  t.same(parseOptions(gateway).backends['a']?.tls.ca, [PEM])
  t.match(server.fastify, { http2: true, https: { cert: PEM, key: PEM, allowHTTP1: true, maxHeaderSize: 16_384 } })
})

t.test('a certificate that is not there is a problem', async (t) => {
  const folder = t.testdir({ 'gateway.yaml': 'backends:\n  a: { url: https://a, tls: { ca: ./none.pem } }\n', 'no.yaml': 'server: { http2: true }' })
  t.match(await problemsOfAsync(loadConfigFile(join(folder, 'gateway.yaml'))), [{ path: 'backends.a.tls.ca', rule: /ENOENT/, value: './none.pem', line: 2 }])
  t.match(await problemsOfAsync(loadConfigFile(join(folder, 'no.yaml'))), [{ path: 'server.http2', rule: /needs https/ }])
})

t.test('a file that is not there is a problem', async (t) => {
  const folder = t.testdir({})
  await t.rejects(loadConfigFile(join(folder, 'none.yaml')), { code: 'RP_ERR_OPTIONS', message: `${folder}/none.yaml: no such file`, problems: [{ path: '', rule: 'no such file' }] })
  await t.rejects(loadConfigFile(folder), { code: 'RP_ERR_OPTIONS', message: `${folder}: is a folder` })
})
