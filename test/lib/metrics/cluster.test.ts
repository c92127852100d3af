/** Metrics of several processes as those of one. */
import t from 'tap'
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Registry } from 'prom-client'
import { answerMetricsRequests, collectFromWorkers } from '../../../lib/metrics/index.ts'
import type { MessageEnd } from '../../../lib/metrics/index.ts'
import { meteringOf, valuesOf } from './scene.ts'

async function startWorker (t: { teardown (undo: () => unknown): unknown }, env: Record<string, string>): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('cluster-child.ts', import.meta.url)), { execArgv: ['--import=tsx'], env: { ...process.env, ...env } })
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  await once(child, 'message')
  return child
}

t.test('two processes: counters, histograms and loads add up, states do not', async t => {
  const workers = await Promise.all([startWorker(t, { REQUESTS: '3', LOADED_AT: '1000' }), startWorker(t, { REQUESTS: '4', LOADED_AT: '5000' })])
  const text = await collectFromWorkers(workers, 20_000)
  t.same(valuesOf(text, 'reverseproxy_requests_total'), { 'route=/a,method=GET,code=200': 7 })
  t.same(valuesOf(text, 'reverseproxy_request_duration_seconds_bucket'), { 'route=/a,class=2xx,le=0.01': 0, 'route=/a,class=2xx,le=1': 7, 'route=/a,class=2xx,le=+Inf': 7 })
  t.same(valuesOf(text, 'reverseproxy_requests_in_flight'), { '': 2 })
  t.same(valuesOf(text, 'reverseproxy_rejected_total'), { 'backend=up,reason=no-target': 2 })
  t.same(valuesOf(text, 'reverseproxy_reload_last_success_timestamp_seconds'), { '': 5 })
  t.same(valuesOf(text, 'reverseproxy_traffic_dump_lines_total'), { 'result=written': 7, 'result=dropped': 0, 'result=failed': 0 })
  t.same(valuesOf(text, 'reverseproxy_traffic_dump_queued_lines'), { '': 2 })
  t.same(valuesOf(text, 'reverseproxy_build_info'), { 'version=1.2.3': 1 })
  t.same(await Promise.all([collectFromWorkers(workers, 20_000), collectFromWorkers(workers, 20_000)]), [text, text], 'questions may overlap')
})

/** Two ends of a channel within this process. */
function channel (): { worker: MessageEnd, primary: MessageEnd } {
  const ends = [new Set<(message: unknown) => void>(), new Set<(message: unknown) => void>()] as const
  const endOf = (own: Set<(message: unknown) => void>, other: Set<(message: unknown) => void>): MessageEnd => ({
    on: (_event, listener) => own.add(listener),
    off: (_event, listener) => own.delete(listener),
    send (message, callback) {
      const sent = structuredClone(message)
      queueMicrotask(() => { for (const listener of [...other]) listener(sent) })
      callback(null)
    }
  })
  return { worker: endOf(ends[0], ends[1]), primary: endOf(ends[1], ends[0]) }
}

t.test('a worker that does not answer is left out', async t => {
  const [speaks, mute] = [channel(), channel()]
  answerMetricsRequests(meteringOf().registry, speaks.worker)
  t.match(await collectFromWorkers([mute.primary, speaks.primary], 20), /reverseproxy_build_info\{version="1.2.3"\} 1/)
})

t.test('a worker that has gone is left out, without a wait', async t => {
  const { worker, primary } = channel()
  answerMetricsRequests(meteringOf().registry, worker)
  const gone: MessageEnd = { on () {}, off () {}, send () { throw new Error('channel closed') } }
  const going: MessageEnd = { on () {}, off () {}, send (_message, callback) { callback(new Error('channel closed')) } }
  t.match(await collectFromWorkers([gone, primary, going], 600_000), /reverseproxy_build_info/)
})

t.test('where no worker answers there is no text that looks like an idle gateway', async t => {
  await t.rejects(collectFromWorkers([channel().primary], 5), /none of 1 workers has told its metrics within 5 ms/)
  t.equal((await collectFromWorkers([])).trim(), '')
})

t.test('a registry that fails is left out', async t => {
  const registry = new Registry()
  registry.getMetricsAsJSON = () => Promise.reject(new Error('no'))
  const { worker, primary } = channel()
  answerMetricsRequests(registry, worker)
  await t.rejects(collectFromWorkers([primary], 600_000), /none of 1/)
})

t.test('a worker that has ended answering is silent', async t => {
  const { worker, primary } = channel()
  answerMetricsRequests(meteringOf().registry, worker)()
  await t.rejects(collectFromWorkers([primary], 5), /none of 1/)
})
