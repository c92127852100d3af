/** What Prometheus itself says of a scrape: `promtool check metrics`, of Debian's package prometheus. */
import t from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { httpUpstream, startGateway, waitFor } from './helper.ts'

interface Verdict { readonly code: number | null, readonly said: string }

async function promtool (args: readonly string[], input: string): Promise<Verdict> {
  const child = spawn('promtool', args)
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { said += text })
  child.stdin.on('error', () => {}).end(input)
  try {
    const [code] = await once(child, 'close') as [number | null]
    return { code, said }
  } catch (cause) {
    throw new Error('promtool is missing: apt-get install prometheus', { cause })
  }
}

t.test('promtool has no complaint about a scrape under load', async t => {
  let asked = 0
  const upstream = await httpUpstream(t, (request, response) => {
    asked++
    if (request.url === '/fails') response.writeHead(500)
    if (request.url!.startsWith('/page')) response.setHeader('content-type', 'application/json')
    response.end('{}')
  })
  const { url } = await startGateway(t, {
    backends: { up: { url: upstream.url, retry: { attempts: 2, methods: ['GET'], statuses: [500] }, concurrency: { max: 4, queue: 2 }, health: '/health' }, 'odd"name"\\': 'http://127.0.0.1:1' },
    metrics: true,
    trafficDump: { directory: t.testdir(), sampleRate: 1 },
    tenancy: { labels: 1, tenants: { a: {}, b: {} } },
    routes: [
      { name: 'a "route"\\', path: '/*', proxy: 'up' },
      { name: 'odd', path: '/odd', proxy: 'odd"name"\\' },
      { name: 'page', path: '/page', composite: { parts: { one: { backend: 'up' }, two: { backend: 'up', path: '/fails' } } } }
    ]
  }, () => {})
  const stopped = new AbortController()
  const load = Promise.all(['/x', '/fails', '/page', '/odd', '/slow'].map(async (path, index) => {
    while (!stopped.signal.aborted) await (await fetch(url + path, { headers: { 'x-tenant-id': index % 2 === 0 ? 'a' : 'b' } })).text()
  }))
  t.ok(await waitFor(() => asked > 30, 10_000))
  const text = await (await fetch(`${url}/metrics`)).text()
  stopped.abort()
  await load
  t.match(text, /^reverseproxy_requests_total\{route="a \\"route\\"\\\\"/m)
  t.match(text, /^reverseproxy_retries_total\{backend="up"\} [1-9]/m)
  t.match(text, /^reverseproxy_traffic_dump_lines_total\{result="written"\} \d/m)
  const { code, said } = await promtool(['check', 'metrics', '--extended'], text)
  // what is of prom-client's own making (nodejs_…) is not ours to name
  const complaints = said.split('\n').filter(line => /^reverseproxy_\w+ .*(should|must|use|no help)/.test(line))
  t.same(complaints, [])
  t.notMatch(said, /error while linting|unexpected|parse error/i)
  t.ok(code === 0 || code === 3, said)
})

t.test('promtool would complain', async t => {
  const { code, said } = await promtool(['check', 'metrics'], '# TYPE x counter\nx{a="b} 1\n')
  t.not(code, 0)
  t.match(said, /error/)
})
