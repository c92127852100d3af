/** A composite as people write it by hand: Promise.all, body.json(), Object.assign. The reference of the composite scenarios. */
import Fastify from 'fastify'
import { Pool } from 'undici'
import { options } from '../processes.js'
import { pool, serve } from './serve.js'

const combine = {
  merge: (a, b, c) => Object.assign({}, a, b, c),
  object: (a, b, c) => ({ a, b, c }),
  append: (a, b, c) => [...a, ...b, ...c]
}[options.strategy]
// A pool for each, and not an Agent: it is spared parsing a URL per call.
const [first, second, third] = options.targets.map(target => new Pool(target, pool))

const app = Fastify()
app.get('/profiles/:id', async () => {
  const [a, b, c] = await Promise.all([get(first, '/a'), get(second, '/b'), get(third, '/c')])
  return combine(a, b, c)
})
await serve(app)

async function get (upstream, path) {
  const { body } = await upstream.request({ method: 'GET', path })
  return await body.json()
}
