/**
 * `npm start`: the backends and the gateway in one process. Ctrl-C ends it when running requests are done.
 */
import closeWithGrace from 'close-with-grace'
import { startBackends } from './backends.ts'
import { buildGateway } from './gateway.ts'

const backends = await startBackends()
const { app, address } = await buildGateway({ ...process.env, ...backends.urls })
const url = await app.listen(address)
const dumps = app.reverseproxy.config.trafficDump?.directory

// more time than the file gives the gateway: a second, and ten for what runs
closeWithGrace({ delay: 15_000 }, async ({ err }) => {
  if (err !== undefined) app.log.error(err)
  await app.close()
  await backends.close()
})

console.log(`The gateway listens on ${url}. Try:

  # two targets take turns, two to one: look at x-served-by
  curl -i ${url}/api/users
  curl ${url}/api/users/2
  curl ${url}/api/users/1/orders

  # a header, a host: other routes
  curl ${url}/api/products
  curl -H 'x-api-version: 2' ${url}/api/products
  curl -H 'host: shop.example.com' ${url}/products

  # bodies go through byte for byte
  curl -i -X POST -H 'content-type: application/json' -d '{"userId":3,"productId":11}' ${url}/api/orders

  # several calls, one answer: look at x-composite-complete, cache-control and _meta
  curl -i ${url}/pages/dashboard/2
  curl -i ${url}/pages/product/10

  # tenants: one has its own users, one may send little, the third is nobody that is known
  curl -H 'x-tenant-id: acme' ${url}/api/users
  curl -i -X POST -H 'x-tenant-id: globex' -H 'content-type: application/json' -d '{"userId":3,"productId":11}' ${url}/api/orders
  curl -H 'x-tenant-id: acme, globex' ${url}/api/users
  curl ${url}/_gateway/tenants

  # a WebSocket chat and an event stream: open ${url}/live in two windows
  curl -N ${url}/live/clock
  curl -N -H 'last-event-id: 41' ${url}/live/clock

  # break a backend, and see the circuit open and close again
  curl -X POST '${url}/_demo/orders/fail?seconds=8'
  for i in 1 2 3 4 5; do curl -s ${url}/api/orders; echo; done
  curl ${url}/_gateway/breakers
  curl '${url}/_gateway/explain?url=/api/orders'
  curl -i ${url}/health/ready

  # see it: open ${url}/_gateway in a browser, let there be traffic, and break the orders meanwhile
  while sleep 0.1; do for page in api/users api/orders api/products pages/dashboard/2; do curl -s -o /dev/null ${url}/$page; done; done
  curl ${url}/_gateway/backends
  curl ${url}/metrics
  jq -c '[.timestamp, .rule, .status_code, .duration]' ${dumps}/*.jsonl

  # code: gateway.ts
  curl -H 'x-user-id: 3' ${url}/api/me
  curl -i ${url}/api/cached/products

Ctrl-C ends it.`)
