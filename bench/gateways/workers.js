/**
 * The command itself, `serve --workers n` of the last build, with what `gateway.js` turns on. CPU and memory are those of the
 * primary and all workers together, as the kernel counts them.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { answer, options, ready } from '../processes.js'
import { pool } from './serve.js'

const ticks = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

const folder = mkdtempSync(join(tmpdir(), 'reverseproxy-bench-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const file = join(folder, 'gateway.json')
writeFileSync(file, JSON.stringify({
  server: { host: '127.0.0.1', port: 0 },
  backends: {
    service: {
      targets: options.targets,
      balancer: 'round-robin',
      pool: { connections: pool.connections, keepAliveTimeout: pool.keepAliveTimeout },
      timeout: '30s'
    }
  },
  headers: {
    request: { set: { 'x-source': 'gateway' }, remove: ['x-debug'] },
    response: { remove: ['server', 'x-powered-by'] },
    forwarded: { for: 'append', proto: 'set', host: 'set' },
    via: 'gateway'
  },
  routes: [{ path: '/*', methods: ['GET', 'POST'], proxy: 'service' }]
}))

const command = fileURLToPath(new URL('../../dist/cli/reverseproxy.js', import.meta.url))
const gateway = spawn(process.execPath, [...process.execArgv, command, 'serve', file, '--workers', String(options.workers)], { stdio: ['ignore', 'pipe', 'inherit'] })
process.on('exit', () => gateway.kill('SIGKILL'))
gateway.once('exit', () => process.exit(1))

let said = ''
gateway.stdout.setEncoding('utf8').on('data', text => {
  if (said === undefined) return
  said += text
  const port = /listens on http:\/\/[^:]+:(\d+)/.exec(said)?.[1]
  if (port === undefined) return
  said = undefined
  answer({ usage })
  ready({ port: Number(port) })
})

/** CPU in µs since the start, memory in bytes. */
function usage () {
  const each = processes().map(used)
  return { cpu: sum(each.map(({ cpu }) => cpu)), rss: sum(each.map(({ rss }) => rss)) }
}

function processes () {
  const workers = readFileSync(`/proc/${gateway.pid}/task/${gateway.pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  return [gateway.pid, ...workers]
}

function used (pid) {
  // what stands in parentheses is the name, which may hold anything
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return { cpu: (Number(fields[11]) + Number(fields[12])) / ticks * 1e6, rss: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024 }
}

function sum (numbers) {
  return numbers.reduce((one, other) => one + other, 0)
}
