#!/usr/bin/env node
/**
 * The `reverseproxy` command: `serve`, `check`, `routes`, `explain`, `plan` and `schema`.
 */
import { run } from './run.ts'

process.exitCode = await run(process.argv.slice(2))
