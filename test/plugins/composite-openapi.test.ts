/** What the parts' schemas add up to, as those see it who document an API. */
import t from 'tap'
import swagger from '@fastify/swagger'
import { Type } from '@sinclair/typebox'
import { startBackends, startGateway } from '../helper.ts'

const User = Type.Object({ name: Type.String() })
const Orders = Type.Array(Type.Object({ total: Type.Integer() }))

t.test('@fastify/swagger shows the derived schema of a composite', async t => {
  const { backends } = await startBackends(t)
  let document: unknown
  await startGateway(t, { backends }, async app => {
    await app.register(swagger, { openapi: { info: { title: 'pages', version: '1' } } })
    app.get('/pages/:id', {
      schema: { params: Type.Object({ id: Type.String() }) },
      composite: { parts: { user: { backend: 'a', path: '/users/:id', required: true, schema: User }, orders: { backend: 'b', path: '/orders', schema: Orders } } }
    }, app.reverseproxy.handler)
    app.addHook('onReady', async () => { document = app.swagger() })
  })
  t.match(document, {
    openapi: /^3/,
    paths: {
      '/pages/{id}': {
        get: {
          parameters: [{ in: 'path', name: 'id', required: true }],
          responses: {
            200: {
              content: {
                'application/json': {
                  schema: {
                    type: 'object',
                    required: ['user'],
                    properties: {
                      user: { type: 'object', required: ['name'], properties: { name: { type: 'string' } } },
                      orders: { type: 'array', items: { type: 'object', properties: { total: { type: 'integer' } } } }
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  })
})
