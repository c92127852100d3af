/** Parts that are too large: cut at the limit, the connection closed, and the memory stays where it was. */
import t from 'tap'
import { gzipSync } from 'node:zlib'
import { chunk, rawUpstream, rssGrowth, waitFor } from '../helper.ts'
import { ask, checkFault, jsonAnswer, startComposites, startFaulty, withoutMeta } from '../helper-composite-faults.ts'
import type { RawUpstream, Script } from '../helper.ts'

const MB = 1_000_000
const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
const PIECE = Buffer.alloc(64 * 1024, 0x20)

/** Bytes of endless bodies that went out, by upstream. */
interface Flood { written: number, stopped: boolean }

/** A body that goes on until its reader has enough: no piece before the one before it has left. */
function flood (head: string, piece: Buffer, total: number, seen: Flood): Script {
  return async ({ socket, play }) => {
    await play(head)
    for (let sent = 0; sent < total && !socket.destroyed; sent += piece.length) {
      await new Promise<void>(resolve => {
        socket.once('close', resolve)
        socket.write(piece, error => {
          socket.removeListener('close', resolve)
          if (error == null) seen.written += piece.length
          resolve()
        })
      })
    }
    seen.stopped = true
  }
}

const floods: ReadonlyArray<readonly [name: string, make: (seen: Flood) => Script]> = [
  ['100 MB with a length', seen => flood(`${HEAD}Content-Length: ${100 * MB}\r\n\r\n`, PIECE, 100 * MB, seen)],
  ['endless chunks', seen => flood(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`, chunk(PIECE), Infinity, seen)],
  ['an endless body without a length', seen => flood(`${HEAD}\r\n`, PIECE, Infinity, seen)],
  ['an endless gzip', seen => flood(`${HEAD}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n`, chunk(gzipSync(Buffer.alloc(5 * MB)).subarray(0, 4_000)), Infinity, seen)],
  ['one endless chunk', seen => flood(`${HEAD}Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n`, PIECE, Infinity, seen)],
  ['a refusal of 100 MB', seen => flood(`HTTP/1.1 404 Not Found\r\nContent-Length: ${100 * MB}\r\n\r\n`, PIECE, 100 * MB, seen)]
]

for (const [name, make] of floods) {
  t.test(`${name}: cut at the limit`, async t => {
    const seen: Flood = { written: 0, stopped: false }
    const gateway = await startFaulty(t, make(seen))
    await checkFault(t, gateway, { code: 'RP_ERR_PART_TOO_LARGE', status: name.startsWith('a refusal') ? 404 : 200, heals: false })
    const asked = gateway.bad.requests.slice()
    t.ok(await gateway.bad.dropped(asked, 1_000), 'its connections are closed')
    // what the kernel's buffers take is not the gateway's doing
    t.ok(seen.written < asked.length * 12 * MB, `little was read (${Math.round(seen.written / MB)} MB of ${asked.length} bodies)`)
    gateway.bad.answer(jsonAnswer('{"well":true}'))
    t.same(withoutMeta((await ask(`${gateway.url}/merge/optional`)).text).body, { well: true, good: 1 })
    t.ok(await waitFor(() => gateway.inflight() === 0))
  })
}

t.test('the limit is exact, and the same with and without a length', async t => {
  const gateway = await startFaulty(t, [], { part: { maxBytes: 100 } })
  const body = (size: number): string => `{"a":"${'x'.repeat(size - 8)}"}`
  const framed: ReadonlyArray<(text: string) => Script> = [
    text => jsonAnswer(text),
    text => [`${HEAD}Transfer-Encoding: chunked\r\n\r\n`, chunk(text.slice(0, 50)), chunk(text.slice(50)), '0\r\n\r\n'],
    text => [`${HEAD}\r\n${text}`, { act: 'fin' }],
    text => jsonAnswer(gzipSync(text), [['Content-Encoding', 'gzip']])
  ]
  for (const frame of framed) {
    gateway.bad.answer(frame(body(100)))
    t.match(withoutMeta((await ask(`${gateway.url}/object/optional`)).text).meta.parts[0], { state: 'ok' })
    gateway.bad.answer(frame(body(101)))
    t.match(withoutMeta((await ask(`${gateway.url}/object/optional`)).text).meta.parts[0], { state: 'failed', code: 'RP_ERR_PART_TOO_LARGE' })
  }
})

t.test('maxBytes limits all parts together, optional ones too', async t => {
  const upstreams: RawUpstream[] = []
  for (let i = 0; i < 3; i++) upstreams.push(await rawUpstream(t, jsonAnswer(`{"k${i}":"${'x'.repeat(400)}"}`)))
  const backends = Object.fromEntries(upstreams.map(({ url }, index) => [`b${index}`, url]))
  const parts = Object.fromEntries(upstreams.map((_upstream, index) => [`b${index}`, { backend: `b${index}`, path: '/' }]))
  const { url } = await startComposites(t, backends, { '/few': { parts, maxBytes: 1_000 }, '/enough': { parts, maxBytes: 2_000 } })
  t.equal((await ask(`${url}/enough`)).status, 200)
  const answer = await ask(`${url}/few`)
  t.match([answer.status, JSON.parse(answer.text)], [502, { code: 'RP_ERR_PART_TOO_LARGE' }])
})

t.test('memory does not grow with bodies that are cut', { timeout: 60_000 }, async t => {
  const seen: Flood = { written: 0, stopped: false }
  const gateway = await startFaulty(t, flood(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`, chunk(PIECE), Infinity, seen))
  const round = async (): Promise<void> => {
    await Promise.all([0, 1, 2, 3].map(async () => { await ask(`${gateway.url}/merge/optional`) }))
  }
  for (let i = 0; i < 10; i++) await round()
  const growth = await rssGrowth(async () => { for (let i = 0; i < 50; i++) await round() })
  t.ok(growth < 120 * MB, `grew by ${Math.round(growth / MB)} MB in 200 requests with endless bodies`)
  t.ok(await gateway.bad.dropped(), 'every connection with such a body is closed')
})
