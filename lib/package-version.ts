/** The version of this package, for those who are told who is speaking. */
import { readFileSync } from 'node:fs'

/** Its file is one folder up in the sources and two in `dist`. `unknown`: there is none. */
export function packageVersion (): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version
    } catch {
      // not there: the other one
    }
  }
  return 'unknown'
}
