/** What tests of the status page share: the browser, a page with an admin interface of its own, and words for what is on it. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Test } from 'tap'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core'
import type { Transition } from '../lib/recent/types.ts'
import { aScene, startFakeAdmin } from './status-page-server.ts'
import type { FakeAdmin, Scene } from './status-page-server.ts'

/** Looks for it as a shell does. Nothing is skipped without it: a page that nobody has looked at is not tested. */
function findChromium (): string {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      const path = join(folder, 'chromium')
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  throw new Error('the test of the status page needs a browser, and there is no `chromium` in the PATH. On Debian and Ubuntu: apt-get install chromium')
}

/** What the browser says of a gateway that is away, or that asks for a token: it says so by itself. */
const EXPECTED = /^Failed to load resource: (?:net::ERR_|the server responded with a status of (?:401|403|409|503))/

export interface Shown { readonly page: Page, readonly admin: FakeAdmin }

export interface ShownOptions extends BrowserContextOptions {
  readonly scene?: Partial<Scene>
  /** That the admin interface asks for. */
  readonly token?: string
}

export interface Shows {
  /** A test with a page and an admin interface of its own. At the end: nothing on the console, and nobody else was asked for anything. */
  (name: string, options: ShownOptions, look: (t: Test, shown: Shown) => Promise<void>): void
  /** Pages of another kind. */
  readonly newContext: (t: Test, options?: BrowserContextOptions) => Promise<BrowserContext>
}

/** One browser for all tests of a file. */
export function createShows (root: Test): Shows {
  let browser: Browser
  root.before(async () => { browser = await chromium.launch({ executablePath: findChromium(), args: ['--disable-gpu'] }) })
  root.teardown(() => browser?.close())

  async function newContext (t: Test, options: BrowserContextOptions = {}): Promise<BrowserContext> {
    const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce', ...options })
    t.teardown(() => context.close())
    context.setDefaultTimeout(15_000)
    return context
  }

  const shows = (name: string, { scene, token, ...options }: ShownOptions, look: (t: Test, shown: Shown) => Promise<void>): void => {
    root.test(name, async (t) => {
      const admin = await startFakeAdmin(token)
      if (scene !== undefined) admin.scene = aScene(scene)
      const context = await newContext(t, options)
      t.teardown(() => admin.close())
      const complaints: string[] = []
      const hosts = new Set<string>()
      context.on('console', message => { if (['error', 'warning'].includes(message.type()) && !EXPECTED.test(message.text())) complaints.push(message.text()) })
      context.on('weberror', error => { complaints.push(String(error.error())) })
      context.on('request', request => { if (!request.url().startsWith('data:')) hosts.add(new URL(request.url()).host) })
      const page = await context.newPage()
      await page.goto(admin.url)
      if (token === undefined) await live(page)
      await look(t, { page, admin })
      t.same(complaints, [], 'nothing on the console')
      t.same([...hosts], [new URL(admin.url).host], 'it talks to the gateway only')
    })
  }
  return Object.assign(shows, { newContext })
}

export const says = (page: Page, words: string) => page.locator('#connection').getByText(words, { exact: true }).waitFor()
export const live = (page: Page) => says(page, 'Live')
export const tile = (page: Page, name: string) => page.locator('.tile', { has: page.getByText(name, { exact: true }) })
export const card = (page: Page, name: string) => page.getByRole('article', { name })
export const target = (page: Page, url: string) => page.getByRole('row').filter({ has: page.getByRole('rowheader').filter({ hasText: url }) })
export const button = (page: Page | Locator, name: string) => page.getByRole('button', { name, exact: true })
export const focused = (page: Page) => page.evaluate('document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()')

export const change = (id: number, kind: Transition['kind'], to: Transition['to'], more: Partial<Transition> = {}): Transition =>
  ({ id, at: Date.now(), kind, scope: '', backend: 'orders', target: 'http://10.0.0.3:4002', to, ...more })
