/** What is kept so that V8 does not forget it is really what `process.nextTick` queues. */
import t from 'tap'
import { kept } from '../../lib/kept-tick.ts'

t.test('an object of process.nextTick is kept', async t => {
  await new Promise(resolve => { setImmediate(resolve) })
  const tick = kept.tick as { callback?: unknown } | undefined
  t.type(tick?.callback, 'function', 'as Node makes it: its shape is what counts')
})
