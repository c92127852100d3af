/** What the status page does: tokens, live numbers, actions, streams that end. In a real browser (Debian's `chromium`). */
import t from 'tap'
import Fastify from 'fastify'
import reverseproxy from '../index.ts'
import { httpUpstream } from './helper/upstream.ts'
import { button, card, change, createShows, focused, live, says, target, tile } from './status-page-browser.ts'
import { aBackend, aPoint, aScene, aStatus, aTarget } from './status-page-server.ts'

const shows = createShows(t)

shows('a token is asked for, kept for the tab, and forgotten', { token: 'open-sesame' }, async (t, { page }) => {
  const field = page.getByLabel('Admin token')
  await field.waitFor()
  t.equal(await page.locator('#house').isVisible(), false)
  await field.fill('guess')
  await field.press('Enter')
  await page.getByText('This token was not accepted.').waitFor()
  await field.fill('open-sesame')
  await field.press('Enter')
  await live(page)
  await tile(page, 'WebSockets').getByText('17').waitFor()
  t.equal(await field.isVisible(), false)

  await page.reload()
  await live(page)
  await button(page, 'Forget token').click()
  await field.waitFor()
  t.equal(await page.locator('#house').isVisible(), false, 'nothing is left of what it knew')
  t.equal(await page.evaluate('sessionStorage.length'), 0)
})

shows('numbers change where they stand', {}, async (t, { page, admin }) => {
  await page.evaluate('globalThis.kept = [...document.querySelectorAll(".tile, .card, .targets tr, .plot path")]')
  const path = await page.locator('.plot path').first().getAttribute('d')
  admin.scene.status = aStatus({ websockets: 1234, requests: { ...admin.scene.status.requests, inFlight: 57 }, trafficDump: { written: 900, dropped: 3, failed: 0, queued: 0 } })
  admin.scene.backends = [aBackend('users', [aTarget('http://10.0.0.1:4001', { inflight: 41 })], { concurrency: { max: 200, taken: 199, waiting: 8 } }), admin.scene.backends[1]!]
  admin.tick()
  for (let second = 1; second <= 10; second++) admin.send('point', aPoint(Date.now() + second, 400, 40, { users: 1 }))
  await tile(page, 'In flight').getByText('57').waitFor()
  await tile(page, 'WebSockets').getByText('1,234').waitFor()
  await tile(page, 'Traffic dump').getByText('3 dropped').waitFor()
  await card(page, 'users').getByText('199 of 200').waitFor()
  await target(page, '10.0.0.1:4001').getByText('41', { exact: true }).waitFor()
  await page.getByText('Now: 400 requests/s, 40 failed').waitFor()
  t.match(await tile(page, 'Failed').innerText(), /\d+ ?%/)
  t.not(await page.locator('.plot path').first().getAttribute('d'), path, 'the plot has moved')
  t.ok(await page.evaluate('globalThis.kept.every(node => node.isConnected)'), 'nothing was made anew')
})

shows('names are text, whatever they are', {}, async (t, { page, admin }) => {
  const names = ['constructor', '__proto__', 'toString', '<img/src=x/onerror=alert(1)>', '../😀?a#b', 'x'.repeat(300)]
  admin.scene.backends = names.map((name, index) => aBackend(name, [aTarget(`http://10.0.1.${index}:1`)]))
  admin.tick()
  for (let second = 1; second <= 3; second++) admin.send('point', aPoint(Date.now() + second, 5, 1, {}))
  for (const name of names) await card(page, name).waitFor()
  admin.send('point', { ...aPoint(Date.now() + 10, 5, 1, {}), backends: JSON.parse('{"constructor":{"count":3,"failures":1,"p50":1,"p95":2},"__proto__":{"count":3,"failures":0,"p50":1,"p95":2}}') })
  admin.tick()
  await page.waitForFunction('document.querySelectorAll(".card svg path").length > 0')
  t.notMatch(await page.locator('main').innerHTML(), /NaN|undefined|<img/)
})

shows('actions', {}, async (t, { page, admin }) => {
  const drain = button(page, 'Drain 10.0.0.2:4002')
  await drain.click()
  const sure = page.getByRole('dialog', { name: 'Drain: 10.0.0.2:4002?' })
  await sure.getByText('finishes what it has begun').waitFor()
  t.equal(await sure.getByText('it would be down').count(), 0)
  t.equal(await focused(page), 'Cancel', 'the harmless button is the first')
  await page.keyboard.press('Escape')
  await sure.waitFor({ state: 'hidden' })
  t.equal(await focused(page), 'Drain 10.0.0.2:4002')
  t.same(admin.actions, [])

  admin.refusal = { statusCode: 409, code: 'RP_ERR_INVENTED', message: 'not <b>now</b>' }
  await drain.click()
  await sure.getByRole('button', { name: 'Drain' }).click()
  await page.getByRole('alert').getByText('Drain 10.0.0.2:4002: not <b>now</b> (409, RP_ERR_INVENTED)').waitFor()
  admin.refusal = undefined
  await drain.click()
  await sure.getByRole('button', { name: 'Drain' }).click()
  await page.getByRole('status').getByText('10.0.0.2:4002 is being drained.').waitFor()
  t.equal(await page.getByRole('alert').getByText('RP_ERR_INVENTED').count(), 0, 'the error is gone')
  await button(page, 'Drain 10.0.0.3:4002').click()
  await page.getByRole('dialog').getByText('No other target of orders takes requests: it would be down.').waitFor()
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()

  // nobody has to be asked
  await button(page, 'Undrain 10.0.0.2:4002').click()
  await page.getByRole('status').getByText('10.0.0.2:4002 takes requests again.').waitFor()
  await button(page, 'Check now 10.0.0.2:4002').click()
  await page.getByRole('status').getByText('10.0.0.2:4002 is healthy.').waitFor()
  await button(page, 'Open circuit 10.0.0.3:4002').click()
  await page.getByRole('dialog').getByRole('button', { name: 'Open circuit' }).click()
  await page.getByText('The circuit of 10.0.0.3:4002 is open.').waitFor()
  await button(page, 'Check all targets of orders').click()
  await page.getByText('orders is healthy.').waitFor()
  t.same(admin.actions, [
    { path: '/backends/orders/drain', body: { target: 'http://10.0.0.2:4002' } },
    { path: '/backends/orders/drain', body: { target: 'http://10.0.0.2:4002' } },
    { path: '/backends/orders/undrain', body: { target: 'http://10.0.0.2:4002' } },
    { path: '/backends/orders/check', body: { target: 'http://10.0.0.2:4002' } },
    { path: '/backends/orders/breaker/open', body: { target: 'http://10.0.0.3:4002' } },
    { path: '/backends/orders/check', body: {} }
  ])
})

shows('a stream that ends begins again, and meanwhile the numbers are marked', {}, async (t, { page, admin }) => {
  admin.away = true
  admin.endStreams()
  await says(page, 'Connection lost, trying again')
  t.equal(await page.locator('body').getAttribute('data-connection'), 'lost')
  t.ok(await page.locator('#house').isVisible(), 'what it knew stays')
  t.equal(await page.title(), '(offline) Gateway status')
  admin.scene = aScene({ status: aStatus({ pid: 4712, websockets: 3 }), transitions: [change(1, 'target', 'removed')] })
  admin.away = false
  await live(page)
  await page.getByText('pid 4712').waitFor()
  await page.locator('#changes').getByText('removed').waitFor()
  t.equal(admin.streams.size, 1)
})

shows('paused, the page stands still; going on, it shows what is now', {}, async (t, { page, admin }) => {
  await tile(page, 'WebSockets').getByText('17').waitFor()
  await button(page, 'Pause').click()
  await says(page, 'Paused')
  admin.scene.status = aStatus({ websockets: 99 })
  admin.tick()
  // the stream goes on: an answer to a later request says that the event before it was seen
  await page.locator('#tenants summary').click()
  await page.getByText('acme', { exact: true }).waitFor()
  t.match(await tile(page, 'WebSockets').innerText(), /17/)
  await button(page, 'Pause').click()
  await tile(page, 'WebSockets').getByText('99').waitFor()
})

shows('routes, tenants, configuration, and what would become of a request', {}, async (t, { page, admin }) => {
  for (const name of ['Routes', 'Tenants', 'Configuration']) await page.getByRole('heading', { name }).click()
  await page.getByRole('table', { name: 'Routes' }).getByText('user (users), required; orders (orders)').waitFor()
  await page.getByRole('table', { name: 'Tenants' }).getByText('{"plan":"gold"}').waitFor()
  await page.getByRole('region', { name: 'Configuration as JSON' }).getByText('"key": "***"').waitFor()

  await page.getByLabel('Method').selectOption('POST')
  await page.getByLabel('Path and query').fill('/api/orders/7?x=1')
  const headers = page.getByLabel('Headers, one a line')
  await headers.fill('no header')
  await button(page, 'Explain').click()
  await page.getByText('"no header" is no header').waitFor()
  await headers.fill('X-Tenant-Id: acme\nx-a: 1\nx-a: 2:3')
  await button(page, 'Explain').click()
  const told = page.getByRole('region', { name: 'Explanation' })
  await told.getByText('Goes to 10.0.0.2:4002').waitFor()
  t.match(await told.innerText(), /Route orders[^]*Tenant acme\.[^]*excluded\s+10\.0\.0\.3:4002: its circuit is open, a trial in 12 s\s+excluded\s+10\.0\.0\.4:4002: it is being drained/)
  t.same(admin.actions, [{ path: '/explain', body: { method: 'POST', url: '/api/orders/7?x=1', headers: { 'x-tenant-id': 'acme', 'x-a': ['1', '2:3'] } } }])
})

t.test('the page of a real gateway', async (t) => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end('{}') })
  const app = Fastify()
  await app.register(reverseproxy, { backends: { users: [upstream.url, `${upstream.url}/b`] }, admin: { token: 'open-sesame' } })
  app.get('/users/*', { proxy: { backend: 'users' } }, app.reverseproxy.handler)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const page = await (await shows.newContext(t)).newPage()
  await page.goto(`${url}/_gateway`)
  await page.getByLabel('Admin token').fill('open-sesame')
  await page.keyboard.press('Enter')
  await live(page)

  for (let request = 0; request < 4; request++) await (await fetch(`${url}/users/1`)).text()
  const name = upstream.url.replace('http://', '')
  await page.locator('button.sample').first().click()
  await page.getByRole('table', { name: 'Where the time of GET /users/1 went' }).getByRole('rowheader', { name: `users ${name}` }).waitFor()
  await button(page, `Drain ${name}`).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click()
  await page.getByRole('status').getByText(`${name} is being drained.`).waitFor()
  t.equal(app.reverseproxy.backends.list()[0]!.targets[0]!.state, 'draining')
  await page.locator('#changes').getByText('draining').waitFor()
  await app.close()
  await says(page, 'Connection lost, trying again')
})
