/** Lines that are written together, as bytes. */

const LINE_END = 0x0a
/** Most bytes of UTF-8 that a unit of a string becomes. */
const WIDEST = 3

/** The same memory serves one batch after another: nobody may keep what `bytes` gave once the batch has been emptied. */
export class Batch {
  /** Nothing more fits. */
  full = false
  /** Bytes of its lines. */
  length = 0
  readonly #size: number
  #memory: Buffer | undefined
  #used = 0
  /** The line for which no room was left; the batch ends with it. */
  #last: Buffer | undefined

  constructor (size: number) {
    this.#size = size
  }

  add (line: string): void {
    const memory = this.#memory ??= Buffer.allocUnsafeSlow(this.#size)
    const room = memory.length - this.#used - 1
    if (line.length * WIDEST > room && Buffer.byteLength(line) > room) {
      this.#last = Buffer.from(`${line}\n`)
      this.length += this.#last.length
      this.full = true
      return
    }
    const before = this.#used
    this.#used += memory.write(line, before)
    memory[this.#used++] = LINE_END
    this.length += this.#used - before
  }

  bytes (): Buffer {
    const lines = this.#memory?.subarray(0, this.#used) ?? Buffer.alloc(0)
    return this.#last === undefined ? lines : Buffer.concat([lines, this.#last])
  }

  empty (): void {
    this.#used = this.length = 0
    this.#last = undefined
    this.full = false
  }
}
