/**
 * A watch is a stream of JSON objects, one a line. Chunks end where they like, within a line or within a character.
 */

export interface JsonLines {
  /** The objects that are complete now. Throws for a line that is no JSON, and for one that has become too long. */
  push (chunk: Buffer): Generator<unknown, void>
  /** Throws when the stream ended within a line. */
  end (): void
}

/** @param limit longest line, bytes */
export function createJsonLines (limit: number): JsonLines {
  let pieces: Buffer[] = []
  let size = 0
  const decoder = new TextDecoder('utf-8', { fatal: true })

  function keep (piece: Buffer): void {
    size += piece.length
    if (size > limit) throw new Error(`Kubernetes sent a line of more than ${limit} bytes`)
    if (piece.length > 0) pieces.push(piece)
  }

  /** What is wrong with a line is said without the line: who knows what answered. */
  function take (): unknown {
    // a line break is never part of a longer character: lines are cut as bytes, then read as text
    const line = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
    pieces = []
    size = 0
    try {
      const text = decoder.decode(line)
      return text.trim() === '' ? undefined : JSON.parse(text) as unknown
    } catch {
      throw new Error(`Kubernetes sent a line that is no JSON (${line.length} bytes)`)
    }
  }

  return {
    * push (chunk) {
      let from = 0
      for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, from)) {
        keep(chunk.subarray(from, at))
        from = at + 1
        const value = take()
        if (value !== undefined) yield value
      }
      keep(chunk.subarray(from))
    },
    end () {
      if (size > 0) throw new Error('Kubernetes ended a watch within a line')
    }
  }
}

const LINE_FEED = 10
