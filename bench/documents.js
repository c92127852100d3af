/**
 * The documents that the parts of a composite are made of, and the answers that come of them. Compact, all ASCII (anything
 * else costs who parses and serialises more than who does not), each of exactly the size asked for, so that every answer
 * has the same length. There are several versions of each, alike in keys and different in every value's bytes and length:
 * nothing can be gained by knowing a document.
 */

export const partNames = ['a', 'b', 'c']
export const versions = 8

/** @typedef {'merge' | 'object' | 'append'} Strategy */

/**
 * Objects for `merge` and `object`, arrays for `append`.
 * @param {{ strategy: Strategy, bytes: number }} parts
 * @returns {Record<string, Buffer[]>} By part, then by version.
 */
export function createDocuments ({ strategy, bytes }) {
  const create = strategy === 'append' ? createArray : createObject
  return Object.fromEntries(partNames.map((name, index) => [
    name,
    Array.from({ length: versions }, (_, version) => create(name, bytes, createValues(1 + index * versions + version)))
  ]))
}

/**
 * What a composite has to answer, parsed: one per version.
 * @param {{ strategy: Strategy, bytes: number }} parts
 */
export function createAnswers (parts) {
  const documents = createDocuments(parts)
  return Array.from({ length: versions }, (_, version) => {
    const bodies = partNames.map(name => JSON.parse(documents[name][version].toString()))
    switch (parts.strategy) {
      case 'merge': return Object.assign({}, ...bodies)
      case 'object': return Object.fromEntries(partNames.map((name, index) => [name, bodies[index]]))
      case 'append': return bodies.flat()
      default: throw new RangeError(`strategy: ${parts.strategy}`)
    }
  })
}

/** 17 keys of its own: numbers, texts, flags, nested objects, and two lists that take what room there is. */
function createObject (name, bytes, values) {
  const items = []
  const events = []
  const entries = [
    ['Id', values.integer(1e9)],
    ['Reference', `${name}-${values.integer(1e6)}`],
    ['CreatedAt', values.date()],
    ['UpdatedAt', values.date()],
    ['Active', true],
    ['DeletedAt', null],
    ['Score', values.amount(5)],
    ['Count', values.integer(5000)],
    ['Title', values.text(3)],
    ['Contact', `${values.text(1)}@example.com`],
    ['Tags', [values.text(1), values.text(1)]],
    ['Address', { city: values.text(1), zip: String(values.integer(1e5)), at: { lat: values.amount(90), lng: values.amount(180) } }],
    ['Totals', { net: values.amount(1e4), tax: values.amount(1e3), currency: 'EUR' }],
    ['Links', { self: `/${name}/${values.integer(1e6)}`, next: null }],
    ['Items', items],
    ['Events', events]
  ]
  // Parts do not put their keys in the same order.
  const turn = partNames.indexOf(name) * 5
  const document = Object.fromEntries([...entries.slice(turn), ...entries.slice(0, turn)].map(([key, value]) => [name + key, value]))
  const noteKey = `${name}Note`
  fill(bytes, () => JSON.stringify({ ...document, [noteKey]: '' }).length, [items, events], values)
  return pad(bytes, note => ({ ...document, [noteKey]: note }))
}

function createArray (_name, bytes, values) {
  const items = []
  fill(bytes, () => JSON.stringify([...items, { note: '' }]).length, [items], values)
  return pad(bytes, note => [...items, { note }])
}

/** Adds records to the lists in turn as long as there is room. */
function fill (bytes, measure, lists, values) {
  let length = measure()
  for (let count = 0; ; count++) {
    const record = createRecord(values)
    length += JSON.stringify(record).length + 1
    if (length > bytes) return
    lists[count % lists.length].push(record)
  }
}

function createRecord (values) {
  return {
    id: values.integer(1e7),
    sku: `A-${values.integer(1e4)}`,
    name: values.text(2),
    quantity: values.integer(20),
    price: values.amount(500),
    gift: values.integer(2) === 1,
    note: values.integer(3) === 0 ? `"${values.text(3)}",\n${values.text(2)}` : null,
    size: { width: values.integer(300), height: values.integer(300) },
    tags: [values.text(1), values.text(1)]
  }
}

function pad (bytes, create) {
  const bare = JSON.stringify(create('')).length
  if (bare > bytes) throw new RangeError(`document takes ${bare} bytes, more than ${bytes}`)
  return Buffer.from(JSON.stringify(create('x'.repeat(bytes - bare))))
}

const words = 'amber birch copper delta ember fjord garnet harbour iris juniper kestrel lagoon meadow nickel orchid pepper'.split(' ')

/** Values that look random and are the same in every process (a linear congruential generator). */
function createValues (seed) {
  let state = seed * 7919
  const integer = below => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32
    return Math.floor(state / 2 ** 32 * below)
  }
  return {
    integer,
    amount: below => integer(below * 100) / 100,
    text: count => Array.from({ length: count }, () => words[integer(words.length)]).join(' '),
    date: () => new Date(1_767_225_600_000 + integer(3e10)).toISOString()
  }
}
