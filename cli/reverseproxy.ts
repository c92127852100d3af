#!/usr/bin/env node
/**
 * The `reverseproxy` command: `serve`, `check`, `routes`, `explain`, `plan` and `schema`.
 */
import { run } from './run.ts'

// whoever reads only the beginning (`| head`) has what they want
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  throw error
})

process.exitCode = await run(process.argv.slice(2))
