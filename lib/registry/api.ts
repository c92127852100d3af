/**
 * Changes at run time, as `app.reverseproxy.backends` and the rooms ask for them: options are checked here. All of it is about
 * the backends that everybody has.
 */
import { OptionsError } from '../errors.ts'
import { backendNameProblem, parseBackend, parseTarget, parseTargetPatch } from '../options/index.ts'
import { retire } from './leaving.ts'
import { createTarget, setTargets } from './targets.ts'
import { viewOf } from './views.ts'
import type { Changing } from './changing.ts'
import type { Store } from './store.ts'
import type { BackendView } from './views.ts'
import type { Watchers } from './watchers.ts'
import type { FullBackendOption } from '../options/index.ts'
import type { Pools } from '../pools.ts'
import type { BackendConfig, GatewayConfig } from '../types.ts'

export interface ApiTools {
  readonly config: GatewayConfig
  readonly pools: Pools
  readonly store: Pick<Store, 'shared' | 'insert' | 'existing' | 'existingTarget'>
  readonly tell: Watchers['tell']
  readonly changing: Pick<Changing, 'create' | 'update' | 'reconfigure'>
}

/** Without the targets' part; see {@link createTargetsApi}. */
export function createBackendsApi ({ config, pools, store, tell, changing }: ApiTools) {
  const { shared, existing, existingTarget } = store
  const parse = (name: string, input: unknown): BackendConfig => parseBackend(input, { ...config, name }, `backends.${name}`)

  return {
    add (name: string, input: unknown): void {
      if (shared.has(name)) throw new RangeError(`there is a backend ${JSON.stringify(name)} already`)
      const problem = backendNameProblem(name)
      if (problem !== undefined) throw new OptionsError([{ path: 'backends', rule: problem, value: name }])
      store.insert(changing.create('', name, parse(name, input)))
    },

    async remove (name: string): Promise<void> {
      const backend = existing(name)
      shared.delete(name)
      const closed = Promise.all(retire(backend, backend.targets, pools))
      tell(backend, backend.targets)
      await closed
    },

    update (name: string, input: unknown): void {
      const backend = existing(name)
      changing.update(backend, parse(name, input))
    },

    get (name: string): BackendView | undefined {
      const backend = shared.get(name)
      return backend && viewOf(backend)
    },

    list (): BackendView[] {
      return [...shared.values()].map(viewOf)
    },

    async drain (name: string, url?: string): Promise<void> {
      const backend = existing(name)
      const targets = url === undefined ? backend.targets : [existingTarget(backend, url)]
      const closed = Promise.all(retire(backend, targets, pools))
      tell(backend)
      await closed
    }
  }
}

export function createTargetsApi ({ pools, store: { existing, existingTarget }, tell }: ApiTools) {
  return {
    addTarget (name: string, input: unknown): void {
      const backend = existing(name)
      const target = parseTarget(input, `backends.${name}.targets[${backend.targets.length}]`, { health: backend.config.resilience.health })
      if (backend.targets.some(({ id }) => id === target.url)) {
        throw new OptionsError([{ path: `backends.${name}.targets`, rule: 'must not contain a URL twice', value: target.url }])
      }
      setTargets(backend, [...backend.targets, createTarget(target)])
      backend.config = { ...backend.config, targets: [...backend.config.targets, target] }
      tell(backend)
    },

    async removeTarget (name: string, url: string): Promise<void> {
      const backend = existing(name)
      const target = existingTarget(backend, url)
      setTargets(backend, backend.targets.filter(other => other !== target))
      backend.config = { ...backend.config, targets: backend.config.targets.filter(({ url }) => url !== target.id) }
      const closed = Promise.all(retire(backend, [target], pools))
      tell(backend, [target])
      await closed
    },

    updateTarget (name: string, url: string, changes: unknown): void {
      const backend = existing(name)
      const target = existingTarget(backend, url)
      const { active = target.state === 'active', ...changed } = parseTargetPatch(changes, `backends.${name}.targets[${backend.targets.indexOf(target)}]`)
      Object.assign(target, changed)
      if (active || target.state !== 'draining') target.state = active ? 'active' : 'inactive'
      setTargets(backend, [...backend.targets])
      tell(backend)
    }
  }
}

/** Some other options for a backend; its targets stay what they have become. @throws OptionsError */
export type ChangeBackend = (name: string, changes: Partial<FullBackendOption>) => void

export function createChange ({ config, store, changing }: Pick<ApiTools, 'config' | 'store' | 'changing'>): ChangeBackend {
  return function change (name, changes) {
    const backend = store.existing(name)
    const next = parseBackend({ ...backend.config.said, ...changes }, { ...config, name }, `backends.${name}`)
    changing.reconfigure(backend, { ...next, targets: backend.config.targets }, true)
  }
}
