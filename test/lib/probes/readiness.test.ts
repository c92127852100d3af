/** What readiness costs, and what it makes of whatever is the matter with targets. */
import t from 'tap'
import fc from 'fast-check'
import { parseOptions } from '../../../lib/options/index.ts'
import { createReadiness, isUsable } from '../../../lib/probes/readiness.ts'
import type { Backend, Refusal, Target } from '../../../lib/types.ts'

interface Fitness { readonly reason: Refusal | undefined, readonly circuit: 'closed' | 'open' | 'half-open' | undefined, readonly inService: boolean }

function backendOf (name: string, targets: readonly Fitness[], panic: object | undefined = undefined): { backend: Backend, health: (target: Target) => Refusal | undefined } {
  const all = targets.map(({ reason, circuit, inService }) => ({ reason, inService, breaker: circuit === undefined ? undefined : { state: circuit } }))
  const backend = { name, scope: '', usable: all.filter(({ inService }) => inService), config: { resilience: { panic } } } as unknown as Backend
  return { backend, health: target => (target as unknown as Fitness).reason }
}

const fitness = fc.record({
  reason: fc.constantFrom<Refusal | undefined>(undefined, 'unhealthy', 'ejected', 'warming'),
  circuit: fc.constantFrom(undefined, 'closed' as const, 'open' as const, 'half-open' as const),
  inService: fc.boolean()
})
const isSick = ({ reason }: Fitness): boolean => reason === 'unhealthy' || reason === 'ejected'

t.test('property: usable is who has a target in service that is neither sick nor behind an open circuit', async t => {
  fc.assert(fc.property(fc.array(fitness, { maxLength: 5 }), targets => {
    const { backend, health } = backendOf('a', targets)
    const expected = targets.some(target => target.inService && !isSick(target) && target.circuit !== 'open')
    return isUsable(backend, health) === expected
  }))
  t.pass()
})

t.test('property: a panic overlooks health, and nothing else', async t => {
  fc.assert(fc.property(fc.array(fitness, { maxLength: 5 }), fc.constantFrom('all', '503'), (targets, mode) => {
    const { backend, health } = backendOf('a', targets, { threshold: 100, mode })
    const inService = targets.filter(target => target.inService)
    const isPanic = inService.some(isSick)
    const expected = isPanic && mode === '503' ? false : inService.some(({ circuit }) => circuit !== 'open')
    return isUsable(backend, health) === expected
  }))
  t.pass()
})

t.test('all backends of all tenants are looked through after a change only', async t => {
  const { backend, health } = backendOf('a', [{ reason: undefined, circuit: undefined, inService: true }])
  let looked = 0
  let version = 0
  const readiness = createReadiness({
    config: parseOptions({ probes: true }),
    registry: { all: () => { looked++; return [{ ...backend, scope: 'acme', usable: [] }, backend] }, resolve: () => backend, version: () => version },
    health,
    isClosing: () => false
  })
  for (let time = 0; time < 100; time++) readiness()
  t.equal(looked, 1)
  version++
  t.same(readiness(), { ready: true, reasons: [] })
  t.equal(looked, 2)
})

t.test('what it hands out cannot be changed by one for the others', async t => {
  const readiness = createReadiness({ config: parseOptions({}), registry: { all: () => [], resolve: () => undefined, version: () => 0 }, health: () => undefined, isClosing: () => false })
  t.throws(() => { (readiness() as { ready: boolean }).ready = false })
  t.same(readiness(), { ready: true, reasons: [] })
})
