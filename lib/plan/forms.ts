/**
 * The short forms of whole levels, for comparing them: those of `options/forms.ts`, and what is written short where nothing is
 * ever put over it.
 */
import { BACKEND, COMPOSITE, HEADERS, PROXY, type Form } from '../options/forms.ts'

/** Options of the gateway that backends start from, and those of the gateway alone. */
export const GATEWAY: Form = { keys: { ...BACKEND.keys, admin: { on: true }, probes: { on: true }, headers: { keys: { ...HEADERS.keys, via: { short: 'name' } } } } }

export const ROUTE: Form = { keys: { proxy: { ...PROXY, keys: { ...PROXY.keys, websocket: { on: true } } }, composite: COMPOSITE } }

export const TENANT: Form = { keys: { ...BACKEND.keys, backends: { each: BACKEND }, routes: { each: ROUTE } } }
