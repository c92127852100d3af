/**
 * The fast way through a body whose value is an object or an array, in AssemblyScript: 64 bytes at a time become masks, one
 * bit for a byte, and the grammar is checked on the masks. It says yes or no, and where the colons and commas of the
 * outermost object are. What it refuses goes to lib/combine/scan-bytes.ts, which knows why and at which byte; so this may
 * refuse what is valid (only time is lost), but it must never accept what is not.
 *
 * To rebuild after a change here: `npm run wasm`. It compiles this file (wasm/compile.ts) and writes the module as base64 to
 * lib/combine/scan-module.ts, which is committed: nothing is compiled when the package is built or used. A test fails when
 * the two differ. Another version of AssemblyScript may give other bytes, so package.json names one exactly; after an update
 * rebuild as well. `npx tsc -p wasm --noEmit` checks the types, which are those of AssemblyScript (u64, v128, load, store).
 *
 * How masks are used:
 * - `x << 1` are the bytes after those of x. What leaves at the top is carried into the next block; the variables declared
 *   before the loop hold such carries, as bit 0 of the next block.
 * - `x + run`, where a bit of x is the first of a run of ones, leaves a bit after the run's end: that is how a start finds
 *   its end, with no loop. The sum overflows when the run goes on in the next block.
 */

/** Bodies are put here. Room for the blanks behind the longest. */
export const text: usize = memory.data(1024 * 1024 + 128)

/** How many there are, whether all is ASCII, then their places. Two for each entry, which takes five bytes at least: `"":0,`. */
export const separators: usize = memory.data(2 * 1024 * 1024)

/** For every open container whether it is an object. A block can open 64 more than the 1000 allowed before it is refused. */
const stack: usize = memory.data(1088)

/** Loaded before the loop, as V8 would make constants anew for every block. */
const bytes: usize = memory.data<u8>([0x22, 0x5c, 0x20, 0x3a, 0x2c, 0x7b, 0x7d, 0x2d, 0x2e, 0x30, 0x09, 0x1f])

/** `start`: place of the opening bracket. Returns the place behind the closing one, or 0. What follows was not looked at. */
export function scan (start: u32, length: u32, maxDepth: i32): u32 {
  const quoteByte = v128.load8_splat(bytes, 0)
  const backslashByte = v128.load8_splat(bytes, 1)
  const spaceByte = v128.load8_splat(bytes, 2)
  const colonByte = v128.load8_splat(bytes, 3)
  const commaByte = v128.load8_splat(bytes, 4)
  const openByte = v128.load8_splat(bytes, 5)
  const closeByte = v128.load8_splat(bytes, 6)
  const minusByte = v128.load8_splat(bytes, 7)
  const dotByte = v128.load8_splat(bytes, 8)
  const zeroByte = v128.load8_splat(bytes, 9)
  const nine = v128.load8_splat(bytes, 10)
  const lastControl = v128.load8_splat(bytes, 11)

  // What the last block sees behind the body.
  const over = text + length
  v128.store(over, spaceByte)
  v128.store(over, spaceByte, 16)
  v128.store(over, spaceByte, 32)
  v128.store(over, spaceByte, 48)

  let escapedFirst: u64 = 0
  /** All ones within a string. */
  let inString: u64 = 0
  let inKey: u64 = 0
  let afterOpen: u64 = 0
  let afterOpenOrComma: u64 = 0
  let afterColon: u64 = 1
  let afterKey: u64 = 0
  let inScalar: u64 = 0
  let inLiteral: u64 = 0
  let inInteger: u64 = 0
  let inFraction: u64 = 0
  let afterFirstMinus: u64 = 0
  let afterLeadingZero: u64 = 0
  let afterDot: u64 = 0
  let afterExponent: u64 = 0
  let needsDigit: u64 = 0

  const marked = load<u8>(text + start) === 0x7b
  let separator = separators + 8
  let depth: i32 = 0
  let deepest: i32 = 0
  let end: usize = 0
  /** All blocks, put over each other. */
  let seen = i8x16.splat(0)
  /** Not zero: refused. */
  let bad: u64 = 0

  for (let block = text + start; block < over; block += 64) {
    const a = v128.load(block)
    const b = v128.load(block, 16)
    const c = v128.load(block, 32)
    const d = v128.load(block, 48)

    seen = v128.or(seen, v128.or(v128.or(a, b), v128.or(c, d)))

    let quote = Mask.equal(a, b, c, d, quoteByte)
    const backslash = Mask.equal(a, b, c, d, backslashByte)
    const hasControl = v128.any_true(i8x16.le_u(i8x16.min_u(i8x16.min_u(a, b), i8x16.min_u(c, d)), lastControl))
    // The inside of a long string.
    if ((quote | backslash | escapedFirst | ~inString) === 0 && !hasControl) continue

    let space = Mask.equal(a, b, c, d, spaceByte)
    let colon = Mask.equal(a, b, c, d, colonByte)
    let comma = Mask.equal(a, b, c, d, commaByte)
    // Square brackets and braces differ in the bit of the space.
    let open = Mask.equal(v128.or(a, spaceByte), v128.or(b, spaceByte), v128.or(c, spaceByte), v128.or(d, spaceByte), openByte)
    let close = Mask.equal(v128.or(a, spaceByte), v128.or(b, spaceByte), v128.or(c, spaceByte), v128.or(d, spaceByte), closeByte)
    let minus = Mask.equal(a, b, c, d, minusByte)
    let dot = Mask.equal(a, b, c, d, dotByte)
    const zero = Mask.equal(a, b, c, d, zeroByte)
    let digit = Mask.upTo(i8x16.sub(a, zeroByte), i8x16.sub(b, zeroByte), i8x16.sub(c, zeroByte), i8x16.sub(d, zeroByte), nine)

    // Strings. Of a row of backslashes every second is escaped; the subtraction tells which, as in simdjson.
    const escaping = backslash & ~escapedFirst
    const odd = u64.MAX_VALUE / 3 * 2
    const pairs = (((escaping << 1) | odd) - escaping) ^ odd
    let escaped = pairs ^ (backslash | escapedFirst)
    escapedFirst = (pairs & backslash) >> 63
    quote &= ~escaped
    /** With the opening quotes, without the closing ones. */
    const string = Mask.parity(quote) ^ inString
    inString = u64(i64(string) >> 63)
    const outside = ~(string | quote)

    if (hasControl) {
      const control = Mask.upTo(a, b, c, d, lastControl)
      const white = Mask.at(block, 0x09) | Mask.at(block, 0x0a) | Mask.at(block, 0x0d)
      bad |= control & (string | ~white)
      space |= white
    }
    space &= outside
    colon &= outside
    comma &= outside
    open &= outside
    close &= outside

    // Scalars: all that is left. What begins like no number has to be a literal.
    const scalar = outside & ~(space | colon | comma | open | close)
    const scalarStart = scalar & ~((scalar << 1) | inScalar)
    inScalar = scalar >> 63
    digit &= scalar
    minus &= scalar
    dot &= scalar

    let literal = scalarStart & ~(digit | minus)
    const literalSum = (literal | inLiteral) + scalar
    inLiteral = u64(literalSum < scalar)
    const rest = scalar & literalSum & ~(digit | minus | dot)

    const firstMinus = scalarStart & minus
    const integerStart = digit & (scalarStart | (firstMinus << 1) | afterFirstMinus)
    afterFirstMinus = firstMinus >> 63
    const integerSum = (integerStart | inInteger) + digit
    inInteger = u64(integerSum < digit)
    bad |= dot & ~(integerSum & ~digit)

    const leadingZero = zero & integerStart
    bad |= digit & ((leadingZero << 1) | afterLeadingZero)
    afterLeadingZero = leadingZero >> 63

    const fractionStart = digit & ((dot << 1) | afterDot)
    afterDot = dot >> 63
    const fractionSum = (fractionStart | inFraction) + digit
    inFraction = u64(fractionSum < digit)

    let sign = minus
    let signPlace = scalarStart
    if ((rest | afterExponent) !== 0) {
      const exponent = rest & (Mask.at(block, 0x65) | Mask.at(block, 0x45))
      const plus = rest & Mask.at(block, 0x2b)
      bad |= rest & ~(exponent | plus)
      bad |= exponent & ~((integerSum | fractionSum) & ~digit)
      const behind = (exponent << 1) | afterExponent
      afterExponent = exponent >> 63
      bad |= behind & ~(digit | minus | plus)
      sign |= plus
      signPlace |= behind
    }
    bad |= sign & ~signPlace
    bad |= ((sign | dot) << 1 | needsDigit) & ~digit
    needsDigit = (sign | dot) >> 63

    for (; literal !== 0; literal &= literal - 1) bad |= u64(!isLiteral(block + usize(ctz(literal))))
    for (escaped &= string; escaped !== 0; escaped &= escaped - 1) bad |= u64(!isEscape(block + usize(ctz(escaped))))

    // Containers: which bytes are in an object, and which in the outermost container.
    let inObject = 0 - u64(load<u8>(stack + depth))
    let inOutermost = 0 - u64(depth === 1)
    for (let bracket = open | close; bracket !== 0; bracket &= bracket - 1) {
      const at = block + usize(ctz(bracket))
      const byte: u32 = load<u8>(at)
      // Bits that tell braces from square brackets, opening from closing ones.
      const isObject = byte >> 5 & 1
      const opens = byte >> 1 & 1
      bad |= u64((isObject ^ load<u8>(stack + depth)) & (opens ^ 1))
      // Above the top when it closes, where it does no harm.
      store<u8>(stack + depth, isObject, 1)
      depth += opens * 2 - 1
      if (depth === 0) {
        end = at + 1
        break
      }
      deepest = max(deepest, depth)
      const behind = ~(bracket ^ (bracket - 1))
      inObject ^= (inObject ^ (0 - u64(load<u8>(stack + depth)))) & behind
      inOutermost ^= (inOutermost ^ (0 - u64(depth === 1))) & behind
    }

    // Order: what each token comes after, white space left out. With none there is no run to go through.
    let openFollower = (open << 1) | afterOpen
    let follower = ((open | comma) << 1) | afterOpenOrComma
    let colonFollower = (colon << 1) | afterColon
    afterOpen = open >> 63
    afterOpenOrComma = (open | comma) >> 63
    afterColon = colon >> 63
    if (space !== 0) {
      openFollower += space
      follower += space
      colonFollower += space
      afterOpen |= u64(openFollower < space)
      afterOpenOrComma |= u64(follower < space)
      afterColon |= u64(colonFollower < space)
      openFollower &= ~space
      follower &= ~space
      colonFollower &= ~space
    }
    const keyPlace = follower & inObject
    const valuePlace = colonFollower | (follower & ~inObject)

    const stringStart = quote & string
    const keySum = ((stringStart & keyPlace) | inKey) + string
    inKey = u64(keySum < string)
    const keyEnd = keySum & quote & ~string
    let keyFollower = (keyEnd << 1) | afterKey
    afterKey = keyEnd >> 63
    if (space !== 0) {
      keyFollower += space
      afterKey |= u64(keyFollower < space)
      keyFollower &= ~space
    }

    bad |= stringStart & ~(keyPlace | valuePlace)
    bad |= (open | scalarStart) & ~valuePlace
    bad |= comma & (keyPlace | valuePlace)
    bad |= close & (keyPlace | valuePlace) & ~openFollower
    bad |= colon ^ keyFollower
    if (bad !== 0 || deepest > maxDepth) return 0

    if (marked) {
      for (let mark = (colon | comma) & inOutermost; mark !== 0; mark &= mark - 1) {
        store<u32>(separator, u32(block - text) + u32(ctz(mark)))
        separator += 4
      }
    }
    if (end !== 0) {
      store<u32>(separators, u32(separator - separators) / 4 - 2)
      store<u32>(separators, u32(i8x16.bitmask(seen) === 0), 4)
      return u32(end - text)
    }
  }
  return 0
}

/** Methods, as decorators are allowed here: a call for each mask would be too much. */
class Mask {
  @inline static of (a: v128, b: v128, c: v128, d: v128): u64 {
    return u64(u32(i8x16.bitmask(a)) | u32(i8x16.bitmask(b)) << 16) | u64(u32(i8x16.bitmask(c)) | u32(i8x16.bitmask(d)) << 16) << 32
  }

  @inline static equal (a: v128, b: v128, c: v128, d: v128, byte: v128): u64 {
    return Mask.of(i8x16.eq(a, byte), i8x16.eq(b, byte), i8x16.eq(c, byte), i8x16.eq(d, byte))
  }

  @inline static upTo (a: v128, b: v128, c: v128, d: v128, byte: v128): u64 {
    return Mask.of(i8x16.le_u(a, byte), i8x16.le_u(b, byte), i8x16.le_u(c, byte), i8x16.le_u(d, byte))
  }

  /** For bytes that few bodies have. */
  static at (block: usize, byte: u8): u64 {
    return Mask.equal(v128.load(block), v128.load(block, 16), v128.load(block, 32), v128.load(block, 48), i8x16.splat(byte))
  }

  /** Ones from every odd one up to before the even one that follows. */
  @inline static parity (mask: u64): u64 {
    mask ^= mask << 1
    mask ^= mask << 2
    mask ^= mask << 4
    mask ^= mask << 8
    mask ^= mask << 16
    return mask ^ mask << 32
  }
}

/** With what ends it: a longer word is none. No branches, as no word is likelier than another. */
function isLiteral (at: usize): bool {
  const word = load<u32>(at)
  const isFalse = u32(word === 0x736c6166) & u32(load<u8>(at, 4) === 0x65)
  const next: u32 = load<u8>(at + 4 + isFalse)
  const ends = u32(next === 0x2c) | u32((next | 0x20) === 0x7d) | u32(next === 0x20) | u32(next === 0x0a) | u32(next === 0x0d) | u32(next === 0x09)
  return ((isFalse | u32(word === 0x65757274) | u32(word === 0x6c6c756e)) & ends) !== 0
}

/** What stands behind a backslash. */
function isEscape (at: usize): bool {
  const byte: u32 = load<u8>(at)
  if (byte === 0x75) return isHex(at + 1) && isHex(at + 2) && isHex(at + 3) && isHex(at + 4)
  return byte === 0x22 || byte === 0x2f || byte === 0x5c || byte === 0x62 || byte === 0x66 || byte === 0x6e || byte === 0x72 || byte === 0x74
}

function isHex (at: usize): bool {
  const byte: u32 = load<u8>(at)
  return byte - 0x30 < 10 || (byte | 0x20) - 0x61 < 6
}
