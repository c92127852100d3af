/**
 * What can be wrong with JSON bytes, and with parts that are to become one object. The messages are for logs.
 */

const words = {
  syntax: 'No valid JSON',
  depth: 'JSON nested too deep',
  utf8: 'JSON is not valid UTF-8'
}

export class JsonProblem extends Error {
  readonly reason: 'syntax' | 'depth' | 'utf8'
  /** The first byte that is wrong, counted from the beginning of the body; -1: not known, of a body of more than a megabyte. */
  readonly offset: number

  constructor (reason: 'syntax' | 'depth' | 'utf8', offset: number) {
    super(offset === -1 ? words[reason] : `${words[reason]} at byte ${offset}`)
    this.name = 'JsonProblem'
    this.reason = reason
    this.offset = offset
  }
}

/** Two parts have the same key, and `conflict` is `error`. */
export class ConflictProblem extends Error {
  readonly key: string
  readonly first: string
  readonly second: string

  constructor (key: string, first: string, second: string) {
    super(`The key ${JSON.stringify(key)} is in the parts ${first} and ${second}`)
    this.name = 'ConflictProblem'
    this.key = key
    this.first = first
    this.second = second
  }
}
