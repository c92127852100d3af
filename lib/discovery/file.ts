/**
 * Targets from a file, YAML or JSON, that is looked at again and again.
 *
 * Looked at instead of `fs.watch`: that follows an inode or a folder, and so misses what ConfigMaps (a `..data` link that is
 * swapped), editors and tools that rename a new file into place, bind mounts of single files and NFS do. A look is one stat.
 */
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { parseTargets } from './file/parse.ts'
import { markOf, readState } from './file/read.ts'
import type { DiscoveredTarget, DiscoveryProvider, FileDiscoveryConfig, ProviderTools } from './types.ts'

/**
 * How long after a change the content is read at every look, ms: a second write within one tick of the file system's clock
 * leaves the same times. The coarsest, FAT's, ticks every two seconds. Counted from when the change was seen, so that the
 * clock of a file server need not agree with ours.
 */
const UNSETTLED = 3000

/** How the file is looked at and read. */
export interface FileAccess {
  readonly markOf: typeof markOf
  readonly readState: typeof readState
}

/** What is known of the file. */
interface Known {
  readonly mark: string
  readonly digest: string
  /** When this mark was first seen, by `tools.now`. */
  readonly since: number
  readonly targets: readonly DiscoveredTarget[]
}

/**
 * Follows a file of targets. Lists are frozen, in the order of the file; what changes the text but not the targets is no new list.
 *
 * `resolve` and `watch` throw an Error with the path, and the line where there is one, when the file is missing, cannot be read, is
 * larger than 10 MB (as YAML 1 MB), is neither YAML nor JSON, or holds something else than targets.
 *
 * @param access for tests: a file system of their own
 */
export function createFile (config: FileDiscoveryConfig, tools: ProviderTools, access: FileAccess = { markOf, readState }): DiscoveryProvider {
  const { path, interval } = config
  let known: Known | undefined

  async function look (signal: AbortSignal): Promise<Known> {
    const { mark, bytes } = await access.readState(path, signal)
    const digest = createHash('sha256').update(bytes).digest('base64')
    const since = known?.mark === mark ? known.since : tools.now()
    const targets = known?.digest === digest ? known.targets : parseTargets(bytes, path)
    signal.throwIfAborted()
    return { mark, digest, since, targets }
  }

  async function hasChanged (): Promise<boolean> {
    if (known === undefined || tools.now() - known.since < UNSETTLED) return true
    return await access.markOf(path) !== known.mark
  }

  return {
    async resolve (signal) {
      signal.throwIfAborted()
      known = await look(signal)
      return known.targets
    },
    async * watch (signal) {
      while (!signal.aborted) {
        await tools.sleep(interval, signal)
        if (!await hasChanged()) continue
        const before = known?.targets
        known = await look(signal)
        if (!isDeepStrictEqual(known.targets, before)) yield known.targets
      }
    }
  }
}
