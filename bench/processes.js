/**
 * Processes of the benchmark: starts each part in a process of its own, pinned to a core, and talks to it over IPC.
 * A child calls `answer()` with its functions and `ready()` when it listens; the parent calls them by name.
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/**
 * @typedef {object} Child
 * @property {any} ready What the child passed to `ready()`.
 * @property {(name: string, argument?: any) => Promise<any>} call Calls a function of the child.
 * @property {() => Promise<void>} stop Ends the child and waits for its exit.
 */

/**
 * Cores for the three parts. Gateways under test share one core, load and upstreams stay off it.
 * Without taskset, or with one core only, nothing is pinned and figures are noisier.
 * @returns {{ gateway?: number, load?: number, upstream?: number, several?: string }} `several`: for gateways of several processes; only where there are enough.
 */
export function chooseCores () {
  try {
    const answer = execFileSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const list = answer.slice(answer.lastIndexOf(':') + 1).trim()
    const [gateway, load, upstream = load, ...others] = list.split(',').flatMap(expandRange)
    return load === undefined ? {} : { gateway, load, upstream, ...others.length > 0 ? { several: [gateway, ...others].join() } : undefined }
  } catch {
    return {}
  }
}

/**
 * Starts `file` (relative to this directory) and waits until it is ready.
 * @param {string} file
 * @param {any} [options] Handed to the child, see `options`.
 * @param {{ core?: number | string | undefined, nodeArguments?: string[] }} [how]
 * @returns {Promise<Child>}
 */
export async function start (file, options = {}, { core, nodeArguments = [] } = {}) {
  const pinned = core === undefined
    ? { execArgv: nodeArguments }
    : { execPath: 'taskset', execArgv: ['-c', String(core), process.execPath, ...nodeArguments] }
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [JSON.stringify(options)], {
    ...pinned,
    env: { ...process.env, NODE_ENV: 'production' }
  })
  const pending = new Map()
  let last = 0
  const gone = once(child, 'exit').then(([code, signal]) => {
    const error = new Error(`${file} ended early (${signal ?? code})`)
    for (const { reject } of pending.values()) reject(error)
    pending.clear()
    return error
  })
  const first = await Promise.race([once(child, 'message'), gone])
  if (first instanceof Error) throw first

  child.on('message', ({ id, error, result }) => {
    const call = pending.get(id)
    pending.delete(id)
    if (error === undefined) call?.resolve(result)
    else call?.reject(new Error(`${file}: ${error}`))
  })

  return {
    ready: first[0].ready,
    call (name, argument) {
      const { promise, resolve, reject } = deferred()
      if (!child.connected) throw new Error(`${file} is gone`)
      pending.set(++last, { resolve, reject })
      child.send({ id: last, name, argument })
      return promise
    },
    async stop () {
      if (child.connected) child.disconnect()
      const kill = setTimeout(() => child.kill('SIGKILL'), 3000)
      await gone
      clearTimeout(kill)
    }
  }
}

/** What the parent handed to this child. */
export const options = process.send === undefined ? {} : JSON.parse(process.argv[2] ?? '{}')

/**
 * Child side: answers the parent's calls; ends with the parent.
 * @param {Record<string, (argument: any) => any>} functions
 */
export function answer (functions) {
  process.on('message', async ({ id, name, argument }) => {
    try {
      process.send({ id, result: await functions[name](argument) })
    } catch (error) {
      process.send({ id, error: error.message })
    }
  })
  process.on('disconnect', () => process.exit())
}

/**
 * Child side: tells the parent that it may begin.
 * @param {any} value
 */
export function ready (value) {
  process.send({ ready: value })
}

/** @param {string} range `3` or `0-3` */
function expandRange (range) {
  const [from, to = from] = range.split('-').map(Number)
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

// Promise.withResolvers is not in Node 20.
function deferred () {
  let resolve, reject
  const promise = new Promise((_resolve, _reject) => { resolve = _resolve; reject = _reject })
  return { promise, resolve, reject }
}
