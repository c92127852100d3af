/**
 * Discovery: the providers by their source. Each is loaded when it is first used, so that nobody pays for what he does not use.
 */
import type { DiscoveryProvider, DiscoverySource, ProviderTools } from './types.ts'

/** Rejects where the provider cannot be had: a package that is missing. */
export async function createProvider (source: DiscoverySource, tools: ProviderTools): Promise<DiscoveryProvider> {
  switch (source.kind) {
    case 'static': return createStatic(source.targets)
    case 'file': return (await import('./file.ts')).createFile(source.file, tools)
    case 'dns': return (await import('./dns.ts')).createDns(source.dns, tools)
    case 'consul': return (await import('./consul.ts')).createConsul(source.consul, tools)
    case 'kubernetes': return (await import('./kubernetes.ts')).createKubernetes(source.kubernetes, tools)
    case 'provider': return source.provider
  }
}

/** The same list for ever: there is nothing to watch. */
function createStatic (targets: Extract<DiscoverySource, { kind: 'static' }>['targets']): DiscoveryProvider {
  return {
    resolve: () => Promise.resolve(targets),
    watch: signal => untilAborted(signal)
  }
}

async function * untilAborted (signal: AbortSignal): AsyncGenerator<never, void> {
  if (!signal.aborted) await new Promise(resolve => { signal.addEventListener('abort', resolve, { once: true }) })
}
