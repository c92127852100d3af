import t from 'tap'
import { builtinBalancers, createBalancer } from '../../../lib/balancing/index.ts'
import { anyCall, picks, seeded, targets } from './scene.ts'

const tools = { random: seeded() }

t.test('every balancer of the suite picks one of its targets', async t => {
  const all = targets(1, 2, 3)
  for (const name of Object.keys(builtinBalancers)) {
    const balancer = createBalancer(name === 'hash' ? { type: name, key: 'path' } : name, {}, tools)
    for (let i = 0; i < 20; i++) if (!all.includes(balancer.pick(all, anyCall)!)) t.fail(name)
  }
})

t.test('every balancer of the suite takes a single target', async t => {
  const one = targets(0.5)
  for (const name of Object.keys(builtinBalancers)) {
    t.equal(picks(createBalancer(name === 'hash' ? { type: name, key: 'path' } : name, {}, tools), one, 3), 'aaa', name)
  }
})

t.test('a balancer can be asked for as an object', async t => {
  t.equal(picks(createBalancer({ type: 'round-robin' }, {}, tools), targets(1, 1), 2), 'ab')
})

t.test('each call makes a balancer with a state of its own', async t => {
  const all = targets(1, 1)
  picks(createBalancer('round-robin', {}, tools), all, 1)
  t.equal(picks(createBalancer('round-robin', {}, tools), all, 1), 'a')
})

t.test('a registered balancer gets the tools and its options', async t => {
  let got: unknown[] = []
  const config = { type: 'mine', limit: 3 }
  createBalancer(config, { mine: (...args) => { got = args; return { pick: all => all[0] } } }, tools)
  t.strictSame(got, [tools, config])
})

t.test('a registered balancer comes before ours of the same name', async t => {
  const balancer = createBalancer('random', { random: () => ({ pick: all => all.at(-1) }) }, tools)
  t.equal(picks(balancer, targets(1, 1, 1), 2), 'cc')
})

t.test('an unknown balancer is refused with the names that are known', async t => {
  for (const name of ['fastest', 'constructor', '__proto__']) {
    t.throws(() => createBalancer(name, { mine: () => ({ pick: () => undefined }) }, tools), {
      name: 'RangeError', message: new RegExp(`'${name}'.*round-robin.*mine`)
    })
  }
})

t.test('an option that does nothing is refused', async t => {
  t.throws(() => createBalancer({ type: 'random', seed: 1 }, {}, tools), { name: 'RangeError', message: /'random'.*seed/ })
  t.throws(() => createBalancer({ type: 'hash', key: 'ip', keys: 1 }, {}, tools), { name: 'RangeError', message: /keys/ })
})
