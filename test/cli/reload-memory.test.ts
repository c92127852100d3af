/** Configurations that are over are let go of: nothing holds what they were. */
import t from 'tap'
import { runInNewContext } from 'node:vm'
import { setFlagsFromString } from 'node:v8'
import { Agent, request } from 'undici'
import { startGateway } from '../../cli/serving/gateway.ts'
import { parseConfigText } from '../../lib/config-file.ts'
import { httpUpstream, sleep } from '../helper.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

t.test('20 configurations later, the first ones are gone', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end('ok') })
  let round = 0
  const gateway = await startGateway(async () => parseConfigText(`server: { host: 127.0.0.1, port: 0, logger: silent }
backends: { up: { url: ${up.url}, health: { path: /health, interval: 1s }, timeout: ${1 + round}s } }
tenancy: { tenants: { acme: { headers: { request: { set: { x-round: '${round}' } } } } } }
routes: [{ path: /x${round}, proxy: up }]
`, { path: 'gateway.yaml' }))
  t.teardown(async () => { await gateway.close() })
  // a connection that stays open the whole time
  const agent = new Agent({ connections: 1 })
  t.teardown(async () => { await agent.close() })
  const refs: Array<WeakRef<object>> = []
  for (round = 1; round <= 20; round++) {
    refs.push(new WeakRef(gateway.app.reverseproxy))
    await gateway.reload()
    for (const headers of [{}, { 'x-tenant-id': 'acme' }]) {
      const { body, statusCode } = await request(`http://127.0.0.1:${gateway.port}/x${round}`, { dispatcher: agent, headers })
      await body.text()
      t.equal(statusCode, 200)
    }
  }
  let alive = Infinity
  for (let i = 0; i < 50 && alive > 2; i++) {
    await sleep(20)
    collect()
    alive = refs.filter(ref => ref.deref() !== undefined).length
  }
  t.ok(alive <= 2, 'those before are gone', { alive })
})
