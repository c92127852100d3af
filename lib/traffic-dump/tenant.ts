/** Ids of tenants that logs show as hashes stand in no dump either. */
import type { RedactConfig } from '../redact/types.ts'
import type { TenancyConfig } from '../tenancy/types.ts'

/** What names the tenant in a header or in the query is secret where ids are hashed. In the path and in the host it stays. */
export function withoutTenants (redact: RedactConfig, tenancy: TenancyConfig | undefined): RedactConfig {
  if (tenancy === undefined || tenancy.hashIds === false) return redact
  const namesOf = (kind: 'header' | 'query'): string[] => tenancy.sources.flatMap(source => source.kind === kind ? [source.name] : [])
  const { forwardAs } = tenancy
  return {
    ...redact,
    headers: [...redact.headers, ...namesOf('header'), ...forwardAs === undefined ? [] : [forwardAs]],
    query: [...redact.query, ...namesOf('query')]
  }
}
