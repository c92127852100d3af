/**
 * Follows where the targets of backends come from: one follower for each backend with `discovery`, whoever's it is.
 *
 * Stage: a layer around each attempt, before it takes a place: calls of a backend that has never had a list wait for it. Reads:
 * the backends' `discovery`. Writes: their targets, through the registry. It begins when the server is ready and ends with it.
 */
import { isDeepStrictEqual } from 'node:util'
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { createArrival, isLate } from '../lib/discovery/arrive.ts'
import { createFollowed, isSameDiscovery } from '../lib/discovery/followed.ts'
import { DiscoveryError } from '../lib/errors.ts'
import type { Followed, News } from '../lib/discovery/followed.ts'
import type { DiscoveryConfig, DiscoverySource } from '../lib/discovery/types.ts'
import type { Backend } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Where targets come from. Owner: plugins/discovery.ts */
    discovery: DiscoveryApi
    /** The backends that are followed, for the gateway that takes this one's place. Owner: plugins/discovery.ts */
    followed: Map<string, Followed>
  }
}

/** How a backend is followed: a snapshot. */
export interface DiscoveryView {
  /** The tenant's id, `''` for everybody. */
  readonly scope: string
  readonly backend: string
  readonly source: DiscoverySource['kind']
  /** Targets that it has now. */
  readonly targets: number
  /** When a list was taken last, ms since 1970; undefined: there was none. */
  readonly lastSuccess: number | undefined
  /** What is wrong now; undefined: nothing. */
  readonly fault: string | undefined
  /** Lists that were taken. */
  readonly lists: number
}

export interface DiscoveryApi {
  /** Of one backend or all, tenants' own included. @throws RangeError when no such backend is followed */
  status (backend?: string): DiscoveryView[]
  /** Asks again now, for one backend or all; true when every list could be taken. Rejects as `status` throws. */
  refresh (backend?: string): Promise<boolean>
}

const discovery: FastifyPluginAsync = async function discovery (fastify) {
  const { reverseproxy } = fastify
  const { clock, config: { random }, deadlines, registry } = reverseproxy
  const followed = new Map<string, Followed>()
  /** Backends that the gateway before follows, and whose followers this one is to take over. */
  const kept = new Map<string, string>()
  const tools = { clock, random, soon: setImmediate, date: () => Date.now() }
  let running = false

  // ---- who is followed

  function current (scope: string, name: string): Backend | undefined {
    if (scope === '') return registry.resolve(name)
    try {
      return registry.existing(name, scope)
    } catch {
      return undefined
    }
  }

  function newsOf (scope: string, name: string): News {
    const whose = scope === '' ? { backend: name } : { backend: name, tenant: scope }
    return {
      targets (targets) {
        const backend = current(scope, name)
        if (backend === undefined || isDeepStrictEqual(targets, backend.config.targets)) return
        fastify.log.debug({ ...whose, targets: targets.length }, 'discovery: other targets')
        registry.replaceTargets(backend, targets)
      },
      warn (message) { fastify.log.warn(whose, `discovery: ${message}`) },
      fault (err) { fastify.log.warn({ ...whose, err }, 'discovery failed: the last good targets stay in service') },
      recovered () { fastify.log.info(whose, 'discovery works again') }
    }
  }

  function follow (scope: string, name: string, config: DiscoveryConfig): void {
    const begun = createFollowed(scope, name, config, newsOf(scope, name), tools)
    followed.set(keyOf(scope, name), begun)
    begun.start()
  }

  /** Brings what is followed up to what the backend says now. */
  function renew ({ scope, name, config, shares }: Backend): void {
    const key = keyOf(scope, name)
    const before = followed.get(key)
    if (!running || kept.has(key) || (before === undefined && (config.discovery === undefined || shares !== undefined))) return
    const backend = current(scope, name)
    const wanted = backend?.shares === undefined ? backend?.config.discovery : undefined
    if (before !== undefined && wanted !== undefined && isSameDiscovery(before.config, wanted)) return
    followed.delete(key)
    if (wanted !== undefined) follow(scope, name, wanted)
    before?.stop()
  }

  registry.watch(renew)
  reverseproxy.layer('arrive', createArrival({ clock, deadlines, find: ({ scope, name }) => followed.get(keyOf(scope, name)) }))
  fastify.addHook('onReady', async function awaitFirstLists () {
    running = true
    for (const { scope, name, config } of registry.all()) {
      const before = reverseproxy.previous?.registry.resolve(name)?.config.discovery
      const isSame = scope === '' && config.discovery !== undefined && before !== undefined && isSameDiscovery(before, config.discovery)
      if (isSame) kept.set(keyOf(scope, name), name)
    }
    for (const backend of registry.all()) renew(backend)
    await boot([...followed.values()])
    // until this one has taken its place the backends are not what they will be
    if (reverseproxy.previous !== undefined) running = false
  })

  /** Waits for the first lists. @throws DiscoveryError */
  async function boot (all: readonly Followed[]): Promise<void> {
    const { pluginTimeout = 0 } = fastify.initialConfig as { pluginTimeout?: number }
    // Fastify waits no longer, and would not start
    const most = pluginTimeout > 0 ? pluginTimeout * 0.9 : Infinity
    const late = await Promise.all(all.map(one => isLate(one, Math.min(one.config.bootTimeout, most), clock)))
    const without = all.filter((_, index) => late[index])
    const refused = without.filter(({ config }) => config.onBootTimeout === 'refuse')
    for (const { name, status } of without) fastify.log.warn({ backend: name, fault: status.fault }, 'discovery: no targets yet; calls of the backend are answered 503 until there are some')
    if (refused.length === 0) return
    stop()
    throw new DiscoveryError(refused.map(({ name, status }) => `backend ${name} has no targets: ${status.fault ?? 'no answer yet'}`).join('; '))
  }

  function stop (): void {
    running = false
    for (const one of followed.values()) one.stop()
  }

  fastify.addHook('onClose', function stopFollowing (_fastify, stopped) {
    stop()
    stopped()
  })

  // ---- one configuration after the other

  reverseproxy.successions.push(function takeFollowers (before) {
    running = true
    for (const [key, name] of kept) {
      const one = before.followed.get(key)
      const wanted = registry.resolve(name)?.config.discovery
      if (one === undefined || wanted === undefined || !isSameDiscovery(one.config, wanted)) continue
      before.followed.delete(key)
      one.news = newsOf('', name)
      if (one.isNew) one.patientUntil = clock.now() + one.config.bootTimeout
      followed.set(key, one)
    }
    kept.clear()
    for (const one of before.followed.values()) one.stop()
    before.followed.clear()
    for (const backend of registry.all()) renew(backend)
  })

  // ---- for users

  function find (name?: string): Followed[] {
    const found = [...followed.values()].filter(one => name === undefined || one.name === name)
    if (name !== undefined && found.length === 0) throw new RangeError(`there is no backend ${JSON.stringify(name)} with discovery`)
    return found
  }

  reverseproxy.followed = followed
  reverseproxy.discovery = {
    status: name => find(name).map(({ scope, name: backend, config, status }) =>
      ({ scope, backend, source: config.source.kind, targets: current(scope, backend)?.targets.length ?? 0, ...status })),
    async refresh (name) {
      const answers = await Promise.all(find(name).map(one => one.refresh()))
      return answers.every(isGood => isGood)
    }
  }
}

/** Names of backends have no spaces. */
function keyOf (scope: string, name: string): string {
  return `${name} ${scope}`
}

export default fp(discovery, { name: 'reverseproxy-discovery', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends'] })
