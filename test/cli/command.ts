/** Runs the `reverseproxy` command. */
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { run } from '../../cli/run.ts'
import { builtPackage } from '../helper/package.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly process: ChildProcess
  /** Resolves to the first match in the output; rejects when the process ends without one. */
  readonly until: (pattern: RegExp) => Promise<RegExpExecArray>
  readonly finished: Promise<Finished>
}

export function start (args: readonly string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [join(builtPackage(), 'dist/cli/reverseproxy.js'), ...args], { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output.stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { output.stderr += text })
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => { resolve({ code, ...output }) })
  })
  const until = (pattern: RegExp) => new Promise<RegExpExecArray>((resolve, reject) => {
    const look = () => {
      const match = pattern.exec(output.stdout)
      if (match !== null) resolve(match)
    }
    child.stdout.on('data', look)
    look()
    finished.then(() => { reject(new Error(`ended without ${pattern}: ${output.stdout}${output.stderr}`)) }, reject)
  })
  return { process: child, until, finished }
}

/** What a command line prints and ends with, without a process of its own. */
export async function command (t: Test, ...args: readonly string[]) {
  const capture = (stream: NodeJS.WriteStream) => t.capture(stream, 'write', () => true)
  const [stdout, stderr] = [capture(process.stdout), capture(process.stderr)]
  const code = await run(args)
  const [out = '', err = ''] = [stdout, stderr].map(calls => calls().map(({ args: [text] }) => String(text)).join(''))
  stdout.restore()
  stderr.restore()
  return { code, stdout: out, stderr: err }
}
