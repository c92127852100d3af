/**
 * Which of many comes first, while their ranks change: a binary heap whose items know where they stand in it.
 */

export interface Heap<T> {
  readonly size: number
  /** The one before all others. */
  readonly first: T | undefined
  add (item: T): void
  /** Takes out the one that stands at `at`. */
  remove (at: number): void
  /** The rank of the one that stands at `at` has changed. */
  update (at: number): void
  /** All ranks may have changed. */
  reorder (): void
}

/** `moved` is told where an item stands from now on; -1: not in it any more. */
export function createHeap<T> (isBefore: (a: T, b: T) => boolean, moved: (item: T, at: number) => void): Heap<T> {
  const items: T[] = []

  function put (item: T, at: number): void {
    items[at] = item
    moved(item, at)
  }

  function rise (item: T, from: number): number {
    let at = from
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(item, items[parent]!)) break
      put(items[parent]!, at)
      at = parent
    }
    put(item, at)
    return at
  }

  function sink (item: T, from: number): void {
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && isBefore(items[child + 1]!, items[child]!)) child++
      if (!isBefore(items[child]!, item)) break
      put(items[child]!, at)
      at = child
    }
    put(item, at)
  }

  function update (at: number): void {
    if (items.length === 1) return
    const item = items[at]!
    if (rise(item, at) === at) sink(item, at)
  }

  return {
    get size () { return items.length },
    get first () { return items[0] },
    add (item) {
      items.push(item)
      rise(item, items.length - 1)
    },
    remove (at) {
      const item = items[at]!
      const last = items.pop()!
      if (at < items.length) {
        put(last, at)
        update(at)
      }
      moved(item, -1)
    },
    update,
    reorder () {
      for (let at = (items.length >> 1) - 1; at >= 0; at--) sink(items[at]!, at)
    }
  }
}
