// What is asked for when somebody wants to see it: routes, tenants, configuration, and what would become of a request.

import { call } from './api.js'
import { byId, h } from './dom.js'
import { count, host, plural } from './format.js'
import { reasonInWords } from './targets.js'

const MOST_TENANTS = 100

function table (label, columns, rows) {
  return h('table', { class: 'plain', role: 'table', 'aria-label': label },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...columns.map(name => h('th', { role: 'columnheader', scope: 'col' }, name)))),
    h('tbody', { role: 'rowgroup' }, ...rows.map(cells => h('tr', { role: 'row' }, ...cells.map((cell, index) => h('td', { role: 'cell', 'data-label': columns[index] }, cell))))))
}

const nothing = words => h('p', { class: 'none' }, words)

function routesTable ({ routes }) {
  if (routes.length === 0) return [nothing('There are no routes.')]
  return [table('Routes', ['Path', 'Methods', 'Kind', 'Goes to', 'Name'], routes.map(({ name, path, methods, kind, backend, parts, hosts, websocket }) => [
    h('code', {}, `${hosts.length === 0 ? '' : `${hosts.join(', ')} `}${path}`),
    methods.join(' '),
    websocket ? `${kind}, WebSocket` : kind,
    kind === 'composite' ? parts.map(part => `${part.name}${part.backend === null ? '' : ` (${part.backend})`}${part.required ? ', required' : ''}`).join('; ') : backend ?? '–',
    name === path ? '–' : name
  ]))]
}

function tenantsTable ({ tenants, total }) {
  if (tenants.length === 0) return [nothing('No tenants are known.')]
  return [
    table('Tenants', ['Tenant', 'Served', 'Known from', 'In use', 'Metadata'], tenants.map(({ id, served, source, active, metadata }) =>
      [h('b', {}, id), served === false ? 'refused' : 'yes', source ?? '–', active ? 'yes' : 'no', h('code', {}, metadata === undefined || Object.keys(metadata).length === 0 ? '–' : JSON.stringify(metadata))])),
    ...tenants.length < total ? [h('p', { class: 'quiet' }, `The first ${count(tenants.length)} of ${count(total)}.`)] : []
  ]
}

const configText = config => [h('pre', { tabindex: '0', role: 'region', 'aria-label': 'Configuration as JSON' }, JSON.stringify(config, null, 2))]

const FETCHED = {
  routes: ['/routes', routesTable],
  tenants: [`/tenants?limit=${MOST_TENANTS}`, tenantsTable],
  config: ['/config', configText]
}

function createFetched (id) {
  const [path, show] = FETCHED[id]
  const node = byId(id)
  const content = node.querySelector('.content')
  const place = h('div', { 'aria-live': 'polite' })
  const again = h('button', { type: 'button', class: 'small', onclick: load }, 'Load again')
  content.append(place, again)
  async function load () {
    if (place.firstChild === null) place.append(nothing('Loading …'))
    try {
      place.replaceChildren(...show(await call(path)))
    } catch ({ message }) {
      place.replaceChildren(h('p', { class: 'fault' }, `Not available: ${message}`))
    }
  }
  node.addEventListener('toggle', () => { if (node.open) load() })
}

// ---- explain

function headersOf (lines) {
  const headers = {}
  for (const line of lines.split('\n').filter(line => line.trim() !== '')) {
    const colon = line.indexOf(':')
    if (colon < 1) throw new Error(`"${line.trim()}" is no header: it needs a name, a colon and a value`)
    const name = line.slice(0, colon).trim().toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : [headers[name], value].flat()
  }
  return headers
}

const answer = ({ statusCode, code, message }) => `${statusCode}${code === undefined ? '' : ` ${code}`}${message === undefined ? '' : `: ${message}`}`

function explainedCall ({ part, needs, backend, method, path, balancer, targets, chosen, error, settings }) {
  return h('article', { class: 'explained' },
    h('h4', {}, part === undefined ? `To ${backend ?? 'no backend'}` : `Part ${part}: to ${backend ?? 'no backend'}`),
    h('p', {}, h('code', {}, `${method} ${path}`), needs === undefined ? '' : ` after ${needs.join(', ')}`),
    h('p', { class: 'quiet' }, [balancer, settings === undefined ? '' : plural(settings.attempts, 'try', 'tries'), settings?.circuitBreaker ? 'with circuit breaker' : ''].filter(words => words !== '' && words !== undefined).join(' · ')),
    error === undefined ? h('p', {}, chosen === null ? 'Chance decides among the targets that are not excluded.' : h('span', {}, 'Goes to ', h('b', {}, host(chosen)))) : h('p', { class: 'fault' }, `No call: ${answer(error)}`),
    targets.length === 0
      ? ''
      : h('ul', {}, ...targets.map(({ url, chosen, excluded }) => h('li', {},
        h('span', { class: 'pill', 'data-tone': chosen ? 'good' : excluded === undefined ? 'idle' : 'bad' }, chosen ? 'chosen' : excluded === undefined ? 'possible' : 'excluded'), ' ', h('span', { class: 'url' }, host(url)), excluded === undefined ? '' : `: ${reasonInWords(excluded)}`))))
}

function explained ({ route, tenant, calls, answered }) {
  return [
    h('h3', {}, route.kind === 'none' ? 'No route' : `Route ${route.name ?? route.path}`),
    h('p', {}, route.path === null ? '' : h('code', {}, route.path), ` ${{ proxy: 'forwards', composite: 'puts several parts together', other: 'is answered by a handler of the app', none: 'nothing takes this request' }[route.kind]}. `,
      tenant === null ? 'No tenant.' : `Tenant ${tenant.id}${tenant.known ? '' : ', which is not known'}.`),
    ...answered === undefined ? [] : [h('p', { class: 'fault' }, `The client gets ${answer(answered)}`)],
    ...calls.map(explainedCall)
  ]
}

export function createSections () {
  for (const id of Object.keys(FETCHED)) createFetched(id)
  byId('explain-form').addEventListener('submit', async event => {
    event.preventDefault()
    const place = byId('explanation')
    try {
      const headers = headersOf(byId('explain-headers').value)
      place.replaceChildren(...explained(await call('/explain', { method: byId('explain-method').value, url: byId('explain-url').value, headers })))
    } catch ({ message }) {
      place.replaceChildren(h('p', { class: 'fault' }, message))
    }
  })
}
