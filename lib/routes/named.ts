/** Backends that routes of the app name: looked at when all backends are known. */
import { requireName } from '../options/names.ts'
import type { OptionProblem } from '../errors.ts'

export interface NamedBackends {
  /** `path`: where it is named. Once for each path and backend: a GET has a HEAD that repeats it. `backend` undefined: the default one. */
  add (path: string, backend: string | undefined): void
  problems (registry: KnownBackends): OptionProblem[]
}

export interface KnownBackends {
  readonly defaultBackend: string | undefined
  /** Tenants may have backends of their own. */
  isKnown (name: string): boolean
  names (): readonly string[]
}

export function createNamedBackends (): NamedBackends {
  const named = new Map<string, { readonly path: string, readonly backend: string | undefined }>()
  return {
    add (path, backend) { named.set(JSON.stringify([path, backend]), { path, backend }) },
    problems ({ defaultBackend, isKnown, names }) {
      const problems: OptionProblem[] = []
      for (const { path, backend } of named.values()) {
        if (backend === undefined && defaultBackend === undefined) problems.push({ path, rule: 'is required, as there is no defaultBackend' })
        else if (backend !== undefined && !isKnown(backend)) requireName(backend, path, 'backend', names(), problems)
      }
      return problems
    }
  }
}
