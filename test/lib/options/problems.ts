/** The problems an action was refused for. */
import { OptionsError, type OptionProblem } from '../../../lib/errors.ts'

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
