/** Which origins fit an entry of the allow list. */
import t from 'tap'
import { isAllowed, resolveOrigin } from '../../../lib/websocket/origin.ts'

const fits = (origin: string | undefined, ...list: string[]): boolean => isAllowed(origin, list.map(resolveOrigin))

t.test('origins and entries', async (t) => {
  const cases: ReadonlyArray<readonly [origin: string | undefined, entry: string, fits: boolean]> = [
    ['https://app.example.com', 'https://app.example.com', true],
    ['https://APP.example.com', 'https://app.Example.com', true],
    ['https://app.example.com:443', 'https://app.example.com', true],
    ['https://app.example.com', 'https://app.example.com:443', true],
    ['http://app.example.com', 'https://app.example.com', false],
    ['https://app.example.com:8443', 'https://app.example.com', false],
    ['https://app.example.com:8443', 'https://app.example.com:8443', true],
    ['http://app.example.com', 'app.example.com', true],
    ['https://app.example.com', 'app.example.com', true],
    ['https://app.example.com:8443', 'app.example.com', false],
    ['https://app.example.com:8443', 'app.example.com:8443', true],
    ['https://a.example.com', '*.example.com', true],
    ['https://a.b.example.com', '*.example.com', true],
    ['https://example.com', '*.example.com', false],
    ['https://evilexample.com', '*.example.com', false],
    ['https://app.example.com.evil.com', 'app.example.com', false],
    ['https://evil.com/app.example.com', 'app.example.com', false],
    ['http://a.example.com', 'https://*.example.com', false],
    ['https://[::1]:3000', 'https://[::1]:3000', true],
    ['null', 'app.example.com', false],
    ['', 'app.example.com', false],
    [undefined, 'app.example.com', false],
    ['app.example.com', 'app.example.com', false],
    ['file://', '*.example.com', false]
  ]
  for (const [origin, entry, expected] of cases) t.equal(fits(origin, entry), expected, `${origin} ${entry}`)
  t.ok(fits('https://b', 'a', 'b'))
  t.notOk(fits('https://evil.com#.example.com', '*.example.com'), 'an origin has no path, query or fragment')
  t.notOk(fits('https://evil.com/.example.com', '*.example.com'))
  t.notOk(fits('https://user@a.example.com', '*.example.com'))
})
