/** How the status page looks, in a real browser (Debian's `chromium`), over an invented admin interface. `SCREENSHOTS=folder` keeps the pictures. */
import t from 'tap'
import { createHash } from 'node:crypto'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { statusPage } from '../lib/admin/page.ts'
import { waitFor } from './helper/time.ts'
import { button, card, change, createShows, focused, target } from './status-page-browser.ts'
import { aBackend, aBadTarget, aComposite, aPoint, aSample, aStatus, aTarget } from './status-page-server.ts'

const shows = createShows(t)

t.test('the document', async (t) => {
  const { html, csp } = statusPage()
  const inside = (tag: string) => new RegExp(`<${tag}[^>]*>([^]*?)</${tag}>`).exec(html)![1]!
  const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
  t.match(csp, new RegExp(`default-src 'none'; script-src ${hash(inside('script')).replace(/[+/]/g, '\\$&')}; style-src ${hash(inside('style')).replace(/[+/]/g, '\\$&')};`))
  t.notMatch(csp, /unsafe/)
  t.notMatch(html, /\son\w+="|\sstyle="|\ssrc=|<link rel="stylesheet"|@import|url\((?!#)/, 'nothing from elsewhere, no handlers or styles in attributes')
  t.notMatch(html, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/)

  const folder = t.testdir({ dist: { lib: { admin: {} } } })
  cpSync(join(import.meta.dirname, '../status-page'), join(folder, 'status-page'), { recursive: true })
  cpSync(join(import.meta.dirname, '../lib/admin/page.ts'), join(folder, 'dist/lib/admin/page.ts'))
  const built = await import(pathToFileURL(join(folder, 'dist/lib/admin/page.ts')).href) as { statusPage: typeof statusPage }
  t.equal(built.statusPage().html, html, 'it is found from where the package is built, too')
})

t.test('a clock that was set back leaves nothing ahead of now', async (t) => {
  interface History { readonly points: ReadonlyArray<{ readonly at: number }>, replace (all: object): void, point (point: object): void }
  const { createHistory } = await import(pathToFileURL(join(import.meta.dirname, '../status-page/history.js')).href) as { createHistory: () => History }
  const history = createHistory()
  const hour = 3_600_000
  const times = () => history.points.map(({ at }) => at - hour)
  history.replace({ interval: 1_000, points: [hour, 2 * hour, hour + 1_000].map(at => aPoint(at, 1, 0)), transitions: [], samples: [] })
  t.same(times(), [0, 1_000])
  for (const at of [2_000, 3_000, 1_500, 2_500]) history.point(aPoint(hour + at, 1, 0))
  t.same(times(), [0, 1_000, 1_500, 2_500])
})

shows('a backend that goes down is the first thing to be seen', {}, async (t, { page, admin }) => {
  t.equal(await page.title(), 'Gateway status')
  await page.getByRole('heading', { name: 'No problems' }).waitFor()
  admin.scene.backends = [admin.scene.backends[0]!, aBackend('orders', [aBadTarget('http://10.0.0.2:4002', 'unhealthy'), aBadTarget('http://10.0.0.3:4002', 'open')])]
  admin.tick()
  await page.getByRole('heading', { name: '1 problem' }).waitFor()
  t.equal(await page.title(), '(1) Gateway status')
  t.same(await page.getByRole('article').getByRole('heading').allInnerTexts(), ['orders', 'users'], 'it is the first one')
  await target(page, '10.0.0.3:4002').getByText('Gets no requests: its circuit is open, a trial in 12 s.').waitFor()
  t.match(await target(page, '10.0.0.2:4002').innerText(), /Gets no requests: its health checks fail\.[^]*Unhealthy\s+3\schecks\sfailed · failed \(connect ECONNREFUSED\)/)
  await button(card(page, 'orders'), '0 of 2 targets usable').click()
  t.equal(await target(page, '10.0.0.2:4002').isVisible(), false)
  await page.locator('#problems').getByRole('link', { name: 'orders' }).click()
  await target(page, '10.0.0.2:4002').waitFor()
  t.equal(await focused(page), 'orders', 'the link leads to it, and unfolds it')
})

shows('transitions are lanes, and sentences', { scene: { transitions: [change(1, 'breaker', 'open', { at: Date.now() - 100_000 })] } }, async (t, { page, admin }) => {
  admin.send('transition', change(2, 'breaker', 'half-open', { at: Date.now() - 60_000 }))
  admin.send('transition', change(2, 'breaker', 'half-open', { at: Date.now() - 60_000 }))
  admin.send('transition', change(3, 'health', 'unhealthy', { scope: 'acme' }))
  const changes = page.getByRole('list', { name: 'Changes, newest first' }).getByRole('listitem')
  await changes.nth(2).waitFor()
  const words = (await changes.allInnerTexts()).map(words => words.replace(/\s+/g, ' '))
  t.match(words[0], /^\d\d:\d\d:\d\d, now orders 10\.0\.0\.3:4002: unhealthy \(tenant acme\)$/)
  t.match(words[1], /^\d\d:\d\d:\d\d, \d min ago orders 10\.0\.0\.3:4002: circuit half-open/)
  t.match(words[2], /circuit opened$/)
  t.equal(words.length, 3, 'once each')
  const lane = page.getByRole('img', { name: /^circuit of 10\.0\.0\.3:4002: open at \d\d:\d\d:\d\d, half-open at / })
  await lane.waitFor()
  t.same(await page.evaluate('[...document.querySelectorAll("[aria-label^=circuit] rect")].map(({ classList }) => classList.value)'), ['band bad', 'band warn'])
  t.equal(await lane.locator('text').first().textContent(), 'open', 'with its name on it')
})

shows('a request opens to its waterfall, and new ones wait until it was read', {}, async (t, { page, admin }) => {
  const requests = page.locator('#sample-list > li')
  t.match((await requests.nth(1).innerText()).replace(/\s+/g, ' '), /503 rejected GET \/api\/orders\/2\?expand=items orders 1\.2 ms/)
  await page.getByRole('button', { name: '/api/dashboard/7' }).click()
  const rows = page.getByRole('table', { name: 'Where the time of GET /api/dashboard/7 went' }).getByRole('row')
  t.same((await rows.allInnerTexts()).slice(1).map(words => words.replace(/\s+/g, ' ').trim()), [
    'Request ok, 200 0 ms 413 ms', 'Waited for a place all calls together 0 ms 38 ms',
    'user ok, 200 0.70 ms 96 ms', 'users 10.0.0.1:4001 ok, 200 39 ms 57 ms',
    'orders ok, 200 0.90 ms 311 ms', 'orders 10.0.0.2:4002 server-error, 503 1.2 ms 102 ms', 'orders 10.0.0.3:4002 ok, 200 130 ms 181 ms',
    'boss fallback, 504 97 ms 314 ms', 'users 10.0.0.1:4001 timeout 98 ms 313 ms', 'audit skipped'
  ])
  t.equal(await rows.locator('.time').count(), 9, 'a bar for each that began')
  admin.send('sample', aSample(4))
  admin.send('sample', aSample(5))
  await button(page, 'Show 2 new').click()
  await requests.nth(4).waitFor()
  t.match(await requests.first().innerText(), /\/api\/orders\/5/)
  t.ok(await rows.first().isVisible(), 'what was open is open')
})

shows('by keyboard alone', {}, async (t, { page, admin }) => {
  const tabTo = async (name: string) => {
    for (let tries = 0; tries < 60 && await focused(page) !== name; tries++) await page.keyboard.press('Tab')
    t.equal(await focused(page), name)
    t.ok(await page.evaluate('document.activeElement.matches(":focus-visible")'), `${name} shows that it has the focus`)
  }
  await tabTo('Skip to content')
  await page.keyboard.press('Enter')
  await tabTo('Requests per second, second by second')
  const plot = page.getByRole('slider', { name: 'Requests per second, second by second' })
  await page.keyboard.press('Home')
  t.match(await plot.getAttribute('aria-valuetext'), /^\d\d:\d\d:\d\d: 80 requests\/s, 3 failed$/)
  await page.keyboard.press('ArrowRight')
  t.equal(await plot.getAttribute('aria-valuenow'), '1')

  await tabTo('Drain 10.0.0.2:4002')
  // orders has got into trouble meanwhile: its place would be the first one, but somebody is working there
  admin.scene.backends = [admin.scene.backends[0]!, aBackend('orders', [admin.scene.backends[1]!.targets[0]!, aBadTarget('http://10.0.0.3:4002', 'open')])]
  admin.tick()
  await page.getByRole('heading', { name: '1 problem' }).waitFor()
  t.equal(await focused(page), 'Drain 10.0.0.2:4002')
  t.same(await page.getByRole('article').getByRole('heading').allInnerTexts(), ['users', 'orders'])
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByText('10.0.0.2:4002 is being drained.').waitFor()
  t.equal(await focused(page), 'Undrain 10.0.0.2:4002', 'the same button, still with the focus')
  t.equal(admin.actions.length, 1)
  await tabTo('Check now 10.0.0.2:4002')
  // its target is gone
  admin.scene.backends = [admin.scene.backends[0]!, aBackend('orders', [aTarget('http://10.0.0.9:4002')])]
  admin.tick()
  await target(page, '10.0.0.9:4002').waitFor()
  t.equal(await page.evaluate('document.activeElement.closest("section").id'), 'backends', 'the focus stays near')
})

const many = (bad: number) => Array.from({ length: 100 }, (_, number) => aBackend(`service-${number}`, Array.from({ length: 10 }, (_, index) =>
  number === bad && index === 3 ? aBadTarget(`http://10.1.${number}.${index}:80`, 'unhealthy') : aTarget(`http://10.1.${number}.${index}:80`))))

shows('a hundred backends with ten targets each', { scene: { backends: many(-1) } }, async (t, { page, admin }) => {
  t.equal(await page.getByRole('article').count(), 100)
  t.equal(await page.locator('.targets').count(), 0, 'folded, since nothing is wrong')
  await page.evaluate(`globalThis.made = 0; new MutationObserver(found => { for (const { addedNodes } of found) made += [...addedNodes].filter(node => node.nodeType === 1).length })
    .observe(document.getElementById("backend-list"), { childList: true, subtree: true })`)
  admin.scene.backends = many(77)
  admin.tick()
  await page.getByRole('link', { name: 'service-77' }).waitFor()
  t.equal(await page.getByRole('article').first().getByRole('heading').innerText(), 'service-77')
  t.equal(await page.evaluate('made'), 1, 'one card was moved, none made')
  await page.getByRole('searchbox').fill('10.1.42. active')
  await page.getByText('1 of 100 backends').waitFor()
  t.same(await page.getByRole('article').getByRole('heading').allInnerTexts(), ['service-42'])
  await page.getByRole('searchbox').fill('')
  await page.getByRole('combobox', { name: 'Order' }).selectOption('given')
  t.equal(await page.getByRole('article').first().getByRole('heading').innerText(), 'service-0')
})

const nasty = '<img src=x onerror=alert(1)>"\'&'
const nastyScene = {
  backends: [aBackend(nasty, [aTarget(`http://h/${nasty}`, { excluded: nasty, metadata: { [nasty]: nasty } })], { balancer: nasty, discovery: { source: nasty, lists: 1, lastSuccess: null, fault: nasty } })],
  status: aStatus({ ready: false, notReady: [nasty], version: nasty }),
  transitions: [change(1, 'breaker', 'open', { backend: nasty, target: nasty, scope: nasty })],
  samples: [aSample(1, { url: nasty, method: nasty, route: nasty, tenant: nasty, attempts: [{ ...aComposite(1).attempts[0]!, target: nasty, part: null }], parts: [{ name: nasty, state: nasty, status: 1, start: 0, duration: 1 }] })]
}

shows('what others have named is text', { scene: nastyScene }, async (t, { page, admin }) => {
  await page.locator('button.sample').click()
  t.equal(await page.locator('img').count(), 0)
  t.ok(await page.getByText(nasty).count() > 8)
  await page.getByRole('button', { name: 'Drain', exact: false }).first().click()
  await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click()
  await waitFor(() => admin.actions.length === 1)
  t.match(admin.actions, [{ path: `/backends/${encodeURIComponent(nasty)}/drain`, body: { target: `http://h/${nasty}` } }])
})

const trouble = {
  backends: [
    aBackend('users', [aTarget('http://10.0.0.1:4001')]),
    aBackend('orders', [aTarget('http://10.0.0.2:4002'), aBadTarget('http://10.0.0.3:4002', 'open'), aBadTarget('http://10.0.0.4:4002', 'draining')]),
    aBackend('payments', [aBadTarget('https://payments-with-a-long-name.internal.example.com:8443/and/a/base/path', 'unhealthy')], { discovery: { source: 'consul', lists: 1, lastSuccess: null, fault: 'connect ECONNREFUSED 127.0.0.1:8500' } })
  ],
  transitions: [change(1, 'breaker', 'open', { at: Date.now() - 200_000 }), change(2, 'breaker', 'half-open', { at: Date.now() - 120_000 }), change(3, 'target', 'draining', { target: 'http://10.0.0.4:4002' })]
}

for (const [name, viewport, options, finger] of [['desktop', { width: 1280, height: 900 }, {}, 24], ['phone', { width: 360, height: 780 }, { isMobile: true, hasTouch: true }, 40]] as const) {
  shows(`how it looks: ${name}`, { ...options, viewport, scene: trouble }, async (t, { page }) => {
    await page.locator('button.sample').first().click()
    for (const id of ['routes', 'tenants', 'config']) await page.locator(`#${id} summary`).click()
    await page.getByText('"key": "***"').waitFor()
    await button(page, 'Explain').click()
    await page.getByText('Goes to 10.0.0.2:4002').waitFor()
    await page.evaluate('document.querySelectorAll(".fold[aria-expanded=false]").forEach(fold => fold.click())')
    t.equal(await page.evaluate('document.scrollingElement.scrollWidth'), viewport.width, 'nothing sticks out')
    const visible = (what: string) => `[...document.querySelectorAll('${what}')].filter(node => node.checkVisibility())`
    t.same(await page.evaluate(`${visible('button, summary, nav a')}.filter(node => node.getBoundingClientRect().height < ${finger}).map(node => node.textContent)`), [], 'large enough to be hit')
    t.same(await page.evaluate(`${visible('h1, h2, h3, h4')}.map(node => Number(node.tagName[1])).filter((level, index, all) => index > 0 && level > all[index - 1] + 1)`), [], 'headings in order')
    const dark = () => page.evaluate('Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) < 128')
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      if (process.env['SCREENSHOTS'] !== undefined) await page.screenshot({ path: join(process.env['SCREENSHOTS'], `status-${name}-${colorScheme}.png`), fullPage: true })
      t.equal(await dark(), colorScheme === 'dark', colorScheme)
    }
    await button(page, 'Theme: auto').click()
    t.equal(await dark(), false, 'what the reader has chosen holds')
    await page.reload()
    await button(page, 'Theme: light').click()
    await button(page, 'Theme: dark').waitFor()
    t.equal(await dark(), true)
  })
}
