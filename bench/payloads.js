/** The bodies that client and upstream agree on, so that both can check what arrived. */

/** GET: 200 bytes of JSON. */
export const small = json(200, { id: 42, status: 'shipped', items: [{ sku: 'A-1001', quantity: 2, price: 19.99 }] })

/** POST: 10 KB of JSON, compact and with many values, as an API client would send it. */
export const order = json(10_240, {
  items: Array.from({ length: 130 }, (_, index) => ({ sku: `A-${1000 + index}`, quantity: index % 7, price: index + 0.99, gift: false }))
})

/** GET: 1 MB. */
export const megabyte = Buffer.alloc(1024 * 1024, 'x')

/**
 * JSON of exactly `length` bytes.
 * @param {number} length
 * @param {object} value
 */
function json (length, value) {
  const bare = JSON.stringify({ ...value, note: '' }).length
  if (bare > length) throw new RangeError(`value takes ${bare} bytes, more than ${length}`)
  return Buffer.from(JSON.stringify({ ...value, note: 'x'.repeat(length - bare) }))
}
