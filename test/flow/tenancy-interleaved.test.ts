/**
 * Many tenants at once over the same connections: every answer is from the tenant's own backend, and every backend is told the right
 * tenant, whatever is slow, fails, is tried again or is asked twice.
 */
import t from 'tap'
import { seededRandom, startGateway } from '../helper.ts'
import { createClient, gatewayOptions, interleave, known, optionsOf, startScene } from './tenancy-scene.ts'

// some 12 s of work, which share the machine with what else runs there
t.setTimeout(180_000)

t.test('10,000 interleaved requests of 50 tenants', { timeout: 120_000 }, async t => {
  const random = seededRandom(5)
  const scene = await startScene(t, random)
  const { url } = await startGateway(t, gatewayOptions(scene, { tenants: Object.fromEntries(known.map(who => [who, optionsOf(who, scene.urls)])) }), () => {})
  const wrong = await interleave(createClient(t, url, who => ({ 'x-tenant-id': who })), 10_000, random)
  t.same(wrong, [], 'every answer is from the tenant\'s own backend')
  t.same(scene.wrong, [], 'every backend was told the right tenant')
  t.ok(scene.faults() > 300, `${scene.faults()} faults on the way`)
})
