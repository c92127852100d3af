/** Lines of traffic dumps as a scrape shows them, while gateways take the place of one another. */
import t from 'tap'
import { meteringOf, sourceOf, valuesOf } from './scene.ts'

function scene () {
  const metering = meteringOf()
  const lines = async () => valuesOf(await metering.registry.metrics(), 'reverseproxy_traffic_dump_lines_total')
  const waiting = async () => valuesOf(await metering.registry.metrics(), 'reverseproxy_traffic_dump_queued_lines')
  return { metering, lines, waiting }
}

t.test('without a dump there are no values', async t => {
  const { metering, lines, waiting } = scene()
  metering.enter(sourceOf())
  t.same([await lines(), await waiting()], [{}, {}])
})

t.test('a dump that a gateway goes on with counts once', async t => {
  const { metering, lines, waiting } = scene()
  const before = sourceOf({ written: 3, dropped: 2, failed: 1, queued: 4 })
  const after = { ...before }
  metering.enter(before)
  metering.enter(after)
  const shown = { 'result=written': 3, 'result=dropped': 2, 'result=failed': 1 }
  t.same([await lines(), await waiting()], [shown, { '': 4 }])
  metering.leave(before)
  t.same([await lines(), await waiting()], [shown, { '': 4 }])
})

t.test('a dump in another folder does not set the counters back, nor are the last lines of the former lost', async t => {
  const { metering, lines, waiting } = scene()
  const stats = { written: 5, dropped: 0, failed: 0, queued: 2, file: undefined }
  const before = { ...sourceOf(), dump: () => former }
  const former = { stats: () => stats }
  metering.enter(before)
  metering.enter(sourceOf({ written: 1 }))
  metering.leave(before)
  t.has(await lines(), { 'result=written': 6 })
  t.same(await waiting(), { '': 2 })
  Object.assign(stats, { written: 7, queued: 0 })
  for (let i = 0; i < 2; i++) t.has(await lines(), { 'result=written': 8 })
  t.same(await waiting(), { '': 0 })
})

t.test('a gateway without a dump shows none, and a later one goes on with the counters', async t => {
  const { metering, lines } = scene()
  const [one, without, other] = [sourceOf({ written: 5 }), sourceOf(), sourceOf({ written: 1, failed: 1 })]
  metering.enter(one)
  metering.enter(without)
  metering.leave(one)
  t.same(await lines(), {})
  metering.enter(other)
  metering.leave(without)
  t.same(await lines(), { 'result=written': 6, 'result=dropped': 0, 'result=failed': 1 })
})
