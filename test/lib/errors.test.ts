/** Errors that are answers: cheap to make, and as telling as any other. */
import Fastify from 'fastify'
import t from 'tap'
import { CircuitOpenError, CombineError, ConnectError, because, circuitOpen } from '../../lib/errors.ts'

const FRAME = /\n\s+at /

t.test('what a client may see has no stack but its first line', async t => {
  const error = new ConnectError()
  t.equal(error.stack, 'FastifyError: The backend could not be reached')
  t.ok(error instanceof Error)
  t.ok(error instanceof ConnectError)
  t.notOk(error instanceof CircuitOpenError)
  t.match(error, { name: 'FastifyError', code: 'RP_ERR_CONNECT', statusCode: 502, message: 'The backend could not be reached' })
})

t.test('a fault of the gateway\'s own has one, since it is to be found', async t => {
  t.match(new CombineError().stack, FRAME)
})

t.test('the stack of one error may be set, and says nothing of others', async t => {
  const error = new ConnectError()
  error.stack = 'elsewhere'
  t.equal(error.stack, 'elsewhere')
  t.equal(new ConnectError().stack, 'FastifyError: The backend could not be reached')
})

t.test('it stays out of what is written of an error', async t => {
  t.notMatch(JSON.stringify(new ConnectError()), 'stack')
  t.notOk(Object.keys(new ConnectError()).includes('stack'))
})

t.test('why is an error without a stack', async t => {
  const cause = because('backend orders: nobody is there')
  t.ok(cause instanceof Error)
  t.match(cause, { name: 'Error', message: 'backend orders: nobody is there', stack: 'Error: backend orders: nobody is there' })
  t.equal(circuitOpen(1_500, cause).cause, cause)
})

t.test('the log has the error, why, and the stack of what failed underneath', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'error', stream: { write (line: string) { lines.push(line) } } } })
  t.teardown(() => app.close())
  app.get('/open', async () => { throw circuitOpen(1_500, because('backend orders: circuit-open')) })
  app.get('/refused', async () => { throw new ConnectError({ cause: new Error('connect ECONNREFUSED 127.0.0.1:1') }) })

  const open = await app.inject('/open')
  t.equal(open.headers['retry-after'], '2')
  t.strictSame(open.json(), { statusCode: 503, code: 'RP_ERR_CIRCUIT_OPEN', error: 'Service Unavailable', message: 'The backend is not asked for the moment' })
  await app.inject('/refused')

  const [asked, refused] = lines.map(line => (JSON.parse(line) as { err: { message: string, stack: string } }).err)
  t.equal(asked?.message, 'The backend is not asked for the moment: backend orders: circuit-open')
  t.equal(asked?.stack, 'FastifyError: The backend is not asked for the moment\ncaused by: Error: backend orders: circuit-open')
  t.equal(refused?.message, 'The backend could not be reached: connect ECONNREFUSED 127.0.0.1:1')
  t.match(refused?.stack, FRAME)
})
