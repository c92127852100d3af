/** `reverseproxy replay`: what is sent again, what is compared, and what is said of it. */
import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { run } from '../../cli/run.ts'
import { compareJson } from '../../lib/replay/compare.ts'
import { parseFilter, progressText, replay } from '../../lib/replay/index.ts'
import type { DumpLine } from '../../lib/replay/types.ts'
import { dumpedLines, dumpFiles } from '../helper/dump.ts'
import { httpUpstream, proxyAll, startGateway, virtualClock } from '../helper.ts'

/** What a command line prints and ends with, without a process of its own. */
async function command (t: Test, ...args: readonly string[]) {
  const [stdout, stderr] = [process.stdout, process.stderr].map(stream => t.capture(stream, 'write', () => true))
  const code = await run(['replay', ...args])
  const [out = '', err = ''] = [stdout!, stderr!].map(calls => calls().map(({ args: [text] }) => String(text)).join(''))
  stdout!.restore()
  stderr!.restore()
  return { code, stdout: out, stderr: err }
}

const line = (more: Partial<DumpLine> = {}): DumpLine => ({
  rule: 'users',
  backend: 'up',
  request_id: 'req-1',
  method: 'GET',
  url: '/users/7',
  request_headers: { Host: ['old'], Accept: ['*/*'] },
  request_body: null,
  status_code: 200,
  response_headers: { 'Content-Type': ['application/json'] },
  response_body: '{"a":1}',
  ...more
})

async function scene (t: Test, lines: ReadonlyArray<Partial<DumpLine> | string>, answer: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) => { json(response, { a: 1 }) }) {
  const seen: Array<{ method: string, url: string, headers: IncomingMessage['headers'], body: string }> = []
  const up = await httpUpstream(t, (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => {
      seen.push({ method: request.method!, url: request.url!, headers: request.headers, body })
      answer(request, response)
    })
  })
  const file = join(t.testdir(), 'dump.jsonl')
  writeFileSync(file, lines.map(one => `${typeof one === 'string' ? one : JSON.stringify(line(one))}\n`).join(''))
  return { up, file, seen, command: (...args: string[]) => command(t, file, '--to', up.url, ...args) }
}

function json (response: ServerResponse, value: unknown, status = 200, type = 'application/json'): void {
  response.writeHead(status, { 'content-type': type }).end(JSON.stringify(value))
}

t.test('answers that are the same end with 0', async t => {
  const { command, seen, up } = await scene(t, [{}, { url: '/users/8?q=1' }])
  t.same(await command(), { code: 0, stdout: '2 lines, 2 sent: 2 matched, 0 differ\n', stderr: '' })
  t.same(seen.map(({ method, url }) => `${method} ${url}`).sort(), ['GET /users/7', 'GET /users/8?q=1'])
  t.equal(seen[0]!.headers.host, new URL(up.url).host)
})

t.test('what differs is told with its way, and ends with 1', async t => {
  const { command } = await scene(t, [{ response_body: '{"a":2,"list":[{"x":1}]}' }], (_request, response) => { json(response, { a: 1, list: [{ x: 2 }] }, 404, 'application/problem+json') })
  const { code, stdout } = await command()
  t.equal(code, 1)
  t.match(stdout, '1 lines, 1 sent: 0 matched, 1 differ\ndifferences: 1 status, 1 header, 2 body\n\nGET /users/7  (req-1)\n' +
    '  status: expected 200, got 404\n  header content-type: expected "application/json", got "application/problem+json"\n  body a: expected 2, got 1\n  body list[0].x: expected 1, got 2\n')
})

t.test('--ignore and --unordered', async t => {
  const { command } = await scene(t, [{ response_body: '{"time":1,"list":[{"id":1,"at":1},{"id":2,"at":2}]}' }], (_request, response) => { json(response, { time: 9, list: [{ id: 2, at: 9 }, { id: 1, at: 9 }] }) })
  t.equal((await command()).code, 1)
  t.equal((await command('--ignore', 'time', '--ignore', 'list[*].at')).code, 1)
  t.equal((await command('--ignore', '$.time', '--ignore', 'list.*')).code, 0)
  t.equal((await command('--ignore', 'time', '--ignore', 'list.at', '--unordered')).code, 0)
})

t.test('--compare-header says which headers are compared', async t => {
  const { command } = await scene(t, [{ response_headers: { 'Content-Type': ['text/plain'], 'X-Version': ['1'] } }], (_request, response) => { response.setHeader('x-version', '2'); json(response, { a: 1 }) })
  t.match((await command()).stdout, /header content-type/)
  const { stdout } = await command('--compare-header', 'X-Version')
  t.match(stdout, /header x-version: expected "1", got "2"/)
  t.notMatch(stdout, /content-type/)
})

t.test('only GET and HEAD are sent, unless it is asked for', async t => {
  const { command, seen } = await scene(t, [{ method: 'POST', request_body: '{"b":1}', request_headers: { 'Content-Type': ['application/json'], 'Content-Length': ['7'] } }, {}])
  t.match(await command(), { code: 0, stdout: /2 lines, 1 sent.*\nskipped: 1 method/ })
  t.same(seen.map(({ method }) => method), ['GET'])
  t.match(await command('--all-methods'), { code: 0, stdout: /2 lines, 2 sent/ })
  t.match(seen.find(({ method }) => method === 'POST'), { body: '{"b":1}', headers: { 'content-type': 'application/json', 'content-length': '7' } })
})

t.test('requests that are not whole in the dump are counted, not sent', async t => {
  const { command, seen } = await scene(t, [
    { request_body_truncated: true, request_body: 'abc' },
    { request_body_omitted: 'compressed' },
    { request_headers: { 'Content-Length': ['5'] } },
    { aborted: true, status_code: 499 },
    { cut: true },
    '{"cut off',
    '5'
  ])
  const { stdout } = await command('--all-methods', '--redacted')
  t.match(stdout, 'skipped: 1 truncated-body, 2 missing-body, 2 aborted, 2 unreadable')
  t.equal(seen.length, 0)
})

t.test('a file that is no dump is told with its line and what is wrong, before anything is sent', async t => {
  const { file, seen, up } = await scene(t, [{}])
  const folder = dirname(file)
  for (const [text, at, what] of [
    ['# Read me\n', 1, 'it is not JSON'],
    ['\n{\n  "a": 1\n}\n', 3, 'it is not JSON'],
    ['[1]\n', 1, 'it is not a JSON object'],
    ['{"level":30,"msg":"request"}\n', 1, 'it has no "method" that is a string'],
    ['{"method":"GET","url":"/","status":200}\n', 1, 'it has no "status_code" that is a number'],
    ['{"timestamp":"2026-01-01T00:00:00.000Z","rule":"us\n5\n', 2, 'it is not a JSON object']
  ] as const) {
    const other = join(folder, 'other.txt')
    writeFileSync(other, text)
    t.same(await command(t, file, other, '--to', up.url), { code: 2, stdout: '', stderr: `reverseproxy: ${other}, line ${at}: this is no line of a traffic dump: ${what}\nTry "reverseproxy --help".\n` })
  }
  t.match(await command(t, folder, '--to', up.url), { code: 2, stderr: /cannot be read \(EISDIR\)/ })
  t.equal(seen.length, 0)
})

t.test('lines that a disk has cut off are skipped, wherever they are', async t => {
  const torn = '{"timestamp":"2026-01-01T00:00:00.000Z","rule":"us'
  const { command } = await scene(t, [torn, {}, torn, {}, '{"times'])
  t.match(await command(), { code: 0, stdout: '5 lines, 2 sent: 2 matched, 0 differ\nskipped: 3 unreadable\n' })
})

t.test('nothing to send ends with 3, and one line says why', async t => {
  const said = async (lines: Parameters<typeof scene>[1], ...args: string[]) => {
    const { command, file } = await scene(t, lines)
    const { code, stderr } = await command(...args)
    t.equal(code, 3, stderr)
    return stderr.replaceAll(file, 'FILE')
  }
  const nothing = 'reverseproxy: nothing was replayed:'
  t.equal(await said([]), `${nothing} there are no lines in FILE\n`)
  t.equal(await said([{}], '--filter', 'route=other'), `${nothing} the only line was left out: 1 by --filter 'route=other'\n`)
  t.equal(await said([{}, { rule: 'other', method: 'POST' }, '{"timestamp":"2', { rule: 'other', aborted: true }], '--filter', 'route=other'),
    `${nothing} all 4 lines were left out: 1 by method (without --all-methods only GET and HEAD are sent), 1 that broke off, 1 by --filter 'route=other', 1 that cannot be read\n`)
  t.equal(await said([{ request_body_truncated: true }, { request_body_omitted: 'compressed' }, { url: '/[redacted]' }, { request_body: '[redacted]' }]), `${nothing} all 4 lines were left out: 1 whose body is longer than ` +
    'maxBodySize of the dump, 1 whose body is not in the dump, 1 with a redacted path (--redacted sends them as they are), 1 with a redacted body (--redacted sends them as they are)\n')
  t.equal(await said([{ method: 'POST' }], '--dry-run'), 'reverseproxy: nothing would be replayed: the only line was left out: 1 by method (without --all-methods only GET and HEAD are sent)\n')
  t.match(await said([], '--json'), nothing)
})

t.test('several dumps without a line are counted', async t => {
  const { file, up } = await scene(t, [])
  const other = join(dirname(file), 'other.jsonl')
  writeFileSync(other, '\n')
  t.match(await command(t, file, other, '--to', up.url), { code: 3, stderr: 'reverseproxy: nothing was replayed: there are no lines in 2 files\n' })
})

t.test('what was redacted is left out, and headers of the connection as well', async t => {
  const { command, seen } = await scene(t, [{ url: '/a?x=1&token=[redacted]', request_headers: { Authorization: ['[redacted]'], Connection: ['X-Gone, keep-alive'], 'X-Gone': ['1'], 'Keep-Alive': ['1'], 'X-Kept': ['1', '2'], 'Accept-Encoding': ['gzip'] } }])
  t.match((await command()).stdout, /1 were sent without headers or parameters that are redacted in the dump/)
  const [{ url, headers }] = seen as [typeof seen[0]]
  t.equal(url, '/a?x=1')
  t.match(headers, { 'x-kept': '1, 2' })
  for (const name of ['authorization', 'x-gone', 'keep-alive', 'accept-encoding']) t.notOk(name in headers, name)
})

t.test('requests with a redacted path or body are left out and counted; --redacted sends them, and says how many', async t => {
  const { command, seen } = await scene(t, [
    { method: 'POST', url: '/1', request_body: '{"user":"ann","password":"[redacted]"}' },
    { method: 'POST', url: '/2', request_body: 'next=%2Fa%3Ftoken%3D%5Bredacted%5D' },
    { method: 'POST', url: '/3', request_body: 'plain' },
    { method: 'POST', url: '/4', request_body: 'W3JlZGFjdGVkXQ==', request_body_encoding: 'base64' },
    { url: '/share/[redacted]' }
  ])
  const { stdout } = await command('--all-methods')
  t.match(stdout, '5 lines, 2 sent')
  t.match(stdout, 'skipped: 1 redacted-path, 2 redacted-body\n')
  t.notMatch(stdout, 'in path or body')
  t.same(seen.splice(0).map(({ url }) => url).sort(), ['/3', '/4'])
  t.match((await command('--all-methods', '--redacted')).stdout, /5 lines, 5 sent[^]*3 were sent with "\[redacted\]" in path or body/)
  t.same(seen.map(({ url }) => url).sort(), ['/1', '/2', '/3', '/4', '/share/%5Bredacted%5D'])
  t.equal(seen.find(({ url }) => url === '/1')!.body, '{"user":"ann","password":"[redacted]"}')
  t.match((await command('--all-methods', '--redacted', '--dry-run')).stdout, '3 would be sent with "[redacted]" in path or body')
  t.match(JSON.parse((await command('--all-methods', '--redacted', '--json')).stdout), { withRedacted: 3, withoutRedacted: 0 })
})

t.test('--set-header takes the place of what was dumped', async t => {
  const { command, seen } = await scene(t, [{ request_headers: { Authorization: ['[redacted]'], Accept: ['*/*'], 'X-Two': ['old'] } }])
  t.notMatch((await command('--set-header', 'authorization: Bearer a:b', '--set-header', 'X-Two: 1', '--set-header', 'x-two:2', '--set-header', 'Host: shop.example', '--set-header', 'x-new: yes')).stdout, 'redacted')
  t.match(seen[0]!.headers, { authorization: 'Bearer a:b', accept: '*/*', 'x-two': '1, 2', host: 'shop.example', 'x-new': 'yes' })
})

t.test('--headers-file has headers one a line, and --set-header wins over it', async t => {
  const { command, file, seen } = await scene(t, [{ request_headers: { Authorization: ['[redacted]'] } }])
  const headers = join(dirname(file), 'headers.txt')
  writeFileSync(headers, '# of staging\r\nAuthorization: Bearer filed\r\n\r\nX-A: 1\r\nX-A: 2\r\nX-B: 1\r\n')
  t.equal((await command('--headers-file', headers, '--set-header', 'x-b: 2')).code, 0)
  t.match(seen[0]!.headers, { authorization: 'Bearer filed', 'x-a': '1, 2', 'x-b': '2' })
})

t.test('headers that cannot be set are wrong usage, and no value is told', async t => {
  const { command, file, seen } = await scene(t, [{}])
  const headers = join(dirname(file), 'headers.txt')
  for (const [text, message] of [
    ['hush', 'must be "name: value"'],
    [': hush', 'must be "name: value"'],
    ['X Y: hush', 'what stands before the colon is no name of a header'],
    ['X: hush\0', 'the value of X has characters that headers cannot have'],
    ['Content-Length: 5', 'Content-Length cannot be set'],
    ['transfer-encoding: hush', 'transfer-encoding cannot be set']
  ] as const) {
    const flag = await command('--set-header', text)
    t.match(flag, { code: 2, stderr: message })
    t.match(flag.stderr, '--set-header')
    writeFileSync(headers, `\n${text}\n`)
    const filed = await command('--headers-file', headers)
    t.match(filed, { code: 2, stderr: message })
    t.match(filed.stderr, `--headers-file: ${headers}, line 2`)
    t.notMatch(flag.stderr + filed.stderr, 'hush')
  }
  writeFileSync(headers, '# nothing\n')
  t.match(await command('--headers-file', headers), { code: 2, stderr: `--headers-file: there are no headers in ${headers}` })
  t.match(await command('--headers-file', '/none'), { code: 2, stderr: '--headers-file: /none cannot be read (ENOENT)' })
  t.equal(seen.length, 0)
})

/** The command as a process, with something to read. */
async function piped (input: string, ...args: readonly string[]) {
  const script = fileURLToPath(new URL('../../cli/reverseproxy.ts', import.meta.url))
  const running = promisify(execFile)(process.execPath, ['--import', import.meta.resolve('tsx'), script, 'replay', ...args])
  running.child.stdin!.on('error', () => {}).end(input)
  return await running.then(({ stdout }) => ({ code: 0, stdout, stderr: '' }), (error: { code: number, stdout: string, stderr: string }) => error)
}

t.test('- is standard input, of a dump or of headers', async t => {
  const { file, seen, up } = await scene(t, [{ url: '/file' }])
  t.match(await piped(`${JSON.stringify(line({ url: '/piped' }))}\n`, '-', file, '--to', up.url), { code: 0, stdout: '2 lines, 2 sent: 2 matched, 0 differ\n' })
  t.same(seen.splice(0).map(({ url }) => url).sort(), ['/file', '/piped'])
  t.match(await piped('X-Token: piped\n', file, '--to', up.url, '--headers-file', '-'), { code: 0 })
  t.match(seen, [{ url: '/file', headers: { 'x-token': 'piped' } }])
  t.match(await piped('', '-', '--to', up.url), { code: 3, stderr: 'there are no lines in standard input' })
  t.match(await piped('# Read me\n', '-', '--to', up.url), { code: 2, stderr: 'standard input, line 1: this is no line of a traffic dump' })
})

t.test('a redacted value of an answer may be anything, in JSON and in texts', async t => {
  const { command } = await scene(t, [{ response_body: '{"a":1,"token":"[redacted]","sig":{"b":1}}' }, { url: '/text', response_headers: { 'Content-Type': ['text/plain'] }, response_body: 'see https://x/?mine=[redacted] there' }],
    (request, response) => {
      if (request.url === '/text') response.writeHead(200, { 'content-type': 'text/plain' }).end('see https://x/?mine=other there')
      else json(response, { a: 1, token: 'fresh', sig: { b: 2 } })
    })
  t.match(await command(), { code: 0, stdout: /2 matched/ })
})

t.test('binary, compressed, truncated and empty answers', async t => {
  const bytes = Buffer.from([255, 0, 1])
  const { command } = await scene(t, [
    { url: '/bytes', response_body: bytes.toString('base64'), response_body_encoding: 'base64', response_headers: {} },
    { url: '/gzip', response_body: '{"a":1}' },
    { url: '/long', response_body: 'xxx', response_body_truncated: true, response_headers: {} },
    { url: '/empty', status_code: 204, response_body: null, response_headers: {} },
    { url: '/empty', method: 'HEAD', status_code: 204, response_headers: {} }
  ], (request, response) => {
    if (request.url === '/bytes') response.end(bytes)
    else if (request.url === '/gzip') response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(gzipSync('{"a":1}'))
    else if (request.url === '/long') response.end('yyyyyy')
    else response.writeHead(204).end()
  })
  t.match(await command(), { code: 0, stdout: '5 lines, 5 sent: 5 matched' })
})

t.test('--filter takes those that fit', async t => {
  const { command, seen } = await scene(t, [{ url: '/1' }, { url: '/2', rule: 'other' }, { url: '/3', status_code: 503 }, { url: '/4', backend: null }])
  await command('--filter', 'route=users,status<400,backend!=x')
  t.same(seen.map(({ url }) => url).sort(), ['/1', '/4'])
})

t.test('conditions of filters', async t => {
  const fits = (text: string, more: Partial<DumpLine> = {}) => {
    const filter = parseFilter(text)
    return typeof filter === 'string' ? filter : filter(line(more))
  }
  for (const text of ['status=200', 'status=2xx', 'status!=5xx', 'status>=200', 'status<=2xx', 'status<3xx', 'status>1XX', 'method=GET', ' route = users ', 'backend!=b,status=200']) t.equal(fits(text), true, text)
  for (const text of ['status=201', 'status>200', 'status>=3xx', 'method!=GET', 'backend=b', 'route=users,status=404']) t.equal(fits(text), false, text)
  for (const text of ['', 'status', 'status=', 'status=ok', 'path=/', 'route>a', 'route=a,,']) t.type(fits(text), 'string', text)
})

t.test('--dry-run sends nothing and needs no target', async t => {
  const { file, seen } = await scene(t, [{}, { method: 'DELETE' }])
  t.same(await command(t, file, '--dry-run'), { code: 0, stdout: '2 lines, 1 would be sent\nskipped: 1 method\n', stderr: '' })
  t.equal(seen.length, 0)
})

t.test('--json prints the report as data, --shown bounds what is told in full', async t => {
  const { command } = await scene(t, [{ response_body: '1' }, { response_body: '2' }, {}])
  const { code, stdout } = await command('--json', '--shown', '1')
  t.equal(code, 1)
  t.match(JSON.parse(stdout), { lines: 3, sent: 3, matched: 1, differing: 2, kinds: { body: 2, status: 0 }, first: [{ method: 'GET', url: '/users/7', requestId: 'req-1', differences: [{ kind: 'body', at: 'body' }] }] })
  t.equal((JSON.parse(stdout) as { first: unknown[] }).first.length, 1)
})

t.test('the path is sent as it was, below that of --to', async t => {
  const { file, seen, up } = await scene(t, [{ url: '/a/../b//c%2f?x=%7E&y' }, { url: 'http://old.example/d#e' }])
  t.equal((await command(t, file, '--to', `${up.url}/base/`, '--concurrency', '1')).code, 0)
  t.same(seen.map(({ url }) => url), ['/base/a/../b//c%2f?x=%7E&y', '/base/d'])
})

t.test('a target that cannot be reached is a difference', async t => {
  const { file } = await scene(t, [{}])
  t.match(await command(t, file, '--to', 'http://127.0.0.1:1'), { code: 1, stdout: /1 failed[^]*failed: expected 200, got "connect ECONNREFUSED/ })
})

t.test('wrong usage ends with 2', async t => {
  const { file } = await scene(t, [{}])
  for (const [args, message] of [
    [[], /needs a file/],
    [[file], /needs --to <url>/],
    [[file, '--to', 'ftp://x'], /--to must be a URL/],
    [[file, '--to', 'http://x/?a'], /--to must be a URL/],
    [['/none.jsonl', '--to', 'http://x'], /\/none\.jsonl cannot be read \(ENOENT\)/],
    [[file, '--to', 'http://x', '--rate', 'fast'], /--rate must be a number/],
    [[file, '--to', 'http://x', '--rate', '0'], /--rate must be a number/],
    [[file, '--to', 'http://x', '--concurrency', '0'], /--concurrency must be a whole number above 0/],
    [[file, '--to', 'http://x', '--filter', 'path=/'], /--filter: "path=\/" is no condition/],
    [['-', '-', '--to', 'http://x'], /standard input \(-\) can be read only once/],
    [['-', '--to', 'http://x', '--headers-file', '-'], /standard input \(-\) can be read only once/],
    // that of `explain` is a header of the request
    [[file, '--to', 'http://x', '--header', 'x-a'], /--header/],
    [[file, '--to', 'http://x', '--nope'], /--nope/]
  ] as const) t.match(await command(t, ...args), { code: 2, stdout: '', stderr: message }, args.join(' '))
})

t.test('the pace is that of --rate, and there are never more at once than --concurrency', async t => {
  const clock = virtualClock()
  const sentAt: number[] = []
  let running = 0
  let most = 0
  async function * lines () { for (let i = 0; i < 6; i++) yield line({ response_body: null, response_headers: {} }) }
  const options = { filter: undefined, allMethods: false, redacted: false, set: [], concurrency: 2, rate: 10, dryRun: false, headers: [], ignore: [], unordered: false, shown: 1 }
  const report = await replay(lines(), options, {
    async send () {
      sentAt.push(clock.now())
      most = Math.max(most, ++running)
      await new Promise(resolve => { setImmediate(resolve) })
      running--
      return { status: 200, headers: {}, body: Buffer.alloc(0) }
    },
    now: () => clock.now(),
    sleep: async ms => { clock.advance(ms) },
    onLine () {}
  })
  t.equal(report.matched, 6)
  t.same(sentAt.map(Math.round), [0, 100, 200, 300, 400, 500])
  const fast = await replay(lines(), { ...options, rate: Infinity }, { send: async () => { most = Math.max(most, ++running); await new Promise(resolve => { setImmediate(resolve) }); running--; return { status: 200, headers: {}, body: Buffer.alloc(0) } }, now: () => clock.now(), sleep: async () => { t.fail('nothing to wait for') }, onLine () {} })
  t.equal(fast.matched, 6)
  t.equal(most, 2)
})

t.test('differences of JSON', async t => {
  const differ = (one: unknown, other: unknown, options = {}) => compareJson(one as never, other as never, { ignore: [], unordered: false, ...options }).map(({ at, expected, actual }) => [at, expected, actual])
  t.same(differ({ a: 1 }, { b: 1 }), [['a', 1, undefined], ['b', undefined, 1]])
  t.same(differ([1, 2], [1]), [['[1]', 2, undefined]])
  t.same(differ([1, 2, 2], [2, 1, 1], { unordered: true }), [['[*]', 2, 1]])
  t.same(differ({ a: { b: [1, { c: null }] } }, { a: { b: [1, { c: [] }] } }), [['a.b[1].c', null, []]])
  t.same(differ(1, 2), [['body', 1, 2]])
  t.same(differ({ a: [{ id: 1, t: '[redacted]' }, { id: 2 }] }, { a: [{ id: 2 }, { id: 1, t: 'x' }] }, { unordered: true }), [])
  t.same(differ({ constructor: 1 }, {}), [['constructor', 1, undefined]])
})

t.test('progress is a line', async t => {
  t.equal(progressText(0.5, { sent: 3, differing: 1 }), '[############------------]  50 %  3 sent, 1 differ')
  t.match(progressText(0, { sent: 0, differing: 0 }), /^\[-{24}\] {3}0 %/)
  t.equal(progressText(undefined, { sent: 3, differing: 1 }), '3 sent, 1 differ', 'nobody knows how long standard input is')
})

t.test('a dump of the gateway is sent again', async t => {
  const up = await httpUpstream(t, (request, response) => { json(response, { url: request.url, at: 1 }) })
  const directory = join(t.testdir(), 'dumps')
  const { app, url } = await startGateway(t, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 1 } }, proxyAll())
  await (await fetch(`${url}/a?token=hush&b=1`)).text()
  await (await fetch(`${url}/c`)).text()
  await dumpedLines(app, directory, 2)
  const files = dumpFiles(directory).map(name => join(directory, name))
  // the token is not there, and the answer tells of it
  t.match(await command(t, ...files, '--to', up.url, '--ignore', 'url'), { code: 0, stdout: /2 lines, 2 sent: 2 matched/ })
})
