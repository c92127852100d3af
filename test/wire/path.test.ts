/**
 * WIRE-CONTRACT, Path and query: what is legal goes on byte for byte, what climbs is refused, a guard cannot be got
 * round, a parameter stays one segment.
 */
import t from 'tap'
import type { Test } from 'tap'
import { METHODS, get, post, proxyAll, rawRequest, rawUpstream, startGateway, startPair } from '../helper.ts'
import type { Configure, Pair } from '../helper.ts'
import { OK, checkAllRefused, checkHealthy, forwarded } from './checks.ts'
import type { Variant } from './checks.ts'

const variant = (target: string): Variant => [target, get(target)]

/** Either a 400, or byte-identical at the right upstream: never anything in between. */
async function identicalOrRefused (t: Test, pair: Pair, target: string): Promise<void> {
  const before = pair.upstream.requests.length
  const { status } = await rawRequest(pair.port, get(target))
  const request = pair.upstream.requests[before]
  if (status === 400) t.equal(request, undefined, `${target}: refused, not forwarded`)
  else t.strictSame([status, request?.target], [200, target], `${target}: byte-identical`)
}

t.test('legal but odd targets reach the upstream byte-identical', async t => {
  const pair = await startPair(t, OK)
  const targets = [
    '/', '/a', '/a/', '/a/b/c', '/a%2Fb', '/a%2fb', '/%2F', '/a%2F', '/a%2F%2Fb', '/a;b=c', '/a;b=c;d/e', '/;', '/a%3fb', '/a%3Fb=c', '/a%23b', '/a%20b', '/a+b', '/a%2Bb', '/a%25b', '/a%2525b', '/a%252Fb', '/a%26b',
    '/a=b', '/a,b', '/a:b', '/a@b', '/@', '/a!b', '/a$b', "/a'b", '/(a)', '/a*b', '/*', '/a&b', '/~a', '/-_.~', '/a|b', '/.hidden', '/a.b', '/a..b', '/a..', '/..a', '/...', '/a.../b', '/.well-known/x',
    '/%E4%BD%A0', '/%C3%A9', '/%7Ea', '/%41', '/%61dmin', '/a%0Ab', '/caf%C3%A9/', '/a%7Cb', '/a%5Bb%5D', '/[a]', '/{a}', '/^', '/`',
    '/users/:id', '/:id', '/a::b', '/$%7Bx%7D',
    '/http://other.example/', '/http:%2F%2Fother.example', '/a//b', '/a///b//', '/a/;/b', '/a?', '/?', '/??', '/a?b', '/a?=', '/a?&', '/a?&&', '/a?a=1&a=2&a=1', '/a?a[]=1&a[0]=2', '/a?b=?c', '/a?b=/c/d', '/a?b=/../c', '/a?b=../../c', '/a?..', '/a?b=%2e%2e%2f', '/a?q=%zz', '/a?q=%', '/a?q=%2', '/a?%', '/a?q=%00', '/a?q=%0d%0aX:y', '/a?q=a+b%20c', '/a?q=http://x/', '/a?;a=b;c', '/a?a=%26b%3D', "/a?q='or'1", '/a?q={}|^`', '/a?q=@:$', '/a?q=%E4', '/?%2F=%3f',
    '/' + 'a/'.repeat(200), '/' + 'a'.repeat(2000), '/a?' + 'b=c&'.repeat(500), '/' + '%41'.repeat(500)
  ]
  for (const target of targets) {
    const request = await forwarded(t, pair, variant(target))
    t.equal(request?.target, target, `${target.slice(0, 60)}: byte-identical`)
  }
})

t.test('odd targets of other methods are kept too', async t => {
  const pair = await startPair(t, OK)
  for (const method of METHODS.filter(name => name !== 'HEAD')) {
    const request = await forwarded(t, pair, [method, `${method} /a%2Fb;c//d?e=%zz&e HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`])
    t.equal(request?.target, '/a%2Fb;c//d?e=%zz&e', `${method}: byte-identical`)
    t.equal(request?.method, method, `${method}: the method too`)
  }
})

t.test('targets at the edge of the grammar are kept or refused, never changed', async t => {
  const pair = await startPair(t, OK)
  const targets = ['/%e4', '/%FF', '/%zz', '/%', '/a%', '/a%2', '/a%g1', '/%u0041', '/.', '/./', '/a/.', '/a/./b', '/./a', '/%2e', '/%2E/a', '/a/%2e/b', '/%252e%252e/a', '/a/%252e%252e/b', '/%252e%252e%252fa', '/a%255cb', '/..;/a', '/a/..;x=y/b', '/a/..%3b/b', '/%c0%ae%c0%ae/a', '/%e0%80%ae/', '/%uff0e%uff0e/', '/%ff%2e', '/a%5cb', '/a%5Cb', '/..%252fa', '/a/..%00', '/a/..%09/b', '/a/..%20/b', '/a/.%20./b', '/. ./', '/a/\xa0', '/\xe9', '/"a"', '/<a>', '/a?"<>"', '/a?b\\c', '/a?\xe9', '//', '///', '//a', '//a/b', '///a//', '/a?b#', '/a?\x7f', '/a%7f']
  for (const target of targets) await identicalOrRefused(t, pair, target)
  await checkHealthy(t, pair)
})

t.test('climbing targets are refused', async t => {
  const pair = await startPair(t, OK)
  const dots = ['..', '%2e%2e', '%2E%2E', '.%2e', '%2e.', '.%2E', '%2E.']
  const slashes = ['/', '%2f', '%2F', '\\', '%5c', '%5C']
  const targets = [
    ...dots.flatMap(dot => [`/${dot}`, `/${dot}/`, `/a/${dot}`, `/a/${dot}/b`, `/a/b/${dot}/${dot}/c`, `/${dot}/${dot}/etc/passwd`, `//${dot}/a`, `/a//${dot}/b`, `/${dot}?a=b`, `/a/./${dot}/b`]),
    ...dots.flatMap(dot => slashes.flatMap(slash => [`/a${slash}${dot}${slash}b`, `/${dot}${slash}a`, `/a${slash}${dot}`]))
  ]
  await checkAllRefused(t, pair, [...new Set(targets)].map(variant), [400], { closes: false })
})

t.test('a backslash, NUL or # in the path is refused', async t => {
  const pair = await startPair(t, OK)
  const targets = ['/a\\b', '\\', '/\\', '/\\\\other.example/a', '\\\\other.example\\a', '/a\\', '/a\\..\\b', '/..\\a', '/a/..\\b', '/\\..', '/%00', '/a%00', '/a%00/b', '/%00..', '/a%00.html', '/#', '/a#b', '/a#', '#a', '/a?b#c', '/a#?b', '/a\x00b', '/#/../a']
  await checkAllRefused(t, pair, targets.map(variant), [400], { closes: false })
})

t.test('a target that looks like another host never changes the backend', async t => {
  const other = await rawUpstream(t, OK)
  const pair = await startPair(t, OK)
  const there = `127.0.0.1:${other.port}`
  const targets = [`//${there}/a`, `//${there}`, `///${there}/a`, `//user@${there}/a`, `/\\${there}/a`, `\\\\${there}/a`, `/%2f${there}/a`, `/%2F%2F${there}/a`, `//%2f${there}`, `//${there}?a`, `//${there}%2fa`, `/@${there}/a`, `@${there}/a`, `/.${there}`, `.${there}/`, `:${other.port}/a`, `/:${other.port}/a`, `//@${there}`, `/http://${there}/a`, `http://${there}/a`, `HTTP://${there}`, `//${there}/../a`, `/a//${there}`, `/;//${there}`, `?@${there}`]
  for (const target of targets) {
    const before = pair.upstream.requests.length
    const result = await rawRequest(pair.port, get(target))
    t.ok(result.status === 400 || result.status === 200 || result.status === 404, `${target}: answered`, { found: result.status })
    const request = pair.upstream.requests[before]
    if (result.status === 200) t.equal(request?.target, target.replace(/^http:\/\/[^/]*\/?/i, '/'), `${target}: the path of our own upstream`)
  }
  t.equal(other.connections, 0, 'the other host is never asked')
})

t.test('a base path stays in front of every target', async t => {
  const pair = await startPair(t, OK)
  const based = await startGateway(t, { backends: { up: `${pair.upstream.url}/base` } })
  for (const target of ['/', '/a', '//a', '/a%2Fb?c=%zz', '/?x', '/;', '/base/a']) {
    const request = await forwarded(t, { ...pair, port: based.port }, variant(target))
    t.equal(request?.target, `/base${target}`, `${target}: joined`)
  }
  await checkAllRefused(t, { ...pair, port: based.port }, ['/..', '/../secret', '/%2e%2e/secret', '/..%2fsecret', '/a/../../secret', '/..%5csecret', '/\\..\\secret'].map(variant), [400], { closes: false })
})

// ---------------------------------------------------------------- guards

const guarded: Configure = async app => {
  app.all('/admin/*', async (_request, reply) => await reply.code(403).send({ guarded: true }))
  app.all('/admin', async (_request, reply) => await reply.code(403).send({ guarded: true }))
  await proxyAll()(app)
}

/** What a sane backend makes of a path: percent-encoding decoded once (but no new slashes), `..` resolved. */
function asBackendReads (target: string): string {
  const path = target.split('?', 1)[0] ?? ''
  let decoded = path
  try {
    decoded = decodeURIComponent(path.replace(/%2f/gi, '%252f'))
  } catch {
    // it would be a 400 there
  }
  const parts: string[] = []
  for (const part of decoded.split('/')) {
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return parts.join('/')
}

t.test('no spelling of a guarded path gets past its guard', async t => {
  const pair = await startPair(t, OK, { configure: guarded })
  const targets = ['/admin', '/admin/', '/admin/x', '/%61dmin/x', '/%61%64%6d%69%6e/x', '/admin%2Fx', '/admin/../admin/x', '/x/../admin/x', '/x/%2e%2e/admin/x', '/x/..%2fadmin/x', '/x\\..\\admin/x', '/./admin/x', '/%2e/admin/x', '/admin/./x', '/admin;/x', '/admin;a=b/x', '/admin%3b/x', '/admin%00/x', '/admin#/x', '/#/../admin/x', '/admin%20/x', '/x/..;/admin/x', '/admin?x', '/admin%3fx', '/%2561dmin/x', '/admin\\x', '/\\admin/x', '/admin%5cx', 'http://gateway.example/admin/x', 'http://gateway.example/%61dmin/x', 'http://gateway.example/x/../admin/x', 'HTTP://gateway.example/admin', 'http://gateway.example/./admin/x', 'http://admin/admin/x', '/admi%6e/x', '/admi%6E']
  for (const target of targets) {
    for (const bytes of [get(target), post(target, 'hi', { 'Content-Type': 'text/plain' })]) {
      const before = pair.upstream.requests.length
      const result = await rawRequest(pair.port, bytes)
      t.ok([200, 400, 403].includes(result.status), `${target}: answered`, { found: result.status })
      for (const request of pair.upstream.requests.slice(before)) {
        t.notMatch(asBackendReads(request.target), /^\/admin(?:\/|$)/, `${target}: what gets through is not the guarded path`, { target: request.target })
      }
    }
  }
  t.equal((await rawRequest(pair.port, get('/admin/x'))).status, 403, 'the guard stands')
})

t.test('a hook sees the same target as the router and the upstream', async t => {
  const urls: string[] = []
  const pair = await startPair(t, OK, {
    configure: async app => {
      app.addHook('onRequest', async request => { urls.push(request.url) })
      await guarded(app)
    }
  })
  const targets = ['/a', '/a%2Fb', '/%61', '//a', '/a;b', '/a?b=%zz', '/%61dmin/x', '/a/./b', 'http://gateway.example/a', 'http://gateway.example', 'http://gateway.example?x', 'http://gateway.example//a', 'HTTP://gateway.example/a%2fb', 'http://gateway.example/admin/x', '/a//admin', '/%2561']
  for (const target of targets) {
    urls.length = 0
    const before = pair.upstream.requests.length
    const { status } = await rawRequest(pair.port, get(target))
    const request = pair.upstream.requests[before]
    if (status === 200) t.strictSame(urls, [request?.target], `${target}: the hook saw what the upstream sees`)
    else t.equal(request, undefined, `${target}: not forwarded`)
    t.ok(urls.every(url => url.startsWith('/')), `${target}: a hook sees a path only`, { urls })
    if (/admin\/x/.test(target)) t.equal(status, 403, `${target}: guarded`)
  }
})

// ---------------------------------------------------------------- prefixes and templates

t.test('a stripped or replaced prefix cannot be climbed out of', async t => {
  const pair = await startPair(t, OK, {
    configure: app => {
      const handler = app.reverseproxy.handler
      app.get('/api/*', { proxy: { backend: 'up', rewrite: { stripPrefix: '/api', addPrefix: '/v1' } } }, handler)
      app.get('/old/*', { proxy: { backend: 'up', rewrite: { replacePrefix: { from: '/old', to: '/new' } } } }, handler)
      app.get('/healthy', { proxy: { backend: 'up' } }, handler)
    }
  })
  const kept: Array<[string, string]> = [
    ['/api/a', '/v1/a'], ['/api/', '/v1/'], ['/api/a%2Fb', '/v1/a%2Fb'], ['/api/api/a', '/v1/api/a'], ['/api//a', '/v1//a'], ['/api/a?b=/api/c', '/v1/a?b=/api/c'], ['/api/a;b?c=%zz', '/v1/a;b?c=%zz'],
    ['/old/a', '/new/a'], ['/old/old/a', '/new/old/a'], ['/old/x/old', '/new/x/old'], ['/old/a%2fb?old=/old', '/new/a%2fb?old=/old']
  ]
  for (const [sent, arrives] of kept) t.equal((await forwarded(t, pair, variant(sent)))?.target, arrives, `${sent} becomes ${arrives}`)
  const climbs = ['/api/../secret', '/api/%2e%2e/secret', '/api/..%2fsecret', '/api/%2e%2e%2fsecret', '/api/..%5csecret', '/api/..\\secret', '/api/a/../../secret', '/api/a%2f..%2f..%2fsecret', '/api/.%2e/secret', '/old/..', '/old/..%2f..%2fsecret', '/old/%2e%2e']
  await checkAllRefused(t, pair, climbs.map(variant), [400], { closes: false })
  for (const target of ['/apiary', '/apiary/a', '/api.x', '/apix', '/older/a']) {
    const before = pair.upstream.bytes
    t.equal((await rawRequest(pair.port, get(target))).status, 404, `${target}: another segment is another path`)
    t.equal(pair.upstream.bytes, before, `${target}: not forwarded`)
  }
})

t.test('a parameter in a template is one encoded segment or a 400', async t => {
  const pair = await startPair(t, OK, {
    configure: app => {
      const handler = app.reverseproxy.handler
      app.get('/u/:id', { proxy: { backend: 'up', rewrite: { template: '/users/:id' } } }, handler)
      app.get('/p/:a/q/:b', { proxy: { backend: 'up', rewrite: { template: '/x/:b/y/:a/z' } } }, handler)
      app.get('/healthy', { proxy: { backend: 'up' } }, handler)
    }
  })
  const values = ['1', 'a-b_c.d~e', 'a%2Fb', 'a%2fb', '%2F', '%2F%2Fother.example', '..', '%2e%2e', '.%2e', '..%2f..', '%2e%2e%2fadmin', '..%5cadmin', 'a%5cb', '.', '%2e', 'a%3Fx=1', 'a%3fx', 'a%23b', 'a;b=c', 'a&b', 'a=b', 'a%20b', 'a+b', 'a%25b', 'a%252Fb', 'a%252e%252e', '%25', 'a%0d%0aX:%20y', 'a%00', '%E4%BD%A0', '%FF', 'a@b', 'a:b', ':id', '%3Aid', '$1', '$&', '%24%7Bx%7D', '{id}', '*', '%2A', "a'b", 'a,b', 'a%22b', 'a%7Cb', 'a'.repeat(1500)]
  for (const value of values) {
    const before = pair.upstream.requests.length
    const { status } = await rawRequest(pair.port, get(`/u/${value}?q=1`))
    const request = pair.upstream.requests[before]
    if (status === 400) {
      t.equal(request, undefined, `${value}: refused`)
      continue
    }
    t.equal(status, 200, `${value.slice(0, 60)}: served`)
    const segment = /^\/users\/([^/?#\\\s]+)\?q=1$/.exec(request?.target ?? '')?.[1]
    t.type(segment, 'string', `${value.slice(0, 60)}: one segment, the query as it was`, { target: request?.target })
    t.equal(lenientDecode(segment ?? ''), lenientDecode(value), `${value.slice(0, 60)}: which means the same`)
    t.notOk(/^(?:\.|%2e){1,2}$/i.test(segment ?? ''), `${value.slice(0, 60)}: and is no dot segment`)
  }
  t.equal((await forwarded(t, pair, variant('/p/1%2F2/q/:a?c=%zz')))?.target.replace('%3A', ':'), '/x/:a/y/1%2F2/z?c=%zz', 'parameters are put in once, whatever they hold')
})

/** Decoded once; bytes that are not UTF-8 as they are. */
function lenientDecode (segment: string): string {
  return segment.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
}
