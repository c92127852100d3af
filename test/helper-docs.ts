/**
 * What the tests of documents share: backends in place of the ports that a document names, and its ts blocks as programs that run and
 * have the right types.
 */
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, relative } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { ROOT } from './helper-readme.ts'
import { typeErrors } from './helper-types.ts'
import type { CodeBlock } from './helper-readme.ts'

/** Stands before ts blocks. */
export const AROUND = `import Fastify from 'fastify'
import reverseproxy, { serverOptions } from 'fastify-reverseproxy'
const app = Fastify({ ...serverOptions, logger: { level: 'silent' } })
`

export const label = ({ language, heading, line }: CodeBlock) => `line ${line}, ${language} under "${heading}"`

/** A text with ports that are ours in place of those of the document. */
export type WithPorts = (text: string) => string

/** Starts a backend for each port that the document names, such as 4001; the test's teardown stops them. */
export async function startPorts (t: Test, numbers: readonly number[], answering: (number: number) => RequestListener): Promise<WithPorts> {
  const ports = new Map<string, number>()
  for (const number of numbers) {
    const server = createServer(answering(number))
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    ports.set(String(number), (server.address() as AddressInfo).port)
    t.teardown(() => { server.closeAllConnections(); server.close() })
  }
  return text => text.replace(/127\.0\.0\.1:(400\d)/g, (_, number: string) => `127.0.0.1:${ports.get(number)}`)
}

export interface Programs {
  readonly blocks: readonly CodeBlock[]
  readonly withPorts: WithPorts
  /** The whole program of a block; it exports `app`. */
  sourceOf (block: CodeBlock): string
  check (t: Test, app: FastifyInstance, block: CodeBlock): unknown
}

/** Runs every block, checks what its app does, and then the types of all. */
export async function runPrograms (t: Test, { blocks, withPorts, sourceOf, check }: Programs): Promise<void> {
  const folder = t.testdir({ 'package.json': '{ "type": "module" }' })
  const index = relative(folder, join(ROOT, 'index.ts'))
  for (const block of blocks) {
    const file = join(folder, `line-${block.line}.ts`)
    await writeFile(file, withPorts(sourceOf(block)).replaceAll("'fastify-reverseproxy'", `'${index}'`))
    await t.test(label(block), async (t) => {
      const { app } = await import(file) as { app: FastifyInstance }
      t.teardown(() => { app.server.closeAllConnections(); return app.close() })
      await app.ready()
      await check(t, app, block)
    })
  }
  await t.test('the types', { timeout: 120_000 }, async (t) => {
    t.equal(await typeErrors(folder, index), '')
  })
}
