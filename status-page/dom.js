// Making nodes, and changing them in place. Data becomes text or attributes here, never markup.

const SVG = 'http://www.w3.org/2000/svg'

function fill (node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === false) continue
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value === true ? '' : value)
  }
  node.append(...children.filter(child => child !== undefined && child !== null))
  return node
}

/** An element: attributes, `onclick` and the like as listeners; children are nodes or texts. */
export const h = (name, properties, ...children) => fill(document.createElement(name), properties, children)
export const s = (name, properties, ...children) => fill(document.createElementNS(SVG, name), properties, children)
export const byId = id => document.getElementById(id)

/** Touches the node only where the text differs, and then its text node: what is selected stays selected. */
export function text (node, value) {
  const { firstChild } = node
  if (firstChild === null || firstChild.nodeType !== Node.TEXT_NODE) node.textContent = value
  else if (firstChild.data !== value) firstChild.data = value
}

/** undefined or false: without it. */
export function attribute (node, name, value) {
  if (value === undefined || value === false) node.removeAttribute(name)
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? '' : value)
}

export function show (node, visible) {
  if (node.hidden === visible) node.hidden = !visible
}

/** A text with a tone: good, warn, bad, idle. The shape in front tells them apart without colour. */
export function pill (node, tone, words, title) {
  attribute(node, 'data-tone', tone)
  attribute(node, 'title', title)
  text(node, words)
}

/** `moveBefore` keeps the focus; without it the focus is put back. */
function move (parent, node, before) {
  if (node.isConnected && parent.moveBefore !== undefined) {
    parent.moveBefore(node, before)
    return
  }
  const { activeElement } = document
  const focused = node.contains(activeElement)
  parent.insertBefore(node, before)
  if (focused) activeElement.focus({ preventScroll: true })
}

const entries = new WeakMap()

/**
 * Makes the children of `parent` those of `items`, in that order. Nodes stay with their key.
 * `create(item)` gives `{ node, update? }`; `update(item)` is called for each, new ones too.
 */
export function list (parent, items, keyOf, create) {
  const before = entries.get(parent) ?? new Map()
  const after = new Map()
  for (const item of items) {
    const key = keyOf(item)
    const entry = before.get(key) ?? create(item)
    before.delete(key)
    after.set(key, entry)
  }
  for (const { node, remove } of before.values()) {
    const focused = node.contains(document.activeElement)
    node.remove()
    remove?.()
    if (focused) parent.closest('[tabindex="-1"]')?.focus({ preventScroll: true })
  }
  let place = parent.firstChild
  for (const { node } of after.values()) {
    if (node === place) place = place.nextSibling
    else move(parent, node, place)
  }
  entries.set(parent, after)
  for (const item of items) after.get(keyOf(item)).update?.(item)
}
