/**
 * What users write, as TypeBox schemas: validation, TypeScript types and reference in one.
 * One file a concern in `schema/`; the schemas here are whole options, each with the static type beside it.
 */
export { backendSchema, targetSchema, type BackendOptions, type TargetOption } from './schema/backend.ts'
export { compositeSchema, partSchema, type CompositeOptions, type PartOptions } from './schema/composite.ts'
export { gatewaySchema, type GatewayOptions } from './schema/gateway.ts'
export { proxySchema, routeSchema, type ProxyOptions, type RouteOption } from './schema/proxy.ts'
export { fileSchema, serverFileSchema, type ServerFileOptions } from './schema/server.ts'
