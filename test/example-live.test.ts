/**
 * The lively part of the example: its page in a real browser (Debian's `chromium`), and its backend as other clients see it.
 * `SCREENSHOTS=folder` keeps the pictures.
 */
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { delimiter, join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContextOptions, ConsoleMessage, Page } from 'playwright-core'
import { WebSocket } from 'ws'
import { startBackends } from '../example-app/backends.ts'
import { buildGateway } from '../example-app/gateway.ts'
import { waitFor } from './helper/time.ts'

const FREE_PORTS = Object.fromEntries(['USERS_A', 'USERS_B', 'ORDERS', 'PRODUCTS', 'REVIEWS', 'USERS_ACME', 'LIVE'].map(name => [`${name}_PORT`, '0']))

// ---- what is tested

/** The example. Each half can be ended and started again at the address it had. */
interface Example {
  readonly url: string
  readonly gateway: { stop (): Promise<void>, start (): Promise<void> }
  readonly backends: { stop (): Promise<void>, start (): Promise<void> }
}

async function startExample (dumps: string): Promise<Example> {
  let backends = await startBackends(FREE_PORTS)
  const { urls } = backends
  let app = await listen(0)
  const { port } = app.server.address() as AddressInfo

  async function listen (port: number): Promise<FastifyInstance> {
    const { app } = await buildGateway({ ...urls, PORT: '0', DUMPS: dumps })
    // what it says about backends that are away is not asked for
    app.log.level = 'silent'
    await app.listen({ host: '127.0.0.1', port })
    return app
  }
  return {
    url: `http://127.0.0.1:${port}`,
    gateway: {
      async stop () { await app.close() },
      async start () { app = await listen(port) }
    },
    backends: {
      async stop () { await backends.close() },
      async start () { backends = await startBackends(Object.fromEntries(Object.entries(urls).map(([name, url]) => [`${name}_PORT`, new URL(url).port]))) }
    }
  }
}

/** Looks for it as a shell does. Nothing is skipped without it: a page that nobody has looked at is not tested. */
function findChromium (): string {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      const path = join(folder, 'chromium')
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  throw new Error('the test of example-app/live.html needs a browser, and there is no `chromium` in the PATH. On Debian and Ubuntu: apt-get install chromium')
}

// one of each for all tests; as root Chromium runs only without its sandbox, which is what playwright-core does by itself
let browser: Browser
let example: Example
let url: string

t.before(async () => {
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--disable-gpu'] })
  example = await startExample(t.testdir())
  url = example.url
})
t.teardown(async () => {
  await browser?.close()
  await example?.gateway.stop()
  await example?.backends.stop()
})

// ---- pages

/** What a page must not do: complain, fail, or talk to anybody but the gateway. */
interface Watch {
  readonly complaints: string[]
  /** Every address that was asked for, WebSockets too. */
  readonly addresses: string[]
  /** A page whose gateway is away may say that it cannot be reached, and nothing else. */
  away: boolean
}

const UNREACHABLE = /^WebSocket connection to '\S+' failed: |^Failed to load resource: (?:net::ERR_|the server responded with a status of 50[234])/

async function openWindows (t: Test, options: BrowserContextOptions = {}): Promise<{ open: (address: string) => Promise<Page>, watch: Watch }> {
  const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', ...options })
  context.setDefaultTimeout(8_000)
  t.teardown(() => context.close())
  const watch: Watch = { complaints: [], addresses: [], away: false }
  context.on('console', (message: ConsoleMessage) => {
    if (!['error', 'warning'].includes(message.type()) || (watch.away && UNREACHABLE.test(message.text()))) return
    watch.complaints.push(message.text())
  })
  context.on('weberror', (error) => { watch.complaints.push(String(error.error())) })
  context.on('request', (request) => { watch.addresses.push(request.url()) })
  return {
    watch,
    async open (address) {
      const page = await context.newPage()
      page.on('websocket', (socket) => { watch.addresses.push(socket.url()) })
      await page.goto(address)
      await show(page, 'Connected')
      return page
    }
  }
}

const log = (page: Page) => page.getByRole('log', { name: 'Messages' })
const message = (page: Page) => page.getByRole('textbox', { name: 'Message' })

/** Waits until all three connections say so. */
async function show (page: Page, state: 'Connected' | 'Reconnecting'): Promise<void> {
  for (const name of ['Chat', 'Clock', 'Echo']) await page.getByRole('region', { name }).getByRole('status').getByText(state, { exact: true }).waitFor()
}

async function say (page: Page, text: string, name?: string): Promise<void> {
  if (name !== undefined) await page.getByRole('textbox', { name: 'Your name' }).fill(name)
  await message(page).fill(text)
  await message(page).press('Enter')
}

const hears = (page: Page, text: string) => log(page).getByText(text, { exact: true }).waitFor()
const texts = (page: Page) => log(page).locator('p').allTextContents()

/** Number of the clock's last event. */
const tick = async (page: Page) => Number(await page.locator('#event').textContent())

/** The first number that is greater. */
async function tickAfter (page: Page, number: number): Promise<number> {
  const end = Date.now() + 8_000
  for (;;) {
    const now = await tick(page)
    if (now > number || Date.now() > end) return now
    await page.waitForTimeout(100)
  }
}

function checkWatch (t: Test, { complaints, addresses }: Watch): void {
  t.same(complaints, [], 'nothing on the console')
  const hosts = new Set(addresses.filter(address => !address.startsWith('data:')).map(address => new URL(address).host))
  t.same([...hosts], [new URL(url).host], 'it talks to the gateway only')
}

/** Somebody without a browser. */
interface Other { readonly socket: WebSocket, readonly heard: string[] }

async function connect (t: Test, path: string, headers = {}): Promise<Other> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}${path}`, { headers })
  t.teardown(() => { socket.terminate() })
  const heard: string[] = []
  socket.on('message', (data, binary) => { heard.push(binary ? `binary ${String(data)}` : String(data)) })
  await once(socket, 'open')
  return { socket, heard }
}

t.test('the page', async (t) => {
  const page = `${url}/live`

  await t.test('what one says, those of the same tenant see, and nobody else', async (t) => {
    const { open, watch } = await openWindows(t)
    const [ada, grace, globex, nobody] = await Promise.all(['acme', 'acme', 'globex', ''].map(async tenant => open(tenant === '' ? page : `${page}?tenant=${tenant}`))) as [Page, Page, Page, Page]

    await say(ada, 'hello <b>Grace</b> 👋', 'Ada')
    await hears(grace, 'hello <b>Grace</b> 👋')
    t.match(await log(grace).getByRole('listitem').innerText(), /^Ada \d\d:\d\d\s+hello/, 'with a name and a time')
    await hears(ada, 'hello <b>Grace</b> 👋')
    await say(globex, 'we are globex', 'Hank')
    await hears(globex, 'we are globex')
    await say(nobody, 'we are nobody', 'Nemo')
    await hears(nobody, 'we are nobody')
    await say(grace, 'hello Ada', 'Grace')
    await hears(ada, 'hello Ada')
    await hears(grace, 'hello Ada')

    t.same(await Promise.all([ada, grace, globex, nobody].map(texts)), [['hello <b>Grace</b> 👋', 'hello Ada'], ['hello <b>Grace</b> 👋', 'hello Ada'], ['we are globex'], ['we are nobody']])
    await ada.getByText('2 people').waitFor()
    await globex.getByText('only you').waitFor()
    t.equal(await message(ada).inputValue(), '', 'what was sent is gone from the field')
    t.equal(await ada.locator('#log li.mine').count(), 1, 'one\'s own words are marked')
    checkWatch(t, watch)
  })

  await t.test('who comes later learns what was said, and who goes is missed', async (t) => {
    const { socket } = await connect(t, '/live/chat?tenant=late')
    socket.send(JSON.stringify({ name: 'Ada', text: 'early' }))
    const { open } = await openWindows(t)
    const late = await open(`${page}?tenant=late`)
    await hears(late, 'early')
    await late.getByText('2 people').waitFor()
    socket.close()
    await late.getByText('only you').waitFor()

    const before = await tickAfter(late, 0)
    t.equal(await tickAfter(late, before), before + 1, 'meanwhile the clock ticks')
    t.match(await late.getByRole('timer').innerText(), /^\d\d:\d\d:\d\d$/)
    t.match(await late.getByRole('region', { name: 'Echo' }).innerText(), /\d\.\d ms/, 'and the echo is measured')
  })

  await t.test('by keyboard: tenants, name, message, Enter', async (t) => {
    const { open } = await openWindows(t)
    const window = await open(page)
    const focused = [] as string[]
    const next = async () => {
      await window.keyboard.press('Tab')
      focused.push(await window.evaluate('document.activeElement.labels?.[0]?.textContent ?? document.activeElement.ariaLabel ?? document.activeElement.textContent'))
    }
    for (let i = 0; i < 4; i++) await next()
    await next()
    await window.keyboard.type('Keys')
    await next()
    await window.keyboard.type('typed')
    await window.keyboard.press('Enter')
    await hears(window, 'typed')
    await next()
    t.same(focused, ['No tenant', 'acme', 'globex', 'Messages', 'Your name', 'Message', 'Send'])
    await window.getByRole('link', { name: 'acme' }).press('Enter')
    await window.waitForURL(`${page}?tenant=acme`)
    await show(window, 'Connected')
    t.equal(await window.locator('nav [aria-current=page]').innerText(), 'acme')
    t.equal(await window.getByRole('textbox', { name: 'Your name' }).inputValue(), 'Keys', 'the name is kept')
  })

  await t.test('when the gateway has been away, everything comes back', async (t) => {
    const { open, watch } = await openWindows(t)
    const ada = await open(`${page}?tenant=back`)
    await say(ada, 'before', 'Ada')
    await hears(ada, 'before')
    const before = await tickAfter(ada, 0)
    watch.away = true
    await example.gateway.stop()
    await show(ada, 'Reconnecting')
    await say(ada, 'typed while it was away')
    t.equal(await message(ada).inputValue(), 'typed while it was away', 'it stays in the field')
    t.equal(await ada.getByRole('button', { name: 'Send' }).getAttribute('aria-disabled'), 'true')

    await example.gateway.start()
    await show(ada, 'Connected')
    watch.away = false
    await ada.getByRole('button', { name: 'Send' }).click()
    await hears(ada, 'typed while it was away')
    t.same(await texts(ada), ['before', 'typed while it was away'], 'once each')
    const after = await tickAfter(ada, before)
    t.ok(after > before && after < before + 15, `the numbers of the clock go on: ${before}, ${after}`)
    checkWatch(t, watch)
  })

  await t.test('when the backend has been away, everything comes back', async (t) => {
    const { open, watch } = await openWindows(t)
    const window = await open(`${page}?tenant=back`)
    const before = await tickAfter(window, 1)
    watch.away = true
    await example.backends.stop()
    await show(window, 'Reconnecting')
    // the gateway answers 502, which no EventSource forgives: the page has made a new one
    await window.waitForResponse(response => response.url().includes('lastEventId') && response.status() >= 500)
    await example.backends.start()
    await show(window, 'Connected')
    watch.away = false
    const after = await tickAfter(window, before)
    t.ok(after > before && after < before + 15, `the numbers of the clock go on: ${before}, ${after}`)
    await say(window, 'here again', 'Ada')
    await hears(window, 'here again')
    checkWatch(t, watch)
  })
})

t.test('how it looks', async (t) => {
  const folder = process.env['SCREENSHOTS'] ?? t.testdir()
  const desktop = { width: 1280, height: 800 }
  const phone = { width: 390, height: 844 }
  const smallPhone = { width: 320, height: 568 }
  for (const [sizes, tenant, options] of [[{ desktop }, 'acme', {}], [{ phone, smallPhone }, 'globex', { isMobile: true, hasTouch: true }]] as const) {
    const { open, watch } = await openWindows(t, { ...options, viewport: phone })
    const ada = await open(`${url}/live?tenant=${tenant}`)
    const { socket } = await connect(t, `/live/chat?tenant=${tenant}`)
    socket.send(JSON.stringify({ name: 'Grace', text: 'Hello! Does anybody hear me?' }))
    await hears(ada, 'Hello! Does anybody hear me?')
    await say(ada, 'Loud and clear. ' + 'Long'.repeat(20), 'Ada')
    await say(ada, 'Look at the other tenant: there it is quiet.')
    await hears(ada, 'Look at the other tenant: there it is quiet.')
    for (const [size, viewport] of Object.entries(sizes)) {
      await ada.setViewportSize(viewport)
      for (const colorScheme of ['light', 'dark'] as const) {
        await ada.emulateMedia({ colorScheme })
        await ada.screenshot({ path: join(folder, `${size}-${colorScheme}.png`) })
        t.equal(await ada.evaluate('Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) > 128'), colorScheme === 'light', `${size}: ${colorScheme}`)
      }
      const box = async (selector: string) => (await ada.locator(selector).boundingBox())!
      const [chat, field, send] = [await box('#chat'), await box('#text'), await box('form button')]
      t.equal(await ada.evaluate('document.scrollingElement.scrollWidth'), viewport.width, `${size}: nothing sticks out`)
      t.ok(chat.width > viewport.width / 2 && field.width >= 150, `${size}: room to read and write`)
      t.ok(send.y + send.height <= viewport.height, `${size}: no need to scroll`)
      t.ok(Math.min(send.height, field.height) >= 44, `${size}: large enough for fingers`)
      const last = await log(ada).getByRole('listitem').last().boundingBox()
      t.ok(last!.y + last!.height <= field.y, `${size}: the last words are to be seen`)
    }
    checkWatch(t, watch)
  }
})

// ---- other clients

t.test('the clock, the echo and the chat for others', async (t) => {
  /** The numbers of the first events. */
  async function numbers (path: string, headers: Record<string, string>, count: number): Promise<number[]> {
    const stop = new AbortController()
    const response = await fetch(`${url}${path}`, { headers, signal: stop.signal })
    t.match(response.headers.get('content-type'), 'text/event-stream')
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      const ids = [...text.matchAll(/^id: (\d+)\ndata: \d{4}-\d\d-\d\dT[\d:.]+Z\n\n/gm)].map(([, id]) => Number(id))
      if (ids.length >= count) {
        stop.abort()
        return ids
      }
    }
    return []
  }

  await t.test('the clock goes on where its reader was', async (t) => {
    t.same(await Promise.all([
      numbers('/live/clock', {}, 2), numbers('/live/clock', { 'last-event-id': '41' }, 2), numbers('/live/clock?lastEventId=41', {}, 1),
      numbers('/live/clock?lastEventId=7', { 'last-event-id': '41' }, 1), numbers('/live/clock', { 'last-event-id': 'none' }, 1)
    ]), [[1, 2], [42, 43], [42], [42], [1]])
  })

  await t.test('the echo says what it hears', async (t) => {
    const { socket, heard } = await connect(t, '/live/echo')
    socket.send('text')
    socket.send(Buffer.from('bytes'))
    await waitFor(() => heard.length === 2)
    t.same(heard, ['text', 'binary bytes'])
    socket.send(Buffer.alloc(5_000))
    t.equal((await once(socket, 'close'))[0], 1009, 'too much')
  })

  await t.test('a tenant by header is in the same room as one by query', async (t) => {
    const ada = await connect(t, '/live/chat', { 'x-tenant-id': 'wired' })
    const grace = await connect(t, '/live/chat?tenant=wired')
    const hank = await connect(t, '/live/chat?tenant=other')
    ada.socket.send(JSON.stringify({ name: ' Ada ', text: 'x'.repeat(600) }))
    await waitFor(() => grace.heard.some(news => news.includes('"said",')))
    const said = grace.heard.map(news => JSON.parse(news)).find(({ type }) => type === 'said')
    t.match(said, { name: 'Ada', text: /^x{500}$/, time: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/ })
    t.same(hank.heard.map(news => JSON.parse(news)), [{ type: 'room', tenant: 'other', said: [] }, { type: 'people', people: 1 }])
  })

  for (const words of ['hello', '{}', 'null', '{"name":"Ada"}', '{"name":" ","text":"x"}', '{"name":"Ada","text":1}']) {
    await t.test(`who says ${words} is sent away, and only they`, async (t) => {
      const [one, other] = [await connect(t, '/live/chat?tenant=rude'), await connect(t, '/live/chat?tenant=rude')]
      one.socket.send(words)
      t.equal((await once(one.socket, 'close'))[0], 1007)
      other.socket.send('{"name":"Ada","text":"still here"}')
      t.ok(await waitFor(() => other.heard.some(news => news.includes('still here'))))
    })
  }

  await t.test('no WebSocket where there is none', async (t) => {
    for (const [path, status] of [['/live', 200], ['/live/clock', 200], ['/live/nothing', 404]] as const) {
      const socket = new WebSocket(`${url.replace('http', 'ws')}${path}`)
      socket.on('error', () => {})
      const [, response] = await once(socket, 'unexpected-response')
      t.equal(response.statusCode, status, path)
      socket.terminate()
    }
  })

  await t.test('two names for one request are refused', async (t) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/live/chat?tenant=acme`, { headers: { 'x-tenant-id': 'globex' } })
    socket.on('error', () => {})
    const [, response] = await once(socket, 'unexpected-response')
    t.equal(response.statusCode, 400)
    socket.terminate()
  })
})
