/** The traffic dump and a disk that is full, gone or stands still: requests do not notice, and everything that is lost is counted. */
import t, { type Test } from 'tap'
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { parseOptions } from '../../lib/options/index.ts'
import { createWriter, lookAtFolder, tryFolder } from '../../lib/traffic-dump/index.ts'
import type { Entry, Sink } from '../../lib/traffic-dump/index.ts'
import core from '../../plugins/core.ts'
import trafficDump from '../../plugins/traffic-dump.ts'
import { dumpText } from '../helper/dump.ts'
import { httpUpstream, proxyAll, startGateway, virtualClock, waitFor } from '../helper.ts'
import type { Clock } from '../../lib/deadlines.ts'

const full = () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })

const entry = (text: string, size = text.length): Entry => ({ size, line: () => text })

/** A writer with a sink that does what the test says, and turns that run when the test says. */
function scene ({ limit = 1_000, gather = 0 }: { limit?: number, gather?: number } = {}) {
  const clock = virtualClock()
  const turns: Array<() => void> = []
  const written: string[] = []
  const told: string[] = []
  const state = { mode: 'works' as 'works' | 'full' | 'stalls' | 'throws', opened: 0, pending: [] as Array<(error?: Error) => void>, closed: 0, destroyed: 0 }
  const sink = (): Sink => ({
    file: 'a.jsonl',
    write (bytes, done) {
      if (state.mode === 'full') done(full())
      else if (state.mode === 'stalls') state.pending.push(error => { if (error === undefined) written.push(bytes.toString()); done(error) })
      else {
        written.push(bytes.toString())
        done()
      }
    },
    close (done) { state.closed++; done() },
    destroy () { state.destroyed++; for (const done of state.pending.splice(0)) done(full()) }
  })
  const writer = createWriter({
    open () {
      state.opened++
      if (state.mode === 'throws') throw new Error('EACCES')
      return sink()
    },
    limit,
    gather,
    clock: clock as unknown as Clock,
    defer: work => { turns.push(work) },
    onTrouble: error => { told.push(error.message) },
    onRecovery: () => { told.push('works') }
  })
  const turn = () => { while (turns.length > 0) turns.shift()!() }
  return { writer, clock, turns, turn, written, told, state }
}

t.test('nothing is serialised or written within the call that adds a line', async t => {
  const { writer, turns, written, state } = scene()
  let serialised = 0
  writer.add({ size: 1, line: () => { serialised++; return 'a' } })
  t.same([serialised, state.opened, written.length, turns.length], [0, 0, 0, 1])
})

t.test('lines that wait go together, and large ones give others their turn', async t => {
  const { writer, turns, turn, written } = scene({ limit: 1_000_000 })
  for (let i = 0; i < 5; i++) writer.add(entry(String(i)))
  turn()
  t.same(written, ['0\n1\n2\n3\n4\n'])
  for (let i = 0; i < 3; i++) writer.add(entry('x', 40_000))
  t.equal(turns.length, 1)
  turns.shift()!()
  t.equal(turns.length, 1, 'one of them a turn')
  t.equal(writer.stats().queued, 3)
  turn()
  t.match(writer.stats(), { written: 8, queued: 0, dropped: 0 })
})

t.test('more lines are made in a turn the more there are: nothing is dropped however many come between two turns', async t => {
  for (const gather of [0, 250]) {
    const { writer, turns, turn, written } = scene({ limit: 4_000_000, gather })
    const line = 'x'.repeat(2_000)
    for (let round = 0; round < 100; round++) {
      for (let n = 0; n < 100; n++) writer.add(entry(line))
      turns.shift()?.()
    }
    t.equal(writer.stats().dropped, 0)
    t.ok(writer.stats().queued < 1_000, `${writer.stats().queued} wait`)
    writer.close(1_000)
    turn()
    t.equal(written.join('').length, 100 * 100 * (line.length + 1))
  }
})

t.test('lines of a while are written together, sooner when there are many, at once at the end', async t => {
  const { writer, clock, turn, written } = scene({ limit: 1_000_000, gather: 1_000 })
  writer.add(entry('a'))
  clock.advance(999)
  writer.add(entry('b'))
  turn()
  t.same(written, [])
  clock.advance(1)
  turn()
  t.same(written.splice(0), ['a\nb\n'])
  writer.add(entry('c', 200_000))
  turn()
  t.same(written, [])
  writer.add(entry('d', 100_000))
  turn()
  t.same(written.splice(0), ['c\nd\n'])
  clock.advance(5_000)
  turn()
  writer.add(entry('e'))
  const closed = writer.close(100)
  turn()
  await closed
  t.same(written, ['e\n'])
  t.match(writer.stats(), { written: 5, queued: 0, dropped: 0 })
})

t.test('lines are made while others are awaited, and written with them', async t => {
  const { writer, clock, turns, turn, written } = scene({ limit: 1_000_000, gather: 1_000 })
  let made = 0
  const counted = (text: string, size: number): Entry => ({ size, line: () => { made++; return text } })
  writer.add(counted('a', 30_000))
  t.equal(turns.length, 0, 'one alone waits')
  writer.add(counted('b', 30_000))
  writer.add(counted('c', 30_000))
  t.equal(turns.length, 1)
  t.equal(made, 0, 'not within the call')
  turn()
  t.same([made, written], [2, []])
  t.match(writer.stats(), { written: 0, queued: 3 })
  clock.advance(1_000)
  turn()
  t.same([made, written], [3, ['a\nb\nc\n']])
  t.match(writer.stats(), { written: 3, queued: 0 })
  writer.add(counted('d', 200_000))
  turn()
  const closed = writer.close(100)
  turn()
  await closed
  t.same(written.at(-1), 'd\n', 'a line that was made and not written yet, at the end')
})

t.test('whatever comes when, each line is written once and in order', async t => {
  const step = fc.oneof(fc.integer({ min: 1, max: 80_000 }).map(size => ({ size })), fc.constant({ turn: true }), fc.integer({ min: 1, max: 400 }).map(ms => ({ ms })))
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 250), async (steps, gather) => {
    const { writer, clock, turns, turn, written } = scene({ limit: 100_000_000, gather })
    const added: string[] = []
    for (const { size, ms } of steps as Array<{ size?: number, ms?: number }>) {
      if (size !== undefined) {
        added.push(`${added.length}`.padEnd(size / 10, '.'))
        writer.add(entry(added.at(-1)!, size))
      } else if (ms !== undefined) clock.advance(ms)
      else turns.shift()?.()
    }
    const closed = writer.close(1_000)
    turn()
    await closed
    if (written.join('') !== added.map(line => `${line}\n`).join('')) throw new Error('not what was added')
    const { written: lines, queued } = writer.stats()
    if (lines !== added.length || queued !== 0) throw new Error(`${lines} of ${added.length} written, ${queued} wait`)
  }), { numRuns: 500 })
  t.pass()
})

t.test('a disk that stands still: the queue is bounded, and what finds no room is dropped', async t => {
  const { writer, turn, state, written } = scene({ limit: 100 })
  state.mode = 'stalls'
  for (let i = 0; i < 1_000; i++) {
    writer.add(entry('x'.repeat(10)))
    turn()
  }
  t.match(writer.stats(), { written: 0, dropped: 990, failed: 0 })
  t.equal(state.pending.length, 1, 'one write at a time')
  state.mode = 'works'
  state.pending[0]!()
  turn()
  t.match(writer.stats(), { written: 10, dropped: 990, failed: 0, queued: 0 })
  t.equal(written.join('').length, 110)
  writer.add(entry('again'))
  turn()
  t.equal(writer.stats().written, 11)
})

t.test('a full disk is told once, tried again later and later, and told when it works', async t => {
  const { writer, clock, turn, state, told, written } = scene()
  state.mode = 'full'
  const waits: number[] = []
  for (let i = 0; i < 8; i++) {
    writer.add(entry('lost'))
    turn()
    const before = clock.now()
    const { opened } = state
    writer.add(entry('next'))
    while (state.opened === opened) {
      clock.advance(500)
      turn()
    }
    waits.push(clock.now() - before)
    // the one that was tried has failed as well; now there is a pause again
    clock.advance(120_000)
  }
  t.same(told, ['ENOSPC: no space left on device, write'])
  t.ok(waits[0]! <= 1_000 && waits.at(-1)! <= 60_000 && waits.at(-1)! > waits[0]!, String(waits))
  t.equal(state.destroyed, state.opened)
  state.mode = 'works'
  writer.add(entry('good'))
  clock.advance(60_000)
  turn()
  t.same(told, ['ENOSPC: no space left on device, write', 'works'])
  t.match(written, ['\ngood\n'], 'what was cut off stands on a line of its own')
  t.match(writer.stats(), { written: 1, failed: 16, dropped: 0, queued: 0 })
})

t.test('a file that cannot be opened is no different', async t => {
  const { writer, turn, state, told } = scene()
  state.mode = 'throws'
  writer.add(entry('a'))
  turn()
  t.same(told, ['EACCES'])
  t.match(writer.stats(), { failed: 1, file: undefined })
})

t.test('trouble that somebody has foreseen is told by them alone, and told when it works', async t => {
  const { writer, clock, turn, state, told, written } = scene()
  t.equal(writer.expectTrouble(), true)
  t.equal(writer.expectTrouble(), false, 'it is known')
  state.mode = 'throws'
  writer.add(entry('lost'))
  turn()
  t.same(told, [])
  state.mode = 'works'
  writer.add(entry('good'))
  clock.advance(60_000)
  turn()
  t.same(told, ['works'])
  const other = scene()
  other.writer.expectTrouble()
  other.writer.add(entry('good'))
  other.turn()
  t.same([other.told, other.written], [['works'], ['good\n']], 'nothing was cut off')
  t.same(written, ['\ngood\n'])
  await other.writer.close(1_000)
  t.equal(other.writer.expectTrouble(), false, 'nothing is written any more')
})

t.test('a line that cannot be made costs itself only', async t => {
  const { writer, turn, written } = scene()
  writer.add({ size: 1, line () { throw new Error('no') } })
  writer.add(entry('b'))
  turn()
  t.match(written.join(''), /b\n$/)
  t.match(writer.stats(), { written: 1, failed: 1 })
})

t.test('closing: what waits is written first; a disk that stands still has so long', async t => {
  const works = scene()
  works.writer.add(entry('a'))
  const closed = works.writer.close(1_000)
  works.turn()
  await closed
  t.same([works.written, works.state.closed, works.clock.pending], [['a\n'], 1, 0])
  works.writer.add(entry('late'))
  t.match(works.writer.stats(), { written: 1, dropped: 1 })
  await works.writer.close(1_000)

  const stalls = scene()
  stalls.state.mode = 'stalls'
  stalls.writer.add(entry('a'))
  stalls.turn()
  stalls.writer.add(entry('b'))
  const late = stalls.writer.close(1_000)
  stalls.clock.advance(1_000)
  await late
  t.match(stalls.writer.stats(), { written: 0, failed: 2 })

  const troubled = scene()
  troubled.state.mode = 'full'
  troubled.writer.add(entry('a'))
  troubled.turn()
  troubled.writer.add(entry('b'))
  const tried = troubled.writer.close(1_000)
  troubled.turn()
  await tried
  t.match(troubled.writer.stats(), { written: 0, failed: 2 }, 'tried once more, not waited for')
})

// ---- with a gateway

async function gateway (t: Test, directory: string) {
  const lines: Array<{ level: number, msg: string, directory?: string }> = []
  const up = await httpUpstream(t, (_request, response) => { response.end('ok') })
  const started = await startGateway(t, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 1 } }, proxyAll(), {
    logger: { level: 'info', stream: { write (line: string) { lines.push(JSON.parse(line) as typeof lines[0]) } } }
  })
  return { ...started, complaints: () => lines.filter(({ msg }) => msg.startsWith('the traffic dump')) }
}

t.test('a folder that cannot be made: requests are answered, failures counted, one line in the log', async t => {
  const folder = t.testdir({ file: 'not a folder' })
  const { app, url, complaints } = await gateway(t, join(folder, 'file', 'dumps'))
  t.ok(await waitFor(() => complaints().length === 1), 'before there is a request')
  for (let i = 1; i <= 3; i++) {
    t.equal(await (await fetch(url)).text(), 'ok')
    const { trafficDump } = app.reverseproxy
    t.ok(await waitFor(() => trafficDump.stats().failed + trafficDump.stats().queued === i))
  }
  t.ok(await waitFor(() => app.reverseproxy.trafficDump.stats().failed > 0))
  const directory = join(folder, 'file', 'dumps')
  t.match(complaints(), [{ level: 40, directory, msg: `the traffic dump cannot be written to ${directory}: there is a file where its path has a folder; lines are lost until it can, requests are not affected` }])
  t.equal(complaints().length, 1)
  t.equal(app.reverseproxy.trafficDump.stats().file, undefined)
})

t.test('a file in the place of the folder that goes away: it works again, and says so', async t => {
  const folder = t.testdir({ dumps: 'not a folder' })
  const { rmSync } = await import('node:fs')
  const { app, url, complaints } = await gateway(t, join(folder, 'dumps'))
  t.ok(await waitFor(() => complaints().length === 1))
  await (await fetch(url)).text()
  t.ok(await waitFor(() => app.reverseproxy.trafficDump.stats().failed === 1))
  rmSync(join(folder, 'dumps'))
  await (await fetch(`${url}/after`)).text()
  t.ok(await waitFor(() => app.reverseproxy.trafficDump.stats().written === 1, 10_000))
  t.match(dumpText(join(folder, 'dumps')), /"url":"\/after"/)
  t.same(complaints().map(({ level }) => level), [40, 30])
  t.match(complaints()[0]!.msg, `${join(folder, 'dumps')}: there is a file in its place;`)
})

t.test('a disk that fails when the gateway has started is an error in the log, once', async t => {
  const lines: Array<{ level: number, msg: string }> = []
  const app: FastifyInstance = Fastify({ logger: { level: 'info', stream: { write (line: string) { lines.push(JSON.parse(line) as typeof lines[0]) } } } })
  await app.register(core, { config: parseOptions({ trafficDump: { directory: 'unused', sampleRate: 1 } }) })
  await app.register(trafficDump, { open: () => ({ file: undefined, write (_bytes, done) { done(full()) }, close (done) { done() }, destroy () {} }) })
  app.reverseproxy.tenantInLogs = () => undefined
  app.get('/', async request => {
    request.reverseproxy = { route: '/', attempts: [], backend: 'up' } as unknown as NonNullable<typeof request.reverseproxy>
    return 'ok'
  })
  t.equal((await app.inject('/')).body, 'ok')
  t.ok(await waitFor(() => app.reverseproxy.trafficDump.stats().failed === 1))
  t.match(lines.filter(({ msg }) => msg.startsWith('the traffic dump')), [{ level: 50, msg: /requests are not affected/ }])
  await app.close()
  t.notOk(existsSync('unused'), 'lines that go elsewhere need no folder')
})

t.test('a folder of whose requests none is sampled is not made', async t => {
  const directory = join(t.testdir(), 'dumps')
  const up = await httpUpstream(t, (_request, response) => { response.end('ok') })
  const { url } = await startGateway(t, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 0 } }, proxyAll())
  await (await fetch(url)).text()
  t.notOk(existsSync(directory))
})

t.test('why a folder cannot be written to, with and without making it', async t => {
  const folder = t.testdir({ file: '', there: {} })
  for (const look of [lookAtFolder, tryFolder]) {
    t.equal(await look(join(folder, 'there')), undefined)
    t.equal(await look(join(folder, 'file')), 'there is a file in its place')
    t.equal(await look(join(folder, 'file', 'a', 'b')), 'there is a file where its path has a folder')
  }
  t.equal(await lookAtFolder(join(folder, 'new', 'dumps')), undefined)
  t.notOk(existsSync(join(folder, 'new')), 'to look makes nothing')
  t.equal(await tryFolder(join(folder, 'new', 'dumps')), undefined)
  t.equal(statSync(join(folder, 'new', 'dumps')).mode & 0o777, 0o700)
})

t.test('a folder of somebody else', async t => {
  // root may write anywhere
  const reason = process.getuid?.() === 0 ? undefined : 'this user may not write there'
  const folder = t.testdir({ there: {} })
  chmodSync(join(folder, 'there'), 0o500)
  for (const look of [lookAtFolder, tryFolder]) for (const path of ['there', 'there/dumps']) t.equal(await look(join(folder, path)), reason)
})

t.test('a disk that stands still holds up neither requests nor the end', async t => {
  const config = parseOptions({ trafficDump: { directory: 'unused', sampleRate: 1, queue: '20kb' }, shutdown: { timeout: 50 } })
  const app: FastifyInstance = Fastify()
  let writes = 0
  await app.register(core, { config })
  await app.register(trafficDump, { open: () => ({ file: undefined, write () { writes++ }, close (done) { done() }, destroy () {} }) })
  app.reverseproxy.tenantInLogs = () => undefined
  app.get('/', async request => {
    request.reverseproxy = { route: '/', attempts: [], backend: 'up' } as unknown as NonNullable<typeof request.reverseproxy>
    return 'ok'
  })
  for (let i = 0; i < 100; i++) t.equal((await app.inject('/')).body, 'ok')
  await waitFor(() => writes > 0)
  const { dropped, queued, written } = app.reverseproxy.trafficDump.stats()
  t.equal(written, 0)
  t.ok(dropped > 50 && queued <= 20, `${dropped} dropped, ${queued} wait`)
  t.equal(writes, 1, 'it is asked once, and nothing waits for it')
  await app.close()
  t.pass('it has closed')
})

t.test('a file whose folder has been taken away is noticed', async t => {
  const folder = t.testdir()
  const { openFiles } = await import('../../lib/traffic-dump/index.ts')
  const { rmSync, readFileSync } = await import('node:fs')
  let now = 0
  const sink = openFiles({ directory: join(folder, 'd'), maxFileSize: 1_000, maxFiles: 2, interval: undefined }, { id: '1-abc', now: () => now })
  const write = (text: string) => new Promise<void>((resolve, reject) => { sink.write(Buffer.from(text), error => { if (error == null) resolve(); else reject(error) }) })
  await write('one\n')
  rmSync(join(folder, 'd'), { recursive: true })
  now = 2_000
  await write('two\n')
  t.equal(readFileSync(join(folder, 'd', 'dump-1-abc.jsonl'), 'utf8'), 'two\n')
  writeFileSync(join(folder, 'd', 'other.txt'), '')
  await new Promise<void>(resolve => { sink.close(resolve) })
})
