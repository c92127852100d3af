import t from 'tap'
import { createExpectation } from '../../../lib/health/index.ts'

t.test('a status is good inside any of the ranges, ends included', async t => {
  const { status } = createExpectation({ expectedStatus: [[200, 204], [301, 301]], expectedBody: undefined })
  t.strictSame([199, 200, 204, 205, 300, 301, 302].map(status), [false, true, true, false, false, true, false])
})

t.test('without ranges no status is good', async t => {
  t.equal(createExpectation({ expectedStatus: [], expectedBody: undefined }).status(200), false)
})

t.test('without an expected body there is nothing to read', async t => {
  const { body, bodyLimit } = createExpectation({ expectedStatus: [], expectedBody: undefined })
  t.equal(body, undefined)
  t.equal(bodyLimit, 0)
})

t.test('a text is looked for anywhere in the body', async t => {
  const { body, bodyLimit } = createExpectation({ expectedStatus: [], expectedBody: 'ok.' })
  t.equal(body?.('all is ok.'), true)
  t.equal(body?.('all is okay'), false)
  t.equal(bodyLimit, 65536)
})

t.test('an expression matches as it would by itself', async t => {
  const { body } = createExpectation({ expectedStatus: [], expectedBody: /"status":\s*"up"/i })
  t.equal(body?.('{"Status": "UP"}'), true)
  t.equal(body?.('{"status": "down"}'), false)
})

for (const flags of ['g', 'y', 'gy']) {
  t.test(`an expression with the flags ${flags} gives the same answer each time`, async t => {
    const { body } = createExpectation({ expectedStatus: [], expectedBody: new RegExp('up', flags) })
    t.strictSame([1, 2, 3].map(() => body?.('up up')), [true, true, true])
  })
}

t.test('a sticky expression looks at the beginning only', async t => {
  const { body } = createExpectation({ expectedStatus: [], expectedBody: /up/y })
  t.equal(body?.('not up'), false)
})

t.test('the user\'s expression is left alone, frozen or not', async t => {
  const theirs = /up/g
  theirs.lastIndex = 1
  t.equal(createExpectation({ expectedStatus: [], expectedBody: theirs }).body?.('up'), true)
  t.equal(theirs.lastIndex, 1)
  t.equal(createExpectation({ expectedStatus: [], expectedBody: Object.freeze(/up/g) }).body?.('up'), true)
})
