/** What does not end is ended, and the process with it. */
import t from 'tap'
import { join } from 'node:path'
import { closedPort, get, rawClient, sleep, waitFor } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'
import { start } from '../cli/command.ts'
import { startChild } from './children.ts'
import { BODY, gate, inFlight } from './gate.ts'
import { createAgent, shoot } from './load.ts'

t.test('shutdown.timeout ends everything that is left, and the process with it', async t => {
  const up = await gate(t)
  const hooks = await gate(t)
  const dead = await closedPort()
  const gateway = await startChild(t, {
    gateway: {
      backends: {
        up: { targets: [up.url], timeout: { headers: '10m', idle: '10m', total: 0 } },
        checked: { targets: [up.url, hooks.url], health: { path: '/hang', interval: 20, timeout: '10m' }, outlier: { baseEjection: '5m' }, slowStart: { window: '10m' } },
        retrying: { targets: [up.url], circuitBreaker: false, retry: { attempts: 5, backoff: { initial: '10m', max: '10m' }, hedge: { after: '10m' } }, timeout: { total: 0 } },
        hedging: { targets: [up.url, hooks.url], retry: { attempts: 2, hedge: { after: 20 } } },
        queueing: { targets: [up.url], concurrency: { max: 1, queue: 10, queueTimeout: '10m' } },
        broken: { targets: [`http://127.0.0.1:${dead}`], circuitBreaker: { failureThreshold: 1, resetTimeout: '10m' } }
      },
      shutdown: { timeout: 700 }
    } as GatewayOptions
  })
  const agent = createAgent()
  t.teardown(() => { agent.destroy() })
  t.equal((await shoot(agent, `${gateway.url}/broken/x`)).status, 502)
  t.equal((await shoot(agent, `${gateway.url}/broken/x`)).status, 503, 'a breaker is open')
  const shots = ['up/hang', 'checked/hang', 'retrying/unavailable', 'hedging/hang', 'queueing/hang', 'queueing/hang', 'queueing/hang'].map(path => shoot(agent, `${gateway.url}/${path}`))
  const events = await rawClient(t, gateway.port)
  events.send(get('/up/events'))
  const upload = await rawClient(t, gateway.port)
  upload.send('POST /up/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345')
  await waitFor(() => events.responses[0]?.text === 'data: 1\n\n')
  await inFlight(gateway, 6)
  await sleep(100)
  const { code, closed, lingered } = await gateway.end('close')
  t.comment(`the close took ${closed} ms, the process ${Math.round(lingered)} ms more`)
  t.equal(code, 0, 'by itself')
  t.ok(closed! >= 690 && closed! < 6_000, 'at its time')
  t.ok(lingered < 5_000, 'pools and timers are gone')
  t.same((await Promise.all(shots)).map(({ status }) => status), shots.map(() => 0), 'all cut')
  t.ok(await events.closes())
  t.notOk(events.responses[0]?.complete, 'the event stream has no clean end')
  t.ok(await upload.closes())
})

t.test('the command line: SIGTERM finishes what runs, cuts what hangs, ends with 0', async t => {
  const up = await gate(t)
  const file = join(t.testdir({ 'g.yaml': `server: { port: 0, host: 127.0.0.1 }\nshutdown: { delay: 300, timeout: 1500 }\nbackends: { up: { targets: ["${up.url}"], health: { path: /now, interval: 100 } } }\ndefaultBackend: up\n` }), 'g.yaml')
  const running = start([file])
  t.teardown(() => { running.process.kill('SIGKILL') })
  const [, origin = ''] = await running.until(/listens on (http:\/\/[^"]+)/)
  const agent = createAgent()
  t.teardown(() => { agent.destroy() })
  const checks = up.hits
  const shots = Array.from({ length: 100 }, () => shoot(agent, `${origin}/held`))
  const hanging = shoot(agent, `${origin}/hang`)
  const events = shoot(agent, `${origin}/events`)
  await waitFor(() => up.hits >= checks + 102, 8_000)
  running.process.kill('SIGTERM')
  await running.until(/finishing what runs/)
  t.match(await shoot(agent, `${origin}/now`), { status: 200, connection: 'close' })
  await sleep(500)
  up.open()
  const answers = await Promise.all(shots)
  t.equal(answers.filter(({ status, body, connection }) => status === 200 && body === BODY && connection === 'close').length, 100)
  t.equal((await hanging).status, 0)
  t.equal((await events).status, 0)
  t.equal((await running.finished).code, 0)
})
