/**
 * The validating scan of objects and arrays in WebAssembly: the module of wasm/scan.ts checks masks of 64 bytes at a time,
 * which takes a third of the time of a loop over the bytes.
 */
import { isSpace } from './bytes.ts'
import type { Scanned } from './scan.ts'
import { scanModule } from './scan-module.ts'

interface Exports {
  readonly scan: (start: number, length: number, maxDepth: number) => number
  readonly text: { readonly value: number }
  readonly separators: { readonly value: number }
  readonly memory: { readonly buffer: ArrayBuffer }
}

/** As far as it is used: the types of Node 20 have none. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object
  Instance: new (module: object) => { readonly exports: unknown }
}

const OPEN_OBJECT = 0x7b
const OPEN_ARRAY = 0x5b

/** undefined: no WebAssembly (--jitless), or a processor without its SIMD. */
export const scanFast = createScan()

/** The scan takes at most `longest` bytes, `deepest` levels. undefined: they are not valid, or no object or array. Whether they are UTF-8 is not looked at. */
function createScan (): ((bytes: Uint8Array, maxDepth: number) => Scanned | undefined) | undefined {
  const exports = instantiate()
  if (exports === undefined) return undefined
  const { scan, memory } = exports
  const text = new Uint8Array(memory.buffer, exports.text.value)
  /** How many there are, whether all is ASCII, then the places of the colons and commas of an outermost object. */
  const separators = new Int32Array(memory.buffer, exports.separators.value)

  /** Between two separators is a key or a value, with white space around it. */
  const marksOf = (start: number, end: number): number[] => {
    const count = separators[0]!
    const marks: number[] = []
    if (count === 0) return marks
    let separator = start
    for (let at = 2; at <= count + 2; at++) {
      let from = separator + 1
      separator = at === count + 2 ? end - 1 : separators[at]!
      let to = separator
      while (isSpace(text[from]!)) from++
      while (isSpace(text[to - 1]!)) to--
      marks.push(from, to)
    }
    return marks
  }

  return (bytes, maxDepth) => {
    const length = bytes.length
    text.set(bytes)
    let start = length > 2 && text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf ? 3 : 0
    while (start < length && isSpace(text[start]!)) start++
    const first = text[start]
    if (start === length || (first !== OPEN_OBJECT && first !== OPEN_ARRAY)) return undefined
    const end = scan(start, length, maxDepth)
    if (end === 0) return undefined
    let over = end
    while (over < length && isSpace(text[over]!)) over++
    if (over !== length) return undefined
    return { start, end, marks: first === OPEN_OBJECT ? marksOf(start, end) : undefined, ascii: separators[1] === 1 }
  }
}

function instantiate (): Exports | undefined {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(scanModule, 'base64'))).exports as Exports
  } catch {
    return undefined
  }
}
