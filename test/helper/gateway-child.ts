/**
 * The process behind `forkGateway`: says its port, then answers each message with its resident set.
 */
import type { AddressInfo } from 'node:net'
import { buildGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'

const app = await buildGateway(JSON.parse(process.env['GATEWAY_OPTIONS'] ?? '{}') as GatewayOptions)
await app.listen({ port: 0, host: '127.0.0.1' })

process.on('message', (message: { collect?: boolean }) => {
  if (message.collect === true) (globalThis as { gc?: () => void }).gc?.()
  process.send?.({ rss: process.memoryUsage.rss() })
})
// a parent that died must not leave a gateway behind
process.on('disconnect', () => { process.exit() })
process.send?.({ port: (app.server.address() as AddressInfo).port })
