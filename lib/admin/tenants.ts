/** Tenants, a page at a time, by their ids. */
import type { TenantView } from '../tenancy/tenants.ts'

export interface TenantPage {
  readonly tenants: readonly TenantView[]
  /** All there are. */
  readonly total: number
  /** Id to ask the next page after; null: this is the last one. */
  readonly next: string | null
}

/** The `limit` first ones after `after`. There may be very many: they are looked through, not sorted. */
export function pageOf (all: readonly TenantView[], limit: number, after = ''): TenantPage {
  const most = limit + 1
  let kept: TenantView[] = []
  let last: string | undefined
  for (const tenant of all) {
    if (tenant.id <= after || (last !== undefined && tenant.id > last)) continue
    kept.push(tenant)
    if (kept.length < 4 * most) continue
    kept = firstOf(kept, most)
    last = kept.at(-1)!.id
  }
  const found = firstOf(kept, most)
  const tenants = found.slice(0, limit)
  return { tenants, total: all.length, next: found.length > limit ? tenants.at(-1)!.id : null }
}

function firstOf (tenants: TenantView[], count: number): TenantView[] {
  return tenants.sort((one, other) => one.id < other.id ? -1 : 1).slice(0, count)
}
