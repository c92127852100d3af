/**
 * What tests share: scripted upstreams, raw clients, gateways, time and chance. Everything a helper opens is closed by
 * the teardown of the test it was given.
 */
export * from './helper/certificate.ts'
export * from './helper/client.ts'
export * from './helper/composite.ts'
export * from './helper/counts.ts'
export * from './helper/echo.ts'
export * from './helper/gateway.ts'
export * from './helper/http-proxy.ts'
export * from './helper/http2.ts'
export * from './helper/messages.ts'
export * from './helper/time.ts'
export * from './helper/upstream.ts'
export * from './helper/websocket.ts'
