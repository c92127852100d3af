/** The units of a text as numbers: to look at them one by one takes half as long as by `charCodeAt`. */
import { endianness } from 'node:os'

/** Longer texts have memory of their own: longer than what is kept of a body by default, and the zero. */
const SHARED = 65_536 + 1
const SWAPPED = endianness() === 'BE'

class Memory {
  readonly units: Uint16Array
  /** The same. */
  readonly bytes: Buffer

  constructor (length: number) {
    this.units = new Uint16Array(length)
    this.bytes = Buffer.from(this.units.buffer)
  }
}

let shared: Memory | undefined

/** With a zero behind the last one, and then anything. The next call may write into the same memory. */
export function codesOf (text: string): Uint16Array {
  const { length } = text
  const { units, bytes } = length < SHARED ? shared ??= new Memory(SHARED) : new Memory(length + 1)
  bytes.write(text, 'utf16le')
  if (SWAPPED) bytes.subarray(0, 2 * length).swap16()
  units[length] = 0
  return units
}
