/** How targets end: no new requests, what runs finishes, and then their connections are closed. */
import { TenantTarget } from '../tenancy/target.ts'
import { setTargets } from './targets.ts'
import type { Pools } from '../pools.ts'
import type { Backend, Target } from '../types.ts'

/** Stops new requests for the targets; the promises settle when their pools are closed. */
export function retire (backend: Backend, targets: readonly Target[], pools: Pools): Array<Promise<void>> {
  const gone = targets.map(target => drain(target, backend, pools))
  setTargets(backend, backend.targets)
  return gone
}

/** For a target by itself: the lists of its backend stay as they are. Resolves when its last request has finished and it has left its pool. */
export function drain (target: Target, backend: Backend, pools: Pools): Promise<void> {
  target.state = 'draining'
  return drained(target, backend, pools)
}

async function drained (target: Target, backend: Backend, pools: Pools): Promise<void> {
  if (target.inflight > 0) {
    await new Promise<void>(resolve => {
      const earlier = target.onIdle
      target.onIdle = () => { earlier?.(); resolve() }
    })
  }
  // it may have been taken back into service while it drained
  if (target.state === 'active' && backend.targets.includes(target)) return
  await pools.leave(target)
}

/** Closes the connections that are this target's alone, and those again that late calls may open. */
export function letGo (target: Target, pools: Pools): Promise<void> {
  if (target instanceof TenantTarget) {
    if (!target.ownPool) return Promise.resolve()
    target.onLeft = () => { pools.leave(target) }
    return pools.leave(target)
  }
  return new Promise(resolve => {
    function leave (): void {
      target.onIdle = leave
      pools.leave(target).then(resolve)
    }
    if (target.inflight > 0) target.onIdle = leave
    else leave()
  })
}
