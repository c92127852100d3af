/** The last so many of something. */

export interface Ring<Item> {
  push (item: Item): void
  /** Oldest first; a list of its own. */
  list (): Item[]
}

/** Pushing costs the same however many have come. */
export function createRing<Item> (size: number): Ring<Item> {
  const items: Item[] = []
  /** Of the oldest, once it is full. */
  let first = 0
  return {
    push (item) {
      if (items.length < size) {
        items.push(item)
        return
      }
      items[first] = item
      first = (first + 1) % size
    },
    list: () => [...items.slice(first), ...items.slice(0, first)]
  }
}
