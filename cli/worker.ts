/**
 * The process of a worker: started by `reverseproxy serve --workers`, never by hand.
 */
import { tellPrimary } from './serving/messages.ts'

// A terminal and a service manager signal all processes at once: what becomes of it is up to the primary.
for (const signal of ['SIGINT', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => {})
process.on('SIGTERM', () => { tellPrimary({ kind: 'reverseproxy:leaving', why: 'SIGTERM', ends: false }) })

// loaded after that: it takes a moment in which signals may come
const { work } = await import('./serving/work.ts')
work()
