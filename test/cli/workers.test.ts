/** `reverseproxy serve --workers`: several processes that behave as one. */
import t from 'tap'
import type { Test } from 'tap'
import { writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { waitBefore } from '../../cli/serving/replacing.ts'
import { closedPort, httpUpstream, waitFor } from '../helper.ts'
import { start } from './command.ts'

/** Processes take their time to start on a busy machine, ms. */
const SLOW = 30_000

t.setTimeout(240_000)

/** A signal that nobody uses makes a fault. */
const FAULT = 'process.on("SIGWINCH", () => { setImmediate(() => { throw new Error("a fault") }) })'

/** Answers `/slow` when it is released, everything else at once. */
async function backend (t: Test) {
  const waiting: Array<() => void> = []
  const { url, port } = await httpUpstream(t, (request, response) => {
    const answer = () => { response.end(`backend saw ${request.url}`) }
    if (request.url === '/slow') waiting.push(answer)
    else answer()
  })
  return { url, port, waiting }
}

interface Line { readonly pid: number, readonly msg: string, readonly workers?: number }

/** A gateway with two workers and its log. */
async function serve (t: Test, text: string) {
  const file = join(t.testdir({ 'g.yaml': text }), 'g.yaml')
  const running = start([file, '--host', '127.0.0.1', '--workers', '2', '--log-level', 'debug'], { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(FAULT)}` })
  const { process: primary } = running
  let output = ''
  primary.stdout!.on('data', (text: string) => { output += text })
  const lines = (): Line[] => output.split('\n').filter(line => line.endsWith('}')).map(line => JSON.parse(line) as Line)
  const count = (pattern: RegExp): number => lines().filter(({ msg }) => pattern.test(msg)).length
  const said = async (pattern: RegExp, times = 1): Promise<void> => {
    if (!await waitFor(() => count(pattern) >= times, SLOW)) throw new Error(`not said ${times} times: ${pattern}\n${output}`)
  }
  /** Those that have ever served, oldest first. */
  const pids = (): number[] => lines().flatMap(({ msg }) => {
    const pid = /^worker \d \((\d+)\) serves/.exec(msg)?.[1]
    return pid === undefined ? [] : [Number(pid)]
  })
  t.teardown(() => {
    for (const pid of [primary.pid!, ...pids()]) kill(pid, 'SIGKILL')
  })
  const [, origin = ''] = await running.until(/listens on (http:\/\/[^"]+)/)
  return { ...running, primary: primary.pid!, origin, lines, count, said, pids, become: (next: string) => writeFile(file, next) }
}

function kill (pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

const isAlive = (pid: number): boolean => kill(pid, 0)

/** One request; every one on a connection of its own unless there is an agent. */
function ask (origin: string, path: string, agent: Agent | false = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(`${origin}${path}`, { agent, timeout: SLOW }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk }).on('error', reject)
      response.on('end', () => { resolve(response.statusCode === 200 ? text : `${response.statusCode} ${text}`) })
    })
    asked.on('error', reject).on('timeout', () => { asked.destroy(new Error('no answer')) }).end()
  })
}

/** Asks without a pause on connections that are kept, until it is ended: then what has come instead of the right answer. */
function load (origin: string) {
  const agent = new Agent({ keepAlive: true })
  const wrong: string[] = []
  let asked = 0
  const end = new AbortController()
  const clients = Array.from({ length: 4 }, async () => {
    while (!end.signal.aborted) {
      asked++
      const answer = await ask(origin, '/x', agent).catch(String)
      if (answer !== 'backend saw /x') wrong.push(answer)
    }
  })
  return {
    get asked () { return asked },
    async end () {
      end.abort()
      await Promise.all(clients)
      agent.destroy()
      return wrong
    }
  }
}

const fileOf = (url: string, server = 'port: 0', more = ''): string => `server: { ${server} }\nbackends: { up: "${url}" }\ndefaultBackend: up\nmetrics: true\nadmin: true\n${more}`

t.test('a gateway with two workers', async t => {
  const { url, waiting } = await backend(t)
  const { origin, lines, count, said, pids, primary, become, finished } = await serve(t, fileOf(url))
  /** Who has answered since the log had so many lines. */
  const answered = (since = 0): number[] => [...new Set(lines().slice(since).filter(({ msg }) => msg === 'request completed').map(({ pid }) => pid))].sort()

  await t.test('all of them answer, and one line says where they listen', async t => {
    t.same(lines().filter(({ msg }) => /listens on/.test(msg)).map(({ pid, workers }) => [pid, workers]), [[primary, 2]])
    t.equal(new Set(pids()).size, 2)
    for (let n = 0; n < 6; n++) t.equal(await ask(origin, '/x'), 'backend saw /x')
    await said(/request completed/, 6)
    t.same(answered(), [...pids()].sort())
  })

  await t.test('metrics at any of them are those of all', async t => {
    for (let n = 0; n < 3; n++) t.match(await ask(origin, '/metrics'), /^reverseproxy_requests_total\{[^}]*code="200"\} 6$/m)
  })

  await t.test('what an operator tells one of them, all of them do', async t => {
    const act = async (action: string): Promise<number> => {
      const headers = { 'content-type': 'application/json' }
      return (await fetch(`${origin}/_gateway/backends/up/${action}`, { method: 'POST', headers, body: JSON.stringify({ target: url }) })).status
    }
    const requests = async (path: string, times: number): Promise<string[]> => await Promise.all(Array.from({ length: times }, () => ask(origin, path)))
    t.equal(await act('drain'), 200)
    await said(/^admin: drain$/, 2)
    t.equal(new Set(lines().filter(({ msg }) => msg === 'admin: drain').map(({ pid }) => pid)).size, 2)
    t.same([...new Set((await requests('/x', 6)).map(answer => answer.slice(0, 3)))], ['503'])
    t.equal(await act('undrain'), 200)
    await said(/^admin: undrain$/, 2)
    t.same([...new Set(await requests('/x', 6))], ['backend saw /x'])
    t.equal(await act('breaker/open'), 200)
    await said(/^admin: open breaker$/, 2)
    t.same([...new Set((await requests('/x', 6)).map(answer => answer.slice(0, 3)))], ['503'])
    t.equal(await act('breaker/close'), 200)
    await said(/^admin: close breaker$/, 2)
    t.same([...new Set(await requests('/x', 6))], ['backend saw /x'])
    const workers = (await requests('/_gateway/status', 8)).map(text => (JSON.parse(text) as { worker: number }).worker)
    t.same([...new Set(workers)].sort(), [1, 2])
  })

  await t.test('a wrong configuration is refused, and workers are not told', async t => {
    await become('backends: 1')
    kill(primary, 'SIGHUP')
    await said(/is refused, the one before stays/)
    t.same(lines().filter(({ msg }) => /refused/.test(msg)).map(({ pid }) => pid), [primary])
    t.equal(JSON.stringify(lines()).split('backends: must be').length, 2, 'what is wrong is told once')
    t.match(await ask(origin, '/metrics'), /^reverseproxy_reloads_total\{result="failure"\} 1$/m)
  })

  await t.test('a worker that is killed is replaced, with what the others serve, and they go on meanwhile', async t => {
    kill(pids()[0]!, 'SIGKILL')
    await said(/ended by SIGKILL, after \d+ ms: a new one begins in \d+ ms/)
    for (let n = 0; n < 4; n++) t.equal(await ask(origin, '/x'), 'backend saw /x')
    t.ok(await waitFor(() => pids().length === 3, SLOW))
    const since = lines().length
    for (let n = 0; n < 4; n++) t.equal(await ask(origin, '/x'), 'backend saw /x')
    t.ok(await waitFor(() => answered(since).length === 2, SLOW), 'both answer, though the file is wrong')
  })

  await t.test('one that ends early once more is replaced later; after a fault it finishes what runs', async t => {
    const answers = [ask(origin, '/slow'), ask(origin, '/slow')]
    t.ok(await waitFor(() => waiting.length === 2, SLOW))
    kill(pids()[2]!, 'SIGWINCH')
    await said(/ending after a fault/)
    await said(/ends: a fault, after \d+ ms: a new one begins/)
    for (const release of waiting.splice(0)) release()
    t.same(await Promise.all(answers), ['backend saw /slow', 'backend saw /slow'])
    const [first = NaN, second = NaN] = lines().flatMap(({ msg }) => /a new one begins in (\d+) ms/.exec(msg)?.[1] ?? []).map(Number)
    t.ok(first >= 50 && first <= 100 && second >= 100 && second <= 200, `${first} ms, then ${second} ms`)
    t.ok(await waitFor(() => pids().length === 4, SLOW))
  })

  await t.test('a worker that gets a signal of its own is replaced before it leaves', async t => {
    const going = pids()[1]!
    kill(going, 'SIGTERM')
    await said(new RegExp(`in place of ${going}`))
    t.ok(await waitFor(() => !isAlive(going), SLOW))
    t.equal(count(/a new one begins/), 2, 'which is no accident')
  })

  const clients = load(origin)
  t.teardown(() => clients.end())

  await t.test('a new configuration comes to all of them', async t => {
    await become(fileOf(url, 'port: 0', 'routes: [{ path: /new, proxy: { backend: up, rewrite: { stripPrefix: /new } } }]\n'))
    kill(primary, 'SIGHUP')
    await said(/the new configuration is in place/, 3)
    for (let n = 0; n < 2; n++) t.equal(await ask(origin, '/new'), 'backend saw /')
    t.equal(pids().length, 5, 'the same processes')
  })

  await t.test('one that needs new processes has them, one after the other', async t => {
    await become(fileOf(url, 'port: 0, maxHeaderSize: 20kb'))
    kill(primary, 'SIGHUP')
    await said(/the new configuration is in place/, 4)
    t.equal(count(/^worker \d \(\d+\) serves in place of/), 3)
    t.same(pids().map(isAlive), [false, false, false, false, false, true, true])
    t.equal(count(/listens on/), 1, 'on the same port')
  })

  await t.test('no request has failed in that', async t => {
    const { asked } = clients
    t.ok(await waitFor(() => clients.asked > asked + 20, SLOW))
    t.same(await clients.end(), [])
  })

  const port = await closedPort()
  await t.test('a new port is one', async t => {
    await become(fileOf(url, `port: ${port}`))
    kill(primary, 'SIGHUP')
    await said(/listens on/, 2)
    t.equal(await ask(`http://127.0.0.1:${port}`, '/x'), 'backend saw /x')
    await t.rejects(ask(origin, '/x'), /ECONNREFUSED/)
  })

  await t.test('a signal for all processes drains them all, and the end is 0', async t => {
    const living = pids().filter(isAlive)
    t.equal(living.length, 2)
    const answers = [ask(`http://127.0.0.1:${port}`, '/slow'), ask(`http://127.0.0.1:${port}`, '/slow')]
    t.ok(await waitFor(() => waiting.length === 2, SLOW))
    const replaced = count(/begins|replaced/)
    for (const pid of [...living, primary]) kill(pid, 'SIGINT')
    await said(/SIGINT: no new requests; finishing what runs/)
    t.same(living.map(isAlive), [true, true])
    for (const release of waiting) release()
    t.same(await Promise.all(answers), ['backend saw /slow', 'backend saw /slow'])
    t.equal((await finished).code, 0)
    t.equal(count(/begins|replaced/), replaced)
  })
})

t.test('a second signal ends all of them at once, with 1', async t => {
  const { url, waiting } = await backend(t)
  const { origin, said, pids, primary, finished } = await serve(t, fileOf(url))
  const answer = ask(origin, '/slow').catch(() => 'cut')
  t.ok(await waitFor(() => waiting.length === 1, SLOW))
  kill(primary, 'SIGTERM')
  await said(/SIGTERM: no new requests/)
  kill(primary, 'SIGTERM')
  t.equal((await finished).code, 1)
  t.equal(await answer, 'cut')
  t.ok(await waitFor(() => !pids().some(isAlive), SLOW))
})

t.test('workers whose primary is gone finish what runs, and end', async t => {
  const { url, waiting } = await backend(t)
  const { origin, pids, primary } = await serve(t, fileOf(url))
  const answer = ask(origin, '/slow')
  t.ok(await waitFor(() => waiting.length === 1, SLOW))
  kill(primary, 'SIGKILL')
  t.ok(await waitFor(() => pids().filter(isAlive).length === 1, SLOW), 'the one with nothing to do ends')
  waiting[0]!()
  t.equal(await answer, 'backend saw /slow')
  t.ok(await waitFor(() => !pids().some(isAlive), SLOW))
})

t.test('a port in use, a wrong file and a wrong number end it with 1 or 2 and one message', async t => {
  const { url, port } = await backend(t)
  const folder = t.testdir({ 'g.yaml': fileOf(url), 'wrong.yaml': 'backend: {}' })
  const tried = (file: string, ...args: string[]) => start([join(folder, file), '--host', '127.0.0.1', ...args]).finished
  const [taken, wrong, none] = await Promise.all([tried('g.yaml', '--workers', '2', '--port', String(port)), tried('wrong.yaml', '--workers', '2'), tried('g.yaml', '--workers', '0')])
  t.match(taken, { code: 1, stdout: '' })
  t.match(taken.stderr, /^reverseproxy: .*EADDRINUSE.*\n$/)
  t.match(wrong, { code: 1, stdout: '', stderr: /backend: is not an option; did you mean "backends"/ })
  t.match(none, { code: 2, stdout: '', stderr: /--workers must be "auto" or a number between 1 and 256 \(got "0"\)/ })
})

t.test('workers that end early one after the other are replaced later and later, with jitter; after a long life at once', async t => {
  const waits = (random: number, times: number): number[] => {
    let deaths = 0
    return Array.from({ length: times }, () => {
      const before = waitBefore(undefined, deaths, () => random)
      deaths = before.deaths
      return before.wait
    })
  }
  t.same(waits(0, 4), [50, 100, 200, 400])
  t.same(waits(0.5, 4), [75, 150, 300, 600])
  t.equal(waits(0, 1000).at(-1), 15_000)
  t.same(waitBefore(29_999, 3, () => 0), { wait: 400, deaths: 4 })
  t.same(waitBefore(30_000, 3, () => 0), { wait: 0, deaths: 0 })
})
