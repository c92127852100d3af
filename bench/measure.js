/**
 * Runs one scenario: starts a process per variant and copy, warms each up, measures in interleaved rounds.
 */
import { start } from './processes.js'

const connections = 64
const warmUpSeconds = 15
const leadIn = 0.15
const mega = 1024 * 1024

/**
 * @typedef {object} Settings
 * @property {number} rounds
 * @property {number} seconds Length of a slice.
 * @property {number} warmUp Requests before the first slice.
 * @property {number} [copies] Overrides the variants' own.
 * @property {boolean} paired All processes at the same time instead of one after another.
 * @property {string[]} nodeArguments For every gateway process.
 * @property {ReturnType<typeof import('./processes.js').chooseCores>} cores
 */

/**
 * One slice of one process. Times in ms, cpu in µs per request, rss in MB.
 * @typedef {{ round: number, variant: string, copy: number, requests?: number, [metric: string]: any }} Sample
 */

/**
 * @param {import('./scenarios.js').Scenario} scenario
 * @param {Settings} settings
 * @returns {Promise<Sample[]>}
 */
export async function measure (scenario, settings) {
  const { cores } = settings
  const started = []
  try {
    const upstream = await keep(start('upstream.js', { ports: 3, parts: scenario.parts }, { core: cores.upstream }))
    const load = await keep(start('load.js', {}, { core: cores.load }))
    const targets = upstream.ready.ports.map(port => `http://127.0.0.1:${port}`)
    const subjects = await Promise.all(interleave(scenario, settings).map(async ({ name, variant, copy }) => {
      const child = await keep(start(variant.file, { ...variant.options, targets, silent: upstream.ready.silent }, { core: variant.severalCores ? cores.several : cores.gateway, nodeArguments: settings.nodeArguments }))
      return { variant: name, copy, child, port: child.ready.port, neighbour: variant.neighbour, checked: variant.checked }
    }))
    const neighbours = subjects.some(({ neighbour }) => neighbour !== undefined) ? await keep(start('load.js', {}, { core: cores.upstream })) : undefined
    return await kinds[scenario.kind]({ scenario, settings, subjects, load, neighbours })
  } finally {
    await Promise.allSettled(started.map(async child => (await child).stop()))
  }

  function keep (child) {
    started.push(child)
    return child
  }
}

/** @type {Record<import('./scenarios.js').Scenario['kind'], (run: any) => Promise<Sample[]>>} */
const kinds = { closed: inRounds, throughput: inRounds, open: inRounds, delay: inRounds, idle: holdIdle, body: passBodies }

async function inRounds ({ scenario, settings, subjects, load, neighbours }) {
  // Before any load: it is in step that the upstream serves its versions.
  if (scenario.parts !== undefined) {
    for (const subject of subjects) {
      const checked = await named(subject.variant, load.call('check', { port: subject.port, ask: scenario.ask, parts: scenario.parts }))
      subject.length = checked.length
    }
  }
  const { longer = 1 } = scenario
  await warmUp(longer)
  // a process that waits a minute for the others' turns throws away compiled code
  if (longer > 1) await warmUp(1)
  const samples = []
  for (let round = 0; round < settings.rounds; round++) {
    const order = [...subjects.slice(round % subjects.length), ...subjects.slice(0, round % subjects.length)]
    // Who waits for the core looks delayed: those have it to themselves.
    if (settings.paired && scenario.kind !== 'delay') {
      samples.push(...await Promise.all(order.map(subject => named(subject.variant, slice(subject, round, order.length)))))
    } else {
      for (const subject of order) samples.push(await named(subject.variant, slice(subject, round, 1)))
    }
  }
  for (const { variant, child, checked } of subjects) if (checked === true) await named(variant, child.call('check'))
  return samples

  async function warmUp (times) {
    const count = times * Math.min(settings.warmUp, scenario.warmUp ?? Infinity)
    for (const { variant, port, length } of subjects) {
      await named(variant, load.call('closed', { port, ask: scenario.ask, length, connections, count, seconds: times * warmUpSeconds }))
    }
  }

  /** `sharers`: how many processes have the core at the same time. */
  async function slice ({ variant, copy, child, port, length, neighbour }, round, sharers) {
    const closed = { port, ask: scenario.ask, length, connections: Math.ceil(connections / sharers) }
    const seconds = settings.seconds * sharers
    // from before the slice to a little after it
    const beside = neighbour === undefined ? undefined : neighbours.call('open', { port, ...neighbour, seconds: (settings.seconds + 2 * leadIn) * sharers + 0.3 })
    // a failure is told when the slice is over
    beside?.catch(() => {})
    await load.call('closed', { ...closed, seconds: leadIn * sharers })
    if (scenario.kind === 'delay') await child.call('watchDelay')
    const before = await child.call('usage')
    const result = scenario.rate !== undefined
      ? await load.call('open', { port, ask: scenario.ask, length, rate: scenario.rate, seconds })
      : await load.call('closed', { ...closed, seconds })
    const after = await child.call('usage')
    await beside
    if (neighbour !== undefined && (await child.call('openCircuits')).some(tenant => tenant !== 'a')) throw new Error('a circuit is open that is not the neighbour\'s')
    const delay = scenario.kind === 'delay' ? await child.call('delay') : undefined
    return {
      round,
      variant,
      copy,
      ...result,
      delay: delay?.p99,
      delayMax: delay?.max,
      cpu: (after.cpu - before.cpu) / result.requests,
      rate: result.requests / result.seconds,
      rss: after.rss / mega
    }
  }
}

async function holdIdle ({ scenario, subjects, load }) {
  const samples = []
  for (const { variant, copy, child, port } of subjects) {
    const before = await child.call('usage')
    await named(variant, load.call('hold', { port, count: scenario.count }))
    await pause(2000)
    const after = await child.call('usage')
    const open = await child.call('connections')
    if (open !== scenario.count) throw new Error(`${variant} holds ${open} connections, not ${scenario.count}`)
    const { answered } = await named(variant, load.call('askAll', { port }))
    if (answered !== scenario.count) throw new Error(`${variant}: only ${answered} connections were left`)
    await load.call('drop', { port })
    samples.push({ round: 0, variant, copy, held: open, bare: before.rss / mega, rss: after.rss / mega })
  }
  return samples
}

async function passBodies ({ scenario, subjects, load }) {
  const samples = []
  for (const { variant, copy, child, port } of subjects) {
    await named(variant, load.call('closed', { port, ask: 'small', connections, count: 2000 }))
    const before = await child.call('usage')
    const up = await named(variant, load.call('upload', { port, bytes: scenario.bytes }))
    const between = await child.call('usage')
    const down = await named(variant, load.call('download', { port, bytes: scenario.bytes }))
    const after = await child.call('usage')
    samples.push({
      round: 0,
      variant,
      copy,
      bare: before.rss / mega,
      // growth of the process's peak, as the kernel counts it, over what it had before
      up: (between.peak - before.rss) / mega,
      down: (after.peak - before.rss) / mega,
      upSeconds: up.seconds,
      downSeconds: down.seconds
    })
  }
  return samples
}

/** Every variant's first copy, then every second one, …: neighbours in time are different code. */
function interleave (scenario, { copies }) {
  const list = []
  for (const [name, variant] of Object.entries(scenario.variants)) {
    const wanted = Math.min(copies ?? variant.copies, scenario.copies ?? Infinity)
    for (let copy = 0; copy < wanted; copy++) list.push({ name, variant, copy })
  }
  return list.sort((a, b) => a.copy - b.copy)
}

/** Says whose fault it was. */
async function named (variant, promise) {
  try {
    return await promise
  } catch (error) {
    throw new Error(`${variant}: ${error.message}`, { cause: error })
  }
}

function pause (milliseconds) {
  return new Promise(resolve => setTimeout(resolve, milliseconds))
}
