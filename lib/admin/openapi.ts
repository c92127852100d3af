/** The OpenAPI document of the admin interface: options for `@fastify/swagger`. */
import type { FastifySchema } from 'fastify'

interface Transformed { readonly schema: FastifySchema, readonly url: string }

/** `decorator`: what the document is had by. */
export function describeAdmin ({ version, token }: { readonly version: string, readonly token: boolean }, decorator: string) {
  return {
    decorator,
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Admin interface of fastify-reverseproxy', version, description: 'What the gateway does, and what operators do to it. Times are milliseconds.' },
      ...(token ? { components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } }, security: [{ token: [] }] } : undefined)
    },
    // the app's own document does not show them; this one does, all but what answers that there is nothing
    transform: ({ schema, url }: { schema: FastifySchema, url: string }): Transformed => ({ schema: { ...schema, hide: schema.summary === undefined } as FastifySchema, url }),
    // shared schemas of the app
    transformObject ({ openapiObject }: { openapiObject: { components?: { schemas?: unknown } } }): object {
      if (openapiObject.components !== undefined) delete openapiObject.components.schemas
      return openapiObject
    }
  }
}
