/**
 * Small services for the gateway to stand in front of: users (two copies, and one of a tenant's own), orders, products,
 * reviews, which is out of order, and a lively one (`live.ts`).
 * Every answer says who gave it: `x-served-by`.
 */
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import { live } from './live.ts'

const USERS = [
  { id: 1, name: 'Ada Lovelace', email: 'ada@example.com', bossId: null },
  { id: 2, name: 'Grace Hopper', email: 'grace@example.com', bossId: 1 },
  { id: 3, name: 'Alan Turing', email: 'alan@example.com', bossId: 1 }
]

const PRODUCTS = [
  { id: 10, name: 'Keyboard', price: 79, currency: 'EUR', related: [11] },
  { id: 11, name: 'Monitor', price: 249, currency: 'EUR', related: [10] }
]

const STOCK = new Map([[10, 3], [11, 0]])

interface Order { id: number, userId: number, productId: number, status: string }

function users (app: FastifyInstance): void {
  app.get('/health', async () => ({ status: 'ok' }))
  app.get('/users', async () => USERS)
  app.get<{ Params: { id: number } }>('/users/:id', { schema: ID }, async (request, reply) => {
    reply.header('cache-control', 'private, max-age=60')
    return USERS.find(({ id }) => id === request.params.id) ?? reply.code(404).send({ message: 'no such user' })
  })
}

/** The people of one tenant, who keeps them itself. */
function usersOfAcme (app: FastifyInstance): void {
  app.get('/users', async request => [{ id: 1, name: 'Wile E. Coyote', email: 'wile@acme.example' }].map(user => ({ ...user, tenant: request.headers['x-tenant-id'], plan: request.headers['x-plan'] })))
}

function orders (app: FastifyInstance): void {
  const all: Order[] = [
    { id: 100, userId: 1, productId: 11, status: 'shipped' },
    { id: 101, userId: 2, productId: 10, status: 'open' },
    { id: 102, userId: 1, productId: 10, status: 'open' }
  ]
  // POST /_demo/fail?seconds=10: out of order for a while, to see what the gateway does about it
  let brokenUntil = 0
  app.post<{ Querystring: { seconds: number } }>('/_demo/fail', { schema: SECONDS }, async ({ query: { seconds } }) => {
    brokenUntil = Date.now() + seconds * 1000
    return { brokenFor: seconds }
  })
  app.addHook('onRequest', async (request, reply) => {
    if (Date.now() < brokenUntil && !request.url.startsWith('/_demo/')) return reply.code(500).send({ message: 'the orders are out of order' })
  })
  app.get<{ Querystring: { user?: string } }>('/orders', async ({ query: { user } }, reply) => {
    reply.header('cache-control', 'private, max-age=5')
    return { items: all.filter(({ userId }) => user === undefined || userId === Number(user)) }
  })
  app.post<{ Body: Pick<Order, 'userId' | 'productId'> }>('/orders', { schema: { body: NEW_ORDER } }, async (request, reply) => {
    const order = { id: 100 + all.length, ...request.body, status: 'open' }
    all.push(order)
    return reply.code(201).send({ ...order, source: request.headers['x-source'] })
  })
}

function products (app: FastifyInstance): void {
  app.get('/products', async () => PRODUCTS)
  app.get('/v2/products', async () => ({ items: PRODUCTS, total: PRODUCTS.length }))
  app.get<{ Params: { id: number } }>('/products/:id', { schema: ID }, async (request, reply) => {
    reply.header('cache-control', 'public, max-age=300')
    return PRODUCTS.find(({ id }) => id === request.params.id) ?? reply.code(404).send({ message: 'no such product' })
  })
  app.get<{ Params: { id: number } }>('/stock/:id', { schema: ID }, async (request) => ({ inStock: STOCK.get(request.params.id) ?? 0 }))
}

/** Always fails, to show what the gateway makes of it. */
function reviews (app: FastifyInstance): void {
  app.get('/reviews', async (_request, reply) => reply.code(500).send({ message: 'the reviews are out of order' }))
}

const ID = { params: { type: 'object', properties: { id: { type: 'integer' } } } }
const SECONDS = { querystring: { type: 'object', properties: { seconds: { type: 'number', minimum: 0, maximum: 300, default: 10 } } } }
const NEW_ORDER = { type: 'object', required: ['userId', 'productId'], properties: { userId: { type: 'integer' }, productId: { type: 'integer' } } }

/** Name of each server, its routes and its usual port; `USERS_A_PORT` and so on say another one, 0 takes a free one. */
const SERVERS = [
  ['users-a', users, 4001],
  ['users-b', users, 4002],
  ['orders', orders, 4003],
  ['products', products, 4004],
  ['reviews', reviews, 4005],
  ['users-acme', usersOfAcme, 4006],
  ['live', live, 4007]
] as const

export interface Backends {
  /** Where they listen, under the names that `gateway.yaml` uses: `USERS_A`, `USERS_B`, `ORDERS`, `PRODUCTS`, `REVIEWS`, `USERS_ACME`, `LIVE`. */
  readonly urls: Readonly<Record<string, string>>
  close (): Promise<void>
}

/** Starts all of them on 127.0.0.1. */
export async function startBackends (env: NodeJS.ProcessEnv = process.env): Promise<Backends> {
  const apps: FastifyInstance[] = []
  const urls: Record<string, string> = {}
  for (const [name, service, usualPort] of SERVERS) {
    const variable = name.toUpperCase().replaceAll('-', '_')
    const app = Fastify()
    app.addHook('onRequest', async (_request, reply) => { reply.headers({ 'x-served-by': name, 'x-powered-by': 'fastify' }) })
    service(app)
    await app.listen({ host: '127.0.0.1', port: Number(env[`${variable}_PORT`] ?? usualPort) })
    apps.push(app)
    urls[variable] = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  }
  return {
    urls,
    async close () { await Promise.all(apps.map(app => app.close())) }
  }
}
