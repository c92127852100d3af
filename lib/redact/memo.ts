/** Answers that were given before. */

const MOST = 1_000
const LONGEST = 64

/**
 * The same few names come again and again, but they may come from anywhere: the first ones are remembered, if they are short.
 * `isWorth`: whether one is. Default: all are.
 */
export function memo<Answer extends {}> (answer: (text: string) => Answer, isWorth: (text: string, given: Answer) => boolean = () => true): (text: string) => Answer {
  const known = new Map<string, Answer>()
  return function answerOf (text) {
    let given = known.get(text)
    if (given === undefined) {
      given = answer(text)
      if (known.size < MOST && text.length <= LONGEST && isWorth(text, given)) known.set(text, given)
    }
    return given
  }
}
