/** The problems an action was refused for. */
import { OptionsError, type OptionProblem } from '../../../lib/errors.ts'
import { parseOptions } from '../../../lib/options/index.ts'
import type { Test } from 'tap'

/** None when it succeeds; throws on when it fails otherwise. */
export function problemsOf (action: () => unknown): readonly OptionProblem[] {
  try {
    action()
    return []
  } catch (error) {
    return problemsIn(error)
  }
}

export async function problemsOfAsync (action: Promise<unknown>): Promise<readonly OptionProblem[]> {
  return action.then(() => [], problemsIn)
}

function problemsIn (error: unknown): readonly OptionProblem[] {
  if (error instanceof OptionsError) return error.problems
  throw error
}

/** The name of a case, the options, and the one problem with them: where, which rule, the value as it is told. */
export type Wrong = readonly [name: string, options: unknown, path: string, rule: RegExp, value?: unknown]

/** Parses what is wrong in exactly one way; returns what is said of it. */
export function checkWrong (t: Test, [name, options, path, rule, value]: Wrong): OptionProblem | undefined {
  const [problem, ...more] = problemsOf(() => parseOptions(options))
  t.same(more, [], `${name}: one problem`)
  t.equal(problem?.path, path, `${name}: path`)
  t.match(problem?.rule, rule, `${name}: rule`)
  t.strictSame(problem?.value, value, `${name}: value`)
  return problem
}
