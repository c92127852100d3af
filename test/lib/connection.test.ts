/** Who is told that a client's connection has ended. */
import { EventEmitter } from 'node:events'
import t from 'tap'
import fc from 'fast-check'
import { unwatch, watch, type Watcher } from '../../lib/forward/connection.ts'
import type { FastifyRequest } from 'fastify'

/** Requests on a connection of their own. */
function connect () {
  const socket = Object.assign(new EventEmitter(), { destroyed: false })
  return {
    socket,
    request: () => ({ raw: { socket, aborted: false } }) as unknown as FastifyRequest,
    end () {
      socket.destroyed = true
      socket.emit('close')
    }
  }
}

function worker (name: string, told: string[], also?: () => void): Watcher {
  return {
    clientGone () {
      told.push(name)
      also?.()
    }
  }
}

t.test('whoever comes and goes, those who are there in the end are told, each once', async t => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(5))), steps => {
    const { request, end } = connect()
    const told: string[] = []
    const workers = Array.from({ length: 6 }, (_, index) => worker(String(index), told))
    const there = new Set<string>()
    for (const [comes, index] of steps) {
      if (!comes) {
        unwatch(request(), workers[index]!)
        there.delete(String(index))
      } else if (!there.has(String(index))) {
        watch(request(), workers[index]!)
        there.add(String(index))
      }
    }
    end()
    t.same(told.sort(), [...there].sort())
  }))
})

t.test('one listener serves a connection, however many requests it carries', async t => {
  const { socket, request } = connect()
  for (let n = 0; n < 100; n++) {
    const work = worker(String(n), [])
    t.ok(watch(request(), work))
    unwatch(request(), work)
  }
  t.equal(socket.listenerCount('close'), 1)
})

t.test('all are told, also when one of them makes another leave', async t => {
  const { request, end } = connect()
  const told: string[] = []
  const last = worker('last', told)
  watch(request(), worker('first', told, () => unwatch(request(), last)))
  watch(request(), last)
  end()
  t.same(told, ['first', 'last'])
})

t.test('a client that is gone is not waited for', async t => {
  const { request, end } = connect()
  const told: string[] = []
  end()
  t.notOk(watch(request(), worker('late', told)))
  t.same(told, [])
  unwatch(request(), worker('stranger', told))
})
