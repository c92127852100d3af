/** Redirects of backends: passed on, or followed to configured places only. */
import t from 'tap'
import { get, httpUpstream, rawRequest, startGateway } from '../helper.ts'
import type { TestLike } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'

interface Asked { method: string, url: string, authorization: string | undefined, cookie: string | undefined, tenant: unknown, body: string, host: string }

/** Answers `/to?status=…&location=…` with that redirect, everything else with what it was asked. */
async function redirecting (t: TestLike) {
  const asked: Asked[] = []
  const upstream = await httpUpstream(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      asked.push({
        method: request.method!, url: request.url!, authorization: request.headers.authorization, cookie: request.headers.cookie, tenant: request.headers['x-tenant-id'], body: Buffer.concat(chunks).toString(), host: request.headers.host!
      })
      const url = new URL(request.url!, 'http://x')
      if (!url.pathname.endsWith('/to')) {
        response.end(JSON.stringify(asked.at(-1)))
        return
      }
      response.writeHead(Number(url.searchParams.get('status') ?? 302), { location: url.searchParams.get('location')! })
      response.end('x'.repeat(Number(url.searchParams.get('size') ?? 0)))
    })
  })
  return { ...upstream, asked }
}

async function setUp (t: TestLike, redirects: GatewayOptions['redirects'] | undefined) {
  const [a, b, foreign] = [await redirecting(t), await redirecting(t), await redirecting(t)]
  const { url } = await startGateway(t, { backends: { up: a.url, other: `${b.url}/base` }, ...(redirects === undefined ? undefined : { redirects }) })
  const ask = (location: string, init: RequestInit & { status?: number, size?: number } = {}): Promise<Response> =>
    fetch(`${url}/to?status=${init.status ?? 302}&size=${init.size ?? 0}&location=${encodeURIComponent(location)}`, { redirect: 'manual', ...init })
  return { a, b, foreign, ask, url }
}

t.test('by default redirects go to the client', async t => {
  const { ask, a } = await setUp(t, undefined)
  const answer = await ask('/there')
  t.equal(answer.status, 302)
  t.equal(answer.headers.get('location'), '/there')
  t.equal(a.asked.length, 1)
})

t.test('followed on the same backend, with the headers', async t => {
  const { ask } = await setUp(t, 'follow')
  for (const location of ['/there?x=1', 'there?x=1', './there?x=1']) {
    const answer = await ask(location, { headers: { authorization: 'Bearer x', cookie: 'c=1' } })
    t.match(await answer.json(), { method: 'GET', url: '/there?x=1', authorization: 'Bearer x', cookie: 'c=1' })
  }
})

t.test('followed to another configured origin without what belongs to the first', async t => {
  const { ask, b } = await setUp(t, 'follow')
  const answer = await ask(`${b.url}/base/there`, { headers: { authorization: 'Bearer x', cookie: 'c=1', 'x-tenant-id': 'acme' } })
  const seen = await answer.json() as Asked
  t.match(seen, { url: '/base/there', host: b.url.slice('http://'.length) })
  t.same([seen.authorization, seen.cookie, seen.tenant], [undefined, undefined, undefined])
})

t.test('never followed to a place that is not configured', async t => {
  const { ask, foreign, b } = await setUp(t, 'follow')
  for (const location of [`${foreign.url}/x`, `//127.0.0.1:${foreign.port}/x`, `${b.url}/outside`, 'http://[bad', 'ftp://x/y', 'javascript:alert(1)']) {
    const answer = await ask(location)
    t.equal(answer.status, 302, location)
  }
  t.same([foreign.asked.length, b.asked.length], [0, 0])
})

t.test('the method changes as browsers change it, and the body goes with it', async t => {
  const { ask } = await setUp(t, 'follow')
  const cases: Array<[number, string, string]> = [[303, 'POST', 'GET'], [302, 'POST', 'GET'], [301, 'POST', 'GET'], [303, 'PUT', 'GET']]
  for (const [status, method, after] of cases) {
    const answer = await ask('/there', { status, method, body: 'payload' })
    t.match(await answer.json(), { method: after, body: '' }, `${status} ${method}`)
  }
})

t.test('a redirect that would need a body that is gone goes to the client', async t => {
  const { ask } = await setUp(t, 'follow')
  t.equal((await ask('/there', { status: 307, method: 'POST', body: 'payload' })).status, 307)
  t.match(await (await ask('/there', { status: 307, method: 'DELETE' })).json(), { method: 'DELETE' })
})

t.test('a path that begins with two slashes is no host, in redirects either', async t => {
  const { a, b, url } = await setUp(t, 'follow')
  const { responses } = await rawRequest(Number(new URL(url).port), get(`//127.0.0.1:${b.port}/base/to?location=/base/admin`))
  t.equal(responses[0]?.status, 200)
  t.equal(b.asked.length, 0)
  t.equal(a.asked.at(-1)?.url, '/base/admin')
})

t.test('what the gateway adds for one backend is not shown to another', async t => {
  const [a, b] = [await redirecting(t), await redirecting(t)]
  const { url } = await startGateway(t, { redirects: 'follow', backends: { up: { targets: [a.url], headers: { request: { set: { 'x-tenant-id': 'secret' } } } }, other: b.url } })
  t.match(await (await fetch(`${url}/to?location=/same`)).json(), { tenant: 'secret' })
  t.equal((await (await fetch(`${url}/to?location=${encodeURIComponent(`${b.url}/x`)}`)).json() as Asked).tenant, undefined)
})

t.test('a loop stops at the limit, and long bodies of redirects wedge nothing', async t => {
  const { ask, a, url } = await setUp(t, { follow: 3 })
  const loop = '/to?status=302&location=' + encodeURIComponent('/to?status=302&location=%2Fto%3Flocation%3D%2Fto%3Flocation%3Dx')
  const answer = await ask(loop)
  t.ok([302, 502].includes(answer.status))
  t.ok(a.asked.length <= 4, `${a.asked.length} requests`)
  for (let i = 0; i < 30; i++) t.equal((await ask('/there', { size: 1_000_000 })).status, 200)
  t.equal((await fetch(`${url}/fine`)).status, 200)
})

t.test('more redirects than the limit are a coded 502', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.writeHead(302, { location: '/again' }).end() })
  const { url } = await startGateway(t, { backends: { up: { targets: [up.url], redirects: { follow: 2 } } } })
  const answer = await fetch(url, { redirect: 'manual' })
  t.equal(answer.status, 502)
  t.match(await answer.json(), { code: 'RP_ERR_TOO_MANY_REDIRECTS' })
})
