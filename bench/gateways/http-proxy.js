/** @fastify/http-proxy, defaults, logger off. `websocket: true`: that as well. */
import httpProxy from '@fastify/http-proxy'
import Fastify from 'fastify'
import { options } from '../processes.js'
import { pool, serve } from './serve.js'

const app = Fastify()
app.register(httpProxy, { upstream: options.targets[0], undici: pool, websocket: options.websocket === true })
await serve(app)
