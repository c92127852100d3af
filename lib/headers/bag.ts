/** `HeaderBag`: the friendly face of header lists, for hooks that change drafts. */
import type { FastifyReply } from 'fastify'
import { InvalidHeaderError } from '../errors.ts'
import { isHeaderValue, isHopByHop, isToken } from './names.ts'
import type { HeaderBag, RawHeaders } from '../types.ts'

/** A bag over undici's flat list (name, value, name, value …); changes go into the list itself. */
export function bagOfList (list: RawHeaders): HeaderBag {
  function remove (name: string): void {
    const wanted = name.toLowerCase()
    let kept = 0
    for (let i = 0; i < list.length; i += 2) {
      if (list[i]!.toLowerCase() === wanted) continue
      list[kept] = list[i]!
      list[kept + 1] = list[i + 1]!
      kept += 2
    }
    list.length = kept
  }
  function getAll (name: string): string[] {
    const wanted = name.toLowerCase()
    const found: string[] = []
    for (let i = 0; i < list.length; i += 2) if (list[i]!.toLowerCase() === wanted) found.push(list[i + 1]!)
    return found
  }
  function append (name: string, value: string): void {
    check(name, value)
    list.push(name, value)
  }
  return {
    get: name => { const all = getAll(name); return all.length === 0 ? undefined : all.join(', ') },
    getAll,
    has: name => getAll(name).length > 0,
    set (name, value) { check(name, value); remove(name); append(name, value) },
    append,
    delete: remove,
    names: () => [...new Set(list.filter((_, i) => i % 2 === 0).map(name => name.toLowerCase()))]
  }
}

/** A bag over the headers that a reply has so far. */
export function bagOfReply (reply: FastifyReply): HeaderBag {
  function getAll (name: string): string[] {
    const value = reply.getHeader(name)
    return value === undefined ? [] : Array.isArray(value) ? value : [String(value)]
  }
  return {
    get: name => { const all = getAll(name); return all.length === 0 ? undefined : all.join(', ') },
    getAll,
    has: name => getAll(name).length > 0,
    set (name, value) { check(name, value); reply.removeHeader(name).header(name, value) },
    append (name, value) {
      check(name, value)
      const all = getAll(name)
      reply.removeHeader(name).header(name, all.length === 0 ? value : [...all, value])
    },
    delete (name) { reply.removeHeader(name) },
    names: () => Object.keys(reply.getHeaders())
  }
}

/** A hook may not break the message: a bad name or value, or one that is framing, fails the request. */
function check (name: string, value: string): void {
  const lower = String(name).toLowerCase()
  if (!isToken(lower) || typeof value !== 'string' || !isHeaderValue(value) || isHopByHop(lower) || lower === 'content-length' || lower === '__proto__') {
    throw new InvalidHeaderError({ cause: new Error(`header ${JSON.stringify(name)} set to ${JSON.stringify(value)} by a hook`) })
  }
}
