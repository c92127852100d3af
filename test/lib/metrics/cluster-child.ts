/** A worker: counts what it is told to, and answers the primary. */
import { answerMetricsRequests } from '../../../lib/metrics/index.ts'
import { meteringOf, sourceOf } from './scene.ts'

const metering = meteringOf({ buckets: [0.01, 1] })
const { requests, events, attempts, registry } = metering
events.loaded(Number(process.env['LOADED_AT']), false)
for (let left = Number(process.env['REQUESTS']); left > 0; left--) {
  requests.begin()
  requests.end({ route: '/a', method: 'GET', code: 200, tenant: undefined, ms: 20, cut: false })
}
requests.begin()
metering.enter(sourceOf({ written: Number(process.env['REQUESTS']), queued: 1 }))
attempts.rejected('up', { code: 'RP_ERR_NO_TARGET' })
if (process.env['MUTE'] === undefined) answerMetricsRequests(registry)
process.send!('ready')
// stays as long as the channel does
process.on('message', () => {})
