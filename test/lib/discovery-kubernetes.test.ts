/**
 * Discovery by Kubernetes against a double of the API server over real sockets: list, watch, faults and access. What a real API server
 * must show as well runs against that of KUBECONFIG too, where it is set.
 */
import t from 'tap'
import { getEventListeners } from 'node:events'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { createKubernetes } from '../../lib/discovery/kubernetes.ts'
import type { DiscoveredTarget, DiscoveryProvider, KubernetesDiscoveryConfig, ProviderTools } from '../../lib/discovery/types.ts'
import { AUTHORITY, SIGNED, SIGNED_CLIENT } from '../helper/certificate.ts'
import { controlDouble, controlReal, kubeconfigOf, ready, startKubernetes, writeKubeconfig } from '../helper/kubernetes.ts'
import type { KubeconfigInput, KubernetesDouble, KubernetesOptions, SliceControl } from '../helper/kubernetes.ts'
import { virtualClock, waitFor } from '../helper/time.ts'

/** What the tests' own environment says must not decide; it is used only where a test says so. */
const realKubeconfig = process.env['KUBECONFIG']
delete process.env['KUBECONFIG']
delete process.env['KUBERNETES_SERVICE_HOST']

const LONG = 15_000

// ---------------------------------------------------------------- around

interface TestTools {
  readonly tools: ProviderTools
  readonly clock: ReturnType<typeof virtualClock>
  /** Every wait that was asked for, ms. */
  readonly waits: number[]
  readonly warnings: string[]
}

function testTools (): TestTools {
  const clock = virtualClock()
  const waits: number[] = []
  const warnings: string[] = []
  const tools: ProviderTools = {
    now: clock.now,
    random: () => 0.5,
    warn: message => { warnings.push(message) },
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      waits.push(ms)
      const id = clock.setTimeout(resolve, ms)
      signal.addEventListener('abort', () => { clock.clearTimeout(id); reject(signal.reason) }, { once: true })
    })
  }
  return { tools, clock, waits, warnings }
}

const CONFIG: KubernetesDiscoveryConfig = { namespace: undefined, service: 'orders', port: undefined, scheme: undefined, kubeconfig: undefined, context: undefined }

interface Setup extends TestTools {
  readonly double: KubernetesDouble
  readonly provider: DiscoveryProvider
}

async function setup (t: Test, config: Partial<KubernetesDiscoveryConfig> = {}, { user, ...options }: KubernetesOptions & Pick<KubeconfigInput, 'user'> = {}): Promise<Setup> {
  const double = await startKubernetes(t, options)
  const kubeconfig = await writeKubeconfig(t, { test: { server: double.url, ...(user === undefined ? undefined : { user }) } })
  const around = testTools()
  return { ...around, double, provider: createKubernetes({ ...CONFIG, kubeconfig, ...config }, around.tools) }
}

interface Followed {
  readonly lists: string[][]
  readonly error: Error | undefined
  readonly over: boolean
  last (): string[] | undefined
  stop (): Promise<void>
}

const urls = (targets: readonly DiscoveredTarget[]): string[] => targets.map(({ url }) => url)

/** Reads a watch in the background; the teardown ends it. */
function follow (t: Test, provider: DiscoveryProvider): Followed {
  const abort = new AbortController()
  const followed = { lists: [] as string[][], error: undefined as Error | undefined, over: false, last: () => followed.lists.at(-1), stop }
  const reading = (async () => {
    try {
      for await (const targets of provider.watch!(abort.signal)) followed.lists.push(urls(targets))
    } catch (error) {
      followed.error = error as Error
    }
    followed.over = true
  })()
  async function stop (): Promise<void> {
    abort.abort(new Error('the test is over'))
    await reading
  }
  t.teardown(stop)
  return followed
}

const resolveUrls = async (provider: DiscoveryProvider): Promise<string[]> => urls(await provider.resolve(new AbortController().signal))

/** Resolved, and following what comes then. */
async function watching (t: Test, around: Setup, count = 1): Promise<Followed> {
  await around.provider.resolve(new AbortController().signal)
  const followed = follow(t, around.provider)
  t.ok(await waitFor(() => around.double.watching === count, LONG), 'the watch is open')
  return followed
}

async function failure (work: Promise<unknown>): Promise<string> {
  return work.then(() => 'it did not fail', (error: Error) => error.message)
}

// ---------------------------------------------------------------- what a real API server must show as well

const controls: Record<string, (t: Test) => Promise<SliceControl>> = { 'the double': controlDouble }
if (realKubeconfig !== undefined && realKubeconfig !== '') controls['the API server of KUBECONFIG'] = t => controlReal(t, realKubeconfig)

for (const [name, start] of Object.entries(controls)) {
  t.test(name, async (t) => {
    const control = await start(t)
    const { tools } = testTools()
    const provider = createKubernetes({ ...CONFIG, kubeconfig: control.kubeconfig, namespace: control.namespace }, tools)
    const sorted = (followed: Followed) => [...followed.last() ?? ['none']].sort()
    const comesTo = async (t: Test, followed: Followed, wanted: string[]) => {
      await waitFor(() => sorted(followed).join() === wanted.join(), LONG)
      t.same(sorted(followed), wanted)
    }

    await t.test('a service without slices has no targets', async (t) => {
      t.same(await resolveUrls(provider), [])
    })

    await t.test('all slices of the service are one list, and those of others are none of it', async (t) => {
      await control.put({ name: 'orders-a', endpoints: [ready('10.0.0.1'), ready('10.0.0.2')] })
      await control.put({ name: 'orders-b', endpoints: [ready('10.0.0.3')] })
      await control.put({ name: 'users-a', service: 'users', endpoints: [ready('10.0.0.9')] })
      t.same(await resolveUrls(provider), ['http://10.0.0.1:8080', 'http://10.0.0.2:8080', 'http://10.0.0.3:8080'])
    })

    await t.test('what changes after the list and before the watch is told', async (t) => {
      await provider.resolve(new AbortController().signal)
      await control.put({ name: 'orders-b', endpoints: [ready('10.0.0.4')] })
      const followed = follow(t, provider)
      await comesTo(t, followed, ['http://10.0.0.1:8080', 'http://10.0.0.2:8080', 'http://10.0.0.4:8080'])
    })

    await t.test('slices that come, change and go are followed', async (t) => {
      await provider.resolve(new AbortController().signal)
      const followed = follow(t, provider)
      await control.put({ name: 'orders-c', endpoints: [ready('10.0.0.5')] })
      await comesTo(t, followed, ['http://10.0.0.1:8080', 'http://10.0.0.2:8080', 'http://10.0.0.4:8080', 'http://10.0.0.5:8080'])
      await control.put({ name: 'orders-a', endpoints: [ready('10.0.0.1'), { addresses: ['10.0.0.2'], conditions: { ready: false } }] })
      await comesTo(t, followed, ['http://10.0.0.1:8080', 'http://10.0.0.4:8080', 'http://10.0.0.5:8080'])
      await control.remove('orders-b')
      await comesTo(t, followed, ['http://10.0.0.1:8080', 'http://10.0.0.5:8080'])
      await control.remove('orders-c')
      await control.put({ name: 'orders-a', endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: false, serving: true, terminating: true } }] })
      await comesTo(t, followed, ['http://10.0.0.1:8080'])
      await control.remove('orders-a')
      await comesTo(t, followed, [])
    })
  })
}

// ---------------------------------------------------------------- the list

t.test('a list asks for the slices of the service in pages', async (t) => {
  const { double, provider } = await setup(t, { namespace: 'shop' })
  for (let at = 0; at < 250; at++) double.put({ name: `orders-${String(at).padStart(3, '0')}`, endpoints: [ready(`10.0.${at >> 7}.${at & 127}`)] }, 'shop')
  const found = await resolveUrls(provider)
  t.equal(found.length, 250)
  t.equal(found[249], 'http://10.0.1.121:8080')
  t.same(double.requests.map(({ query, namespace }) => [namespace, query.get('labelSelector'), query.get('limit'), query.has('continue')]), [
    ['shop', 'kubernetes.io/service-name=orders', '100', false], ['shop', 'kubernetes.io/service-name=orders', '100', true], ['shop', 'kubernetes.io/service-name=orders', '100', true]
  ])
})

t.test('a list whose pages are forgotten half-way is begun again, in one piece', async (t) => {
  const { double, provider } = await setup(t)
  for (let at = 0; at < 150; at++) double.put({ name: `orders-${at}`, endpoints: [ready(`10.0.0.${at}`)] })
  double.onContinue = () => {
    // one of the first page
    double.remove('orders-0')
    double.compact()
  }
  t.equal((await resolveUrls(provider)).length, 149, 'and nothing of the first try is left')
  t.same(double.requests.map(({ query }) => query.get('limit')), ['100', '100', null])
})

t.test('a list that gets no answer ends after 30 s', async (t) => {
  const { double, provider, clock } = await setup(t)
  double.fail('list', 'hang')
  const failed = failure(provider.resolve(new AbortController().signal))
  t.ok(await waitFor(() => double.requests.length === 1, LONG))
  clock.advance(29_999)
  t.equal(double.connections, 1)
  clock.advance(1)
  t.match(await failed, /the answer to "list" took longer than 30000 ms/)
  t.ok(await waitFor(() => double.connections === 0, LONG), 'and its connection is gone')
  t.equal(clock.pending, 0)
})

t.test('a list that is no longer wanted ends with the reason and leaves nothing open', async (t) => {
  const { double, provider, clock } = await setup(t)
  double.fail('list', 'hang')
  const abort = new AbortController()
  const failed = failure(provider.resolve(abort.signal))
  t.ok(await waitFor(() => double.requests.length === 1, LONG))
  abort.abort(new Error('not wanted'))
  t.equal(await failed, 'not wanted')
  t.ok(await waitFor(() => double.connections === 0, LONG))
  t.equal(clock.pending, 0)
})

t.test('answers that are no list are refused, each in a few words', async (t) => {
  const { double, provider } = await setup(t)
  const cases: ReadonlyArray<[body: string | object, wanted: RegExp]> = [
    ['<html>', /no JSON/],
    ['', /no JSON/],
    ['[]', /no list of EndpointSlices/],
    [{ items: {}, metadata: { resourceVersion: '1' } }, /no list of EndpointSlices/],
    [{ items: [], metadata: {} }, /without a resourceVersion/],
    [{ items: [7], metadata: { resourceVersion: '1' } }, /no EndpointSlice/],
    [{ items: [{ metadata: { name: 'a', resourceVersion: '1' }, endpoints: 'x' }], metadata: { resourceVersion: '1' } }, /no EndpointSlice/]
  ]
  for (const [body, wanted] of cases) {
    double.fail('list', { status: 200, body })
    t.match(await failure(provider.resolve(new AbortController().signal)), wanted)
  }
  double.fail('list', { status: 200, body: { items: null, metadata: { resourceVersion: '5' } } })
  t.same(await resolveUrls(provider), [], 'Go writes empty lists as null')
})

t.test('a 500 and a broken connection are failures that say what happened', async (t) => {
  const { double, provider } = await setup(t)
  double.fail('list', { status: 500 }, 'reset')
  t.equal(await failure(resolveUrls(provider)), 'Kubernetes answered 500: it is out of order')
  t.match(await failure(resolveUrls(provider)), new RegExp(`^Kubernetes at 127\\.0\\.0\\.1:${double.port} cannot be asked: `))
  double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  t.same(await resolveUrls(provider), ['http://10.0.0.1:8080'], 'and the next question is a new one')
})

t.test('a signal that lives long keeps nothing of what is over', async (t) => {
  const { double, provider } = await setup(t)
  const abort = new AbortController()
  await provider.resolve(abort.signal)
  double.fail('list', { status: 500 })
  await failure(provider.resolve(abort.signal))
  double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  const watch = provider.watch!(abort.signal)[Symbol.asyncIterator]()
  await watch.next()
  await watch.return?.()
  t.equal(getEventListeners(abort.signal, 'abort').length, 0)
})

t.test('a redirect is not followed: credentials go to nobody else', async (t) => {
  const { double, provider } = await setup(t)
  double.fail('list', { status: 307, headers: { location: 'http://127.0.0.1:1/' }, body: '' })
  t.equal(await failure(resolveUrls(provider)), 'Kubernetes answered 307')
})

t.test('429 is given the time it asks for, three times', async (t) => {
  const { double, provider, waits, clock } = await setup(t)
  const busy = { status: 429, headers: { 'retry-after': '7' } }
  double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  double.fail('list', busy, busy)
  const found = resolveUrls(provider)
  for (const count of [1, 2]) {
    t.ok(await waitFor(() => waits.filter(ms => ms === 8750).length === count, LONG), 'with a quarter more: they do not come back together')
    t.equal(double.requests.length, count)
    clock.advance(8750)
  }
  t.same(await found, ['http://10.0.0.1:8080'])

  double.fail('list', busy, busy, busy, busy)
  const failed = failure(resolveUrls(provider))
  for (const count of [3, 4, 5]) {
    t.ok(await waitFor(() => waits.filter(ms => ms === 8750).length === count, LONG))
    clock.advance(8750)
  }
  t.match(await failed, /answered 429/)
})

t.test('no one is waited for longer than 30 s at a time', async (t) => {
  const { double, provider, waits, clock } = await setup(t)
  double.fail('list', { status: 503, headers: { 'retry-after': '86400' } })
  const found = resolveUrls(provider)
  t.ok(await waitFor(() => waits.includes(37_500), LONG))
  clock.advance(37_500)
  t.same(await found, [])
})

// ---------------------------------------------------------------- the watch

t.test('a watch begins at the version of the list, with bookmarks and a time of 5 to 10 min', async (t) => {
  const around = await setup(t)
  around.double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  await watching(t, around)
  const { query } = around.double.requests.at(-1)!
  t.same(Object.fromEntries(query), { labelSelector: 'kubernetes.io/service-name=orders', watch: 'true', allowWatchBookmarks: 'true', resourceVersion: '1001', timeoutSeconds: '450' })
  t.ok(around.waits.includes(480_000), 'it is given 30 s more')
})

t.test('a watch without a list before it begins with one', async (t) => {
  const { double, provider } = await setup(t)
  double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  const followed = follow(t, provider)
  t.ok(await waitFor(() => followed.lists.length === 1, LONG))
  t.same(followed.lists, [['http://10.0.0.1:8080']])
})

t.test('an object that loses its label is no longer one of the service', async (t) => {
  const around = await setup(t)
  around.double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  around.double.put({ name: 'orders-b', endpoints: [ready('10.0.0.2')] })
  const followed = await watching(t, around)
  around.double.put({ name: 'orders-a', service: 'users', endpoints: [ready('10.0.0.1')] })
  t.ok(await waitFor(() => followed.lists.length === 1, LONG))
  t.same(followed.last(), ['http://10.0.0.2:8080'])
})

t.test('a watch that ends as it should goes on from the last event', async (t) => {
  const around = await setup(t)
  const { double, clock } = around
  const followed = await watching(t, around)
  double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  t.ok(await waitFor(() => followed.lists.length === 1, LONG))
  clock.advance(6000)
  double.endWatches()
  t.ok(await waitFor(() => double.requests.length === 3 && double.watching === 1, LONG))
  t.equal(double.requests.at(-1)?.query.get('resourceVersion'), '1001')
  t.equal(followed.lists.length, 1, 'nothing is told twice')
  double.put({ name: 'orders-b', endpoints: [ready('10.0.0.2')] })
  t.ok(await waitFor(() => followed.lists.length === 2, LONG))
  t.same(followed.last(), ['http://10.0.0.1:8080', 'http://10.0.0.2:8080'])
})

t.test('a bookmark moves the version on, so that a quiet service is not listed again after a compaction', async (t) => {
  const around = await setup(t)
  const { double, clock } = around
  const followed = await watching(t, around)
  double.advance(500)
  double.bookmark()
  double.compact()
  double.send('') // an empty chunk is none
  clock.advance(6000)
  double.endWatches()
  t.ok(await waitFor(() => double.requests.length === 3 && double.watching === 1, LONG))
  t.same(double.requests.map(({ verb, query }) => [verb, query.get('resourceVersion')]), [['list', null], ['watch', '1000'], ['watch', '1500']])
  t.same(followed.lists, [], 'and it is no news')
})

for (const goneAs of ['status', 'event'] as const) {
  t.test(`a version that is gone, told as ${goneAs}, is answered by a list that replaces everything`, async (t) => {
    const { double, provider } = await setup(t)
    double.goneAs = goneAs
    double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
    double.put({ name: 'orders-b', endpoints: [ready('10.0.0.2')] })
    await provider.resolve(new AbortController().signal)
    // while nobody watches one goes, one comes, and all of it is forgotten
    double.remove('orders-a')
    double.put({ name: 'orders-c', endpoints: [ready('10.0.0.3')] })
    double.compact()
    const followed = follow(t, provider)
    t.ok(await waitFor(() => followed.lists.length === 1 && double.watching === 1, LONG))
    t.same(followed.last(), ['http://10.0.0.2:8080', 'http://10.0.0.3:8080'])
    double.put({ name: 'orders-d', endpoints: [ready('10.0.0.4')] })
    t.ok(await waitFor(() => followed.lists.length === 2, LONG))
    t.same(followed.last(), ['http://10.0.0.2:8080', 'http://10.0.0.3:8080', 'http://10.0.0.4:8080'], 'and watched from there')
    t.equal(followed.error, undefined)
  })
}

t.test('a watch whose answer does not begin ends after 30 s', async (t) => {
  const { double, provider, clock } = await setup(t)
  await provider.resolve(new AbortController().signal)
  double.fail('watch', 'hang')
  const followed = follow(t, provider)
  t.ok(await waitFor(() => double.requests.length === 2, LONG))
  clock.advance(30_000)
  t.ok(await waitFor(() => followed.over, LONG))
  t.match(followed.error?.message, /the answer to "watch" took longer than 30000 ms/)
})

t.test('an ERROR event within a watch: 410 is listed again, any other ends it', async (t) => {
  const around = await setup(t)
  const { double } = around
  const followed = await watching(t, around)
  double.error(410, 'Expired', 'The resourceVersion for the provided watch is too old.')
  t.ok(await waitFor(() => followed.lists.length === 1 && double.watching === 1, LONG))
  t.same(double.requests.map(({ verb }) => verb), ['list', 'watch', 'list', 'watch'])
  double.error(500, 'InternalError', 'etcdserver: leader changed')
  t.ok(await waitFor(() => followed.over, LONG))
  t.equal(followed.error?.message, 'Kubernetes ended a watch with 500: etcdserver: leader changed')
})

t.test('a watch that always ends at once is slowed down, up to 30 s', async (t) => {
  const around = await setup(t)
  const { double, clock, waits } = around
  double.fail('watch', ...Array.from({ length: 12 }, () => ({ status: 200, body: '' })))
  await around.provider.resolve(new AbortController().signal)
  const followed = follow(t, around.provider)
  const pauses = () => waits.filter(ms => ms !== 30_000 && ms !== 480_000)
  for (let at = 1; at <= 10; at++) {
    t.ok(await waitFor(() => pauses().length === at, LONG))
    t.equal(double.requests.length, at + 2, 'two are for free')
    clock.advance(pauses().at(-1)!)
  }
  t.same(pauses(), [187.5, 375, 750, 1500, 3000, 6000, 12000, 22500, 22500, 22500])
  t.same(followed.lists, [])
  await followed.stop()
  t.equal(clock.pending, 0)
})

t.test('versions that are always gone are slowed down as well', async (t) => {
  const around = await setup(t)
  const { double, waits } = around
  double.fail('watch', ...Array.from({ length: 5 }, () => ({ status: 410 })))
  const followed = follow(t, around.provider)
  t.ok(await waitFor(() => waits.includes(187.5), LONG))
  t.same(double.requests.map(({ verb }) => verb), ['list', 'watch', 'list', 'watch'])
  t.equal(followed.lists.length, 2)
})

t.test('a connection that is silent beyond the time of its watch is dead', async (t) => {
  const around = await setup(t)
  const { double, clock } = around
  const followed = await watching(t, around)
  t.ok(await waitFor(() => around.waits.includes(480_000), LONG))
  clock.advance(479_999)
  t.equal(followed.over, false)
  clock.advance(1)
  t.ok(await waitFor(() => followed.over, LONG))
  t.equal(followed.error?.message, 'Kubernetes: a watch took longer than 480000 ms')
  t.ok(await waitFor(() => double.connections === 0, LONG))
})

t.test('the server ends a watch at its timeoutSeconds, and it goes on', async (t) => {
  // seconds of 0.1 ms: 450 of them are 45 ms
  const around = await setup(t, {}, { second: 0.1 })
  const { double, clock } = around
  await around.provider.resolve(new AbortController().signal)
  const followed = follow(t, around.provider)
  t.ok(await waitFor(() => { clock.advance(6000); return double.requests.length >= 4 }, LONG))
  t.equal(followed.error, undefined)
  double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  t.ok(await waitFor(() => { clock.advance(6000); return followed.lists.length === 1 }, LONG))
})

t.test('a connection that breaks within a watch ends it', async (t) => {
  const around = await setup(t)
  const followed = await watching(t, around)
  around.double.breakWatches()
  t.ok(await waitFor(() => followed.over, LONG))
  t.match(followed.error?.message, /the connection to Kubernetes broke/)
})

t.test('a watch that is no longer wanted ends without an error and leaves nothing open', async (t) => {
  const around = await setup(t)
  const followed = await watching(t, around)
  await followed.stop()
  t.equal(followed.error, undefined)
  t.ok(await waitFor(() => around.double.connections === 0, LONG))
  t.equal(around.clock.pending, 0)
})

t.test('a reader that leaves the loop leaves nothing open', async (t) => {
  const { double, provider, clock } = await setup(t)
  const listed = provider.watch!(new AbortController().signal)[Symbol.asyncIterator]()
  t.same((await listed.next()).value, [])
  await listed.return?.()
  await provider.resolve(new AbortController().signal)
  double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  const changed = provider.watch!(new AbortController().signal)[Symbol.asyncIterator]()
  t.same(urls((await changed.next()).value as DiscoveredTarget[]), ['http://10.0.0.1:8080'])
  await changed.return?.()
  t.ok(await waitFor(() => double.connections === 0, LONG))
  t.equal(clock.pending, 0)
})

// ---------------------------------------------------------------- what stands on the wire

const eventLine = (name: string, address: string, more: object = {}): string => `${JSON.stringify({
  type: 'ADDED', object: { metadata: { name, resourceVersion: '2000' }, addressType: 'IPv4', endpoints: [ready(address, more)], ports: [{ port: 80, protocol: 'TCP' }] }
})}\n`

t.test('several events in one chunk are one list', async (t) => {
  const around = await setup(t)
  const followed = await watching(t, around)
  around.double.send(eventLine('a', '10.0.0.1') + eventLine('b', '10.0.0.2') + '\n' + eventLine('c', '10.0.0.3'))
  t.ok(await waitFor(() => followed.lists.length === 1, LONG))
  t.same(followed.last(), ['http://10.0.0.1:80', 'http://10.0.0.2:80', 'http://10.0.0.3:80'])
})

t.test('a line may come byte by byte, also within a character', async (t) => {
  const around = await setup(t)
  const targets: DiscoveredTarget[][] = []
  await around.provider.resolve(new AbortController().signal)
  const abort = new AbortController()
  const reading = (async () => { for await (const list of around.provider.watch!(abort.signal)) targets.push([...list]) })()
  t.ok(await waitFor(() => around.double.watching === 1, LONG))
  const line = Buffer.from(eventLine('a', '10.0.0.1', { zone: 'zürich-€-🚀' }))
  for (const byte of line) {
    around.double.send(Buffer.of(byte))
    await new Promise(resolve => { setImmediate(resolve) })
  }
  t.ok(await waitFor(() => targets.length === 1, LONG))
  t.equal(targets[0]?.[0]?.zone, 'zürich-€-🚀')
  abort.abort()
  await reading
})

for (const [what, bytes, wanted] of [
  ['is no JSON', 'garbage\n', /a line that is no JSON \(7 bytes\)/],
  ['is no UTF-8', Buffer.from([0x22, 0xff, 0x22, 0x0a]), /a line that is no JSON/],
  ['is no event', '{}\n', /no known type/],
  ['is an event of nothing', '{"type":"ADDED"}\n', /no EndpointSlice/],
  ['is a bookmark without a version', '{"type":"BOOKMARK","object":{"metadata":{}}}\n', /without a resourceVersion/]
] as const) {
  t.test(`a line that ${what} ends the watch, and what came before it is told`, async (t) => {
    const around = await setup(t)
    const followed = await watching(t, around)
    around.double.send(Buffer.concat([Buffer.from(eventLine('a', '10.0.0.1')), Buffer.from(bytes)]))
    t.ok(await waitFor(() => followed.over, LONG))
    t.same(followed.lists, [['http://10.0.0.1:80']])
    t.match(followed.error?.message, wanted)
    t.ok(await waitFor(() => around.double.connections === 0, LONG))
  })
}

t.test('a watch that ends within a line is no proper end', async (t) => {
  const around = await setup(t)
  const followed = await watching(t, around)
  around.double.send('{"type":')
  around.double.endWatches()
  t.ok(await waitFor(() => followed.over, LONG))
  t.match(followed.error?.message, /ended a watch within a line/)
})

t.test('a line without an end is not collected for ever', async (t) => {
  const around = await setup(t)
  const followed = await watching(t, around)
  for (let sent = 0; sent < 9; sent++) around.double.send(Buffer.alloc(1024 * 1024, 'x'))
  t.ok(await waitFor(() => followed.over, LONG))
  t.match(followed.error?.message, /a line of more than 8388608 bytes/)
})

// ---------------------------------------------------------------- which endpoints

async function targetsOf (t: Test, slices: ReadonlyArray<Parameters<KubernetesDouble['put']>[0]>, config: Partial<KubernetesDiscoveryConfig> = {}) {
  const { double, provider, warnings } = await setup(t, config)
  for (const slice of slices) double.put(slice)
  return { targets: await provider.resolve(new AbortController().signal), warnings }
}

t.test('ready endpoints are used, and those of which nothing is said', async (t) => {
  const { targets } = await targetsOf(t, [{
    name: 'orders-a',
    endpoints: [
      { addresses: ['10.0.0.1'], conditions: { ready: true } },
      { addresses: ['10.0.0.2'], conditions: { ready: false, serving: true } },
      { addresses: ['10.0.0.3'], conditions: { ready: null } },
      { addresses: ['10.0.0.4'] },
      { addresses: ['10.0.0.5'], conditions: {} },
      // of a service with publishNotReadyAddresses
      { addresses: ['10.0.0.6'], conditions: { ready: true, serving: true, terminating: true } }
    ]
  }])
  t.same(urls(targets), ['http://10.0.0.1:8080', 'http://10.0.0.3:8080', 'http://10.0.0.4:8080', 'http://10.0.0.5:8080'])
})

t.test('where none is ready those that terminate and still serve are used', async (t) => {
  const leaving = { addresses: ['10.0.0.1'], conditions: { ready: false, serving: true, terminating: true } }
  const { targets } = await targetsOf(t, [
    { name: 'orders-a', endpoints: [leaving, { addresses: ['10.0.0.2'], conditions: { ready: false, serving: false, terminating: true } }] },
    { name: 'orders-b', endpoints: [{ addresses: ['10.0.0.3'], conditions: { ready: false, serving: false, terminating: false } }] }
  ])
  t.same(urls(targets), ['http://10.0.0.1:8080'])
  const one = await targetsOf(t, [{ name: 'orders-a', endpoints: [leaving] }, { name: 'orders-b', endpoints: [ready('10.0.0.9')] }])
  t.same(urls(one.targets), ['http://10.0.0.9:8080'], 'one that is ready, in any slice, is better')
})

t.test('an endpoint that is in two slices counts once, and is ready where one says so', async (t) => {
  const { targets } = await targetsOf(t, [
    { name: 'orders-a', endpoints: [ready('10.0.0.1'), { addresses: ['10.0.0.2'], conditions: { ready: false } }] },
    { name: 'orders-b', endpoints: [ready('10.0.0.1'), ready('10.0.0.2')] }
  ])
  t.same(urls(targets), ['http://10.0.0.1:8080', 'http://10.0.0.2:8080'])
})

t.test('a target knows its pod, node and zone', async (t) => {
  const { targets } = await targetsOf(t, [{
    name: 'orders-a',
    endpoints: [
      ready('10.0.0.1', { nodeName: 'node-1', zone: 'eu-1a', targetRef: { kind: 'Pod', name: 'orders-7d9f-x2x4' }, deprecatedTopology: { 'kubernetes.io/hostname': 'node-1' } }),
      { addresses: ['10.0.0.2'] }
    ]
  }])
  t.same(targets, [
    { url: 'http://10.0.0.1:8080', weight: 1, zone: 'eu-1a', metadata: { pod: 'orders-7d9f-x2x4', node: 'node-1', zone: 'eu-1a' } },
    { url: 'http://10.0.0.2:8080', weight: 1, metadata: {} }
  ])
})

t.test('IPv6 addresses stand in brackets', async (t) => {
  const { targets } = await targetsOf(t, [{ name: 'orders-a', addressType: 'IPv6', endpoints: [ready('fd00::1')] }])
  t.same(urls(targets), ['http://[fd00::1]:8080'])
})

t.test('of both families the IPv4 endpoints are used, unless there are none', async (t) => {
  const v6 = { name: 'orders-6', addressType: 'IPv6', endpoints: [ready('fd00::1')] }
  const both = await targetsOf(t, [v6, { name: 'orders-4', endpoints: [ready('10.0.0.1')] }])
  t.same(urls(both.targets), ['http://10.0.0.1:8080'])
  const empty = await targetsOf(t, [v6, { name: 'orders-4', endpoints: [] }])
  t.same(urls(empty.targets), ['http://[fd00::1]:8080'])
  const unready = await targetsOf(t, [v6, { name: 'orders-4', endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: false } }] }])
  t.same(urls(unready.targets), [], 'the slices of a family are written one after the other: readiness does not choose it')
})

t.test('slices of names and addresses of another kind are left out with a warning', async (t) => {
  const { targets, warnings } = await targetsOf(t, [
    { name: 'orders-a', addressType: 'FQDN', endpoints: [ready('orders.example.com')] },
    { name: 'orders-b', endpoints: [ready('10.0.0.1'), ready('not-an-address'), ready('fd00::1'), { addresses: [] }] }
  ])
  t.same(urls(targets), ['http://10.0.0.1:8080'])
  t.match(warnings, [/its addresses are of the type "FQDN"/, /its address is not one of IPv4/])
})

const PORTS = [{ name: 'http', port: 8080, protocol: 'TCP' }, { name: 'metrics', port: 9090, protocol: 'TCP' }, { name: 'gossip', port: 7946, protocol: 'UDP' }]

t.test('a port is chosen by its name, by its number, or because it is the only one', async (t) => {
  const slice = { name: 'orders-a', endpoints: [ready('10.0.0.1')], ports: PORTS }
  for (const port of ['metrics', 9090, '9090'] as const) t.same(urls((await targetsOf(t, [slice], { port })).targets), ['http://10.0.0.1:9090'], String(port))
  const only = await targetsOf(t, [{ ...slice, ports: [PORTS[0]!, PORTS[2]!] }])
  t.same(urls(only.targets), ['http://10.0.0.1:8080'], 'UDP is no choice')
  t.same(only.warnings, [])
})

t.test('a slice without the port is left out with a warning', async (t) => {
  const good = { name: 'orders-b', endpoints: [ready('10.0.0.2')], ports: PORTS }
  for (const [ports, port, wanted] of [
    [PORTS, 'grpc', /it has no TCP port "grpc"/],
    [PORTS, 7946, /it has no TCP port 7946/],
    [PORTS, undefined, /it has several TCP ports \(http, metrics\); say which one with "port"/],
    [[], undefined, /it has no TCP port/],
    [null, undefined, /it has no TCP port/],
    [[{ name: '', port: null, protocol: 'TCP' }], undefined, /it stands for all ports/],
    [[{ name: 'http', protocol: 'TCP' }], 'http', /it stands for all ports/],
    [[{ name: '', protocol: 'TCP' }], 8080, /it stands for all ports/]
  ] as const) {
    const { targets, warnings } = await targetsOf(t, [{ name: 'orders-a', endpoints: [ready('10.0.0.1')], ports }, ...(port === 'http' ? [good] : [])], { port })
    t.same(urls(targets), port === 'http' ? ['http://10.0.0.2:8080'] : [])
    t.match(warnings, [wanted])
  }
})

t.test('a slice without endpoints is no reason for a warning', async (t) => {
  // the server keeps one such for every service without pods
  t.same((await targetsOf(t, [{ name: 'orders-a', endpoints: null, ports: null }])).warnings, [])
})

t.test('the scheme comes from the options, else the protocol, else the name of the port', async (t) => {
  for (const [port, scheme, wanted] of [
    [{}, undefined, 'http'],
    [{ name: 'https' }, undefined, 'https'],
    [{ name: 'https-web' }, undefined, 'https'],
    [{ name: 'https' }, 'http', 'http'],
    [{ name: 'http' }, 'https', 'https'],
    [{ name: 'web', appProtocol: 'https' }, undefined, 'https'],
    [{ name: 'web', appProtocol: 'HTTPS' }, undefined, 'https'],
    [{ name: 'https', appProtocol: 'http' }, undefined, 'http'],
    [{ name: 'https', appProtocol: 'kubernetes.io/h2c' }, undefined, 'http'],
    [{ name: 'https', appProtocol: 'kubernetes.io/ws' }, undefined, 'http'],
    [{ name: 'web', appProtocol: 'kubernetes.io/wss' }, undefined, 'https'],
    [{ name: 'https', appProtocol: 'example.com/own' }, undefined, 'https'],
    [{ name: null, appProtocol: null }, undefined, 'http']
  ] as const) {
    const { targets } = await targetsOf(t, [{ name: 'orders-a', endpoints: [ready('10.0.0.1')], ports: [{ port: 8443, protocol: 'TCP', ...port }] }], { scheme })
    t.same(urls(targets), [`${wanted}://10.0.0.1:8443`], JSON.stringify([port, scheme]))
  }
})

// ---------------------------------------------------------------- who asks

t.test('the token of a kubeconfig is sent, and one that is wrong is said to be', async (t) => {
  const { double, provider } = await setup(t, {}, { user: { token: 'top-secret-1' } })
  double.token = 'top-secret-1'
  t.same(await resolveUrls(provider), [])
  double.token = 'another'
  const message = await failure(resolveUrls(provider))
  t.match(message, /^Kubernetes answered 401: Unauthorized; the credentials of the context "test" of the kubeconfig "[^"]+" are not accepted$/)
  t.notMatch(message, /secret/)
})

t.test('a message that repeats the credentials is not passed on', async (t) => {
  const { double, provider } = await setup(t, {}, { user: { token: 'top-secret-1' } })
  double.fail('list', { status: 502, body: { kind: 'Status', message: 'no upstream for Authorization: Bearer top-secret-1' } })
  t.equal(await failure(resolveUrls(provider)), 'Kubernetes answered 502')
})

t.test('what an account may not do is said with the rule that would allow it', async (t) => {
  const { double, provider } = await setup(t, { namespace: 'shop' })
  double.allowed = []
  t.match(await failure(resolveUrls(provider)), /cannot list resource "endpointslices".*may not "list": a Role in the namespace "shop" must allow the verbs "list" and "watch" on "endpointslices" of the API group "discovery\.k8s\.io"/)
  double.allowed = ['list']
  await resolveUrls(provider)
  const followed = follow(t, provider)
  t.ok(await waitFor(() => followed.over, LONG))
  t.match(followed.error?.message, /may not "watch"/)
})

t.test('a server that has no EndpointSlices is told from a service that has none', async (t) => {
  const { double, tools } = await setup(t)
  const provider = createKubernetes({ ...CONFIG, kubeconfig: await writeKubeconfig(t, { test: { server: `${double.url}/elsewhere` } }) }, tools)
  t.match(await failure(resolveUrls(provider)), /answered 404: .*Kubernetes 1\.21 or newer/)
})

t.test('a server may have a path', async (t) => {
  const { double, provider } = await setup(t, {}, { prefix: '/k8s/clusters/c-1' })
  t.same(await resolveUrls(provider), [])
  t.equal(double.requests.length, 1)
})

t.test('name and password are sent as Basic', async (t) => {
  const { double, provider } = await setup(t, {}, { user: { username: 'ann', password: 'pw' } })
  await resolveUrls(provider)
  t.equal(double.requests[0]?.headers.authorization, `Basic ${Buffer.from('ann:pw').toString('base64')}`)
})

t.test('a client certificate is shown, and the server is checked against the authority', async (t) => {
  const double = await startKubernetes(t, { tls: { ...SIGNED, ca: AUTHORITY, requestCert: true, rejectUnauthorized: true } })
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  const user = { 'client-certificate-data': base64(SIGNED_CLIENT.cert), 'client-key-data': base64(SIGNED_CLIENT.key) }
  const { tools } = testTools()
  const kubeconfig = await writeKubeconfig(t, {
    good: { server: double.url, user, cluster: { 'certificate-authority-data': base64(AUTHORITY) } },
    stranger: { server: double.url, user, cluster: {} }
  })
  t.same(await resolveUrls(createKubernetes({ ...CONFIG, kubeconfig }, tools)), [])
  t.equal(double.requests[0]?.certificate, 'client')
  t.match(await failure(resolveUrls(createKubernetes({ ...CONFIG, kubeconfig, context: 'stranger' }, tools))), /cannot be asked: .*certificate/)
})

t.test('the token of a plugin is asked for, and what a plugin says in its failure is not repeated', async (t) => {
  const double = await startKubernetes(t)
  double.token = 'plugin-secret'
  const exec = (script: string) => ({ server: double.url, user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: process.execPath, args: ['-e', script] } } })
  const { tools } = testTools()
  const credential = { apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token: 'plugin-secret' } }
  const kubeconfig = await writeKubeconfig(t, {
    good: exec(`console.log(${JSON.stringify(JSON.stringify(credential))})`),
    failing: exec('console.error("plugin-secret"); process.exit(3)'),
    chatty: exec('console.log("plugin-secret")'),
    absent: { server: double.url, user: { exec: { command: 'no-such-plugin' } } }
  })
  const ask = (context: string) => resolveUrls(createKubernetes({ ...CONFIG, kubeconfig, context }, tools))
  t.same(await ask('good'), [])
  for (const context of ['failing', 'chatty']) {
    const message = await failure(ask(context))
    t.match(message, new RegExp(`^no credentials for the context "${context}".*: its plugin or file gave none`))
    t.notMatch(message, /plugin-secret/)
  }
  t.match(await failure(ask('absent')), /there is no command "no-such-plugin"/)
})

t.test('the context that is asked for decides on server and namespace', async (t) => {
  const one = await startKubernetes(t)
  const two = await startKubernetes(t)
  const kubeconfig = await writeKubeconfig(t, { one: { server: one.url }, two: { server: two.url, namespace: 'shop' } })
  const { tools } = testTools()
  await resolveUrls(createKubernetes({ ...CONFIG, kubeconfig }, tools))
  await resolveUrls(createKubernetes({ ...CONFIG, kubeconfig, context: 'two' }, tools))
  await resolveUrls(createKubernetes({ ...CONFIG, kubeconfig, context: 'two', namespace: 'mine' }, tools))
  t.same(one.requests.map(({ namespace }) => namespace), ['default'])
  t.same(two.requests.map(({ namespace }) => namespace), ['shop', 'mine'])
  t.match(await failure(resolveUrls(createKubernetes({ ...CONFIG, kubeconfig, context: 'three' }, tools))), /has no context "three"; it has "one", "two"/)
})

t.test('a kubeconfig that cannot be used is named, and nothing of its content is', async (t) => {
  const { tools } = testTools()
  const path = await writeKubeconfig(t, { test: { server: 'http://127.0.0.1:1' } })
  const ask = () => failure(resolveUrls(createKubernetes({ ...CONFIG, kubeconfig: path }, tools)))
  const folder = dirname(path)
  t.equal(await failure(resolveUrls(createKubernetes({ ...CONFIG, kubeconfig: join(folder, 'absent') }, tools))), `the kubeconfig "${join(folder, 'absent')}" cannot be used: no such file: ${join(folder, 'absent')}`)
  for (const [text, wanted] of [
    ['users:\n- token: [top-secret\n', /line \d+ is not valid YAML/],
    ['clusters: []\nusers:\n- { name: a, user: { token: *top-secret } }\n', /line 3 is not valid YAML/],
    // what an empty file is depends on the version of the client library
    ['', /it is none|line 1 is not valid YAML/],
    ['a: 1', /has no context ""; it has none/],
    ['{"clusters":[{"name":"top-secret"}]}', /clusters\[0\]\.cluster is missing/],
    [kubeconfigOf({ test: { server: 'http://127.0.0.1:1' } }).replace('"users":[', '"elsewhere":['), /has no user "test-user"/],
    [kubeconfigOf({ test: { server: 'http://127.0.0.1:1' } }).replace('"clusters":[', '"elsewhere":['), /has no cluster "test-cluster"/],
    [kubeconfigOf({ test: { server: 'http://127.0.0.1:1', cluster: {} } }), /HTTP protocol is not allowed/]
  ] as const) {
    await writeFile(path, text)
    const message = await ask()
    t.match(message, wanted)
    t.notMatch(message, /top-secret/)
  }
})

t.test('a kubeconfig that was wrong is read again', async (t) => {
  const { double, tools } = await setup(t)
  const path = await writeKubeconfig(t, {})
  const provider = createKubernetes({ ...CONFIG, kubeconfig: path }, tools)
  t.match(await failure(resolveUrls(provider)), /has no context/)
  await writeFile(path, kubeconfigOf({ test: { server: double.url } }))
  t.same(await resolveUrls(provider), [])
})

t.test('without a path the kubeconfig of KUBECONFIG is used, and without one it is said', async (t) => {
  const double = await startKubernetes(t)
  const { tools } = testTools()
  const home = process.env['HOME']
  t.teardown(() => { delete process.env['KUBECONFIG']; process.env['HOME'] = home })
  process.env['HOME'] = t.testdir({})
  t.match(await failure(resolveUrls(createKubernetes(CONFIG, tools))), /neither a service account of a pod nor a kubeconfig/)
  process.env['KUBECONFIG'] = await writeKubeconfig(t, { test: { server: double.url } })
  t.same(await resolveUrls(createKubernetes(CONFIG, tools)), [])
})

t.test('in a pod its account asks, in its namespace; a token that was replaced is read again', async (t) => {
  const double = await startKubernetes(t, { tls: SIGNED })
  const root = t.testdir({})
  const account = join(root, 'var/run/secrets/kubernetes.io/serviceaccount')
  await mkdir(account, { recursive: true })
  // with a line break at the end, as editors and some controllers write it
  await writeFile(join(account, 'token'), 'pod-token-1\n')
  await writeFile(join(account, 'namespace'), 'shop\n')
  await writeFile(join(account, 'ca.crt'), AUTHORITY)
  process.env['KUBERNETES_SERVICE_HOST'] = '127.0.0.1'
  process.env['KUBERNETES_SERVICE_PORT'] = String(double.port)
  t.teardown(() => { delete process.env['KUBERNETES_SERVICE_HOST']; delete process.env['KUBERNETES_SERVICE_PORT'] })
  double.token = 'pod-token-1'
  const { tools } = testTools()
  const provider = createKubernetes(CONFIG, tools, { root })
  await resolveUrls(provider)
  t.equal(double.requests[0]?.namespace, 'shop')

  double.token = 'pod-token-2'
  await writeFile(join(account, 'token'), 'pod-token-2')
  await resolveUrls(provider)
  t.same(double.requests.map(({ headers }) => headers.authorization), ['Bearer pod-token-1', 'Bearer pod-token-1', 'Bearer pod-token-2'])

  double.token = 'pod-token-3'
  t.match(await failure(resolveUrls(provider)), /the credentials of the service account of the pod are not accepted/)
  t.equal(double.requests.length, 5, 'asked twice, and no more')

  // a kubeconfig goes before the account, and has the pod's namespace where it names none
  const other = await startKubernetes(t)
  await resolveUrls(createKubernetes({ ...CONFIG, kubeconfig: await writeKubeconfig(t, { test: { server: other.url } }) }, tools, { root }))
  t.equal(other.requests[0]?.namespace, 'shop')

  await rm(join(account, 'ca.crt'))
  t.match(await failure(resolveUrls(createKubernetes(CONFIG, tools, { root }))), /no credentials for the service account of the pod: no such file: .*ca\.crt/)
})

t.test('without the client library it is said how to get it', async (t) => {
  const { tools } = testTools()
  const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
  const provider = createKubernetes(CONFIG, tools, { library: () => Promise.reject(missing) })
  t.equal(await failure(resolveUrls(provider)), 'discovery by Kubernetes needs the package "@kubernetes/client-node": npm install @kubernetes/client-node')
})

// ---------------------------------------------------------------- the double is what it stands for

t.test('the client library itself understands the double', async (t) => {
  const { DiscoveryV1Api, KubeConfig, Watch } = await import('@kubernetes/client-node')
  const double = await startKubernetes(t)
  double.put({ name: 'orders-a', endpoints: [ready('10.0.0.1')] })
  const config = new KubeConfig()
  config.loadFromString(kubeconfigOf({ test: { server: double.url } }))
  const list = await config.makeApiClient(DiscoveryV1Api).listNamespacedEndpointSlice({ namespace: 'default', labelSelector: 'kubernetes.io/service-name=orders', limit: 10 })
  t.same(list.items.map(({ endpoints }) => endpoints[0]?.addresses), [['10.0.0.1']])
  const seen: string[] = []
  const watch = await new Watch(config).watch('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', { resourceVersion: list.metadata?.resourceVersion, allowWatchBookmarks: true }, type => { seen.push(type) }, () => {})
  t.ok(await waitFor(() => double.watching === 1, LONG))
  double.put({ name: 'orders-a', endpoints: [] })
  double.remove('orders-a')
  double.bookmark()
  t.ok(await waitFor(() => seen.length === 3, LONG))
  t.same(seen, ['MODIFIED', 'DELETED', 'BOOKMARK'])
  watch.abort()
})
