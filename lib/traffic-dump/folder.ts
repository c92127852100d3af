/** Whether lines will find a folder to go to, before there are any. */
import { constants } from 'node:fs'
import { access, mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What a code of the system means for the folder of a dump. */
const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'there is a file in its place',
  ENOTDIR: 'there is a file where its path has a folder',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'its file system is read-only',
  ENOSPC: 'its disk is full'
}

/** Makes the folder when it is not there, as the first line would. Resolves to why lines cannot be written there; undefined: they can. Never rejects. */
export async function tryFolder (directory: string): Promise<string | undefined> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await access(directory, constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    return reasonOf(error)
  }
}

/** The same without making anything: where there is no folder yet, one must be able to be made. */
export async function lookAtFolder (directory: string): Promise<string | undefined> {
  try {
    if (!(await stat(directory)).isDirectory()) return reasonOf({ code: 'EEXIST' })
    await access(directory, constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(directory) === directory) return reasonOf(error)
    const above = await lookAtFolder(dirname(directory))
    return above === REASONS['EEXIST'] ? REASONS['ENOTDIR'] : above
  }
}

function reasonOf (error: unknown): string {
  const { code = '', message = code } = error as Partial<NodeJS.ErrnoException>
  return REASONS[code] ?? message
}
