/**
 * Where the API server is and who asks it: the account of the pod, or a kubeconfig. The client library reads both, and gets the
 * credentials: tokens of files, exec plugins, OIDC, certificates.
 *
 * What it throws may quote the file or the answer of a plugin, and so hold secrets. It is said in other words here, without a cause.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RequestOptions } from 'node:https'
import type { KubeConfig } from '@kubernetes/client-node'
import type { KubernetesDiscoveryConfig } from '../types.ts'

/** What of the client library is used; the same in its versions 1.3 to 2. */
export interface Library {
  readonly KubeConfig: new () => Pick<KubeConfig,
    'loadFromFile' | 'loadFromDefault' | 'loadFromCluster' | 'getContexts' | 'getContextObject' | 'getCurrentContext' | 'setCurrentContext' |
    'getCluster' | 'getUser' | 'applyToHTTPSOptions'>
}

/** Where things are; tests have places of their own. */
export interface Surroundings {
  /** Stands before the paths of the service account. Default: nothing. */
  readonly root?: string
  /** Default: `import('@kubernetes/client-node')`, at the first use. */
  readonly library?: () => Promise<Library>
}

export interface Cluster {
  /** URL of the API server, perhaps with a path, without a slash at the end. */
  readonly server: string
  readonly namespace: string
  /** Who asks, for messages: `the service account of the pod`, `the context "x" of the kubeconfig`. */
  readonly who: string
  /** Options of a request to it: credentials as they are now, and TLS. */
  options (): Promise<RequestOptions>
}

type Config = Pick<KubernetesDiscoveryConfig, 'kubeconfig' | 'context' | 'namespace'>
type Loaded = InstanceType<Library['KubeConfig']>

/** Reads the configuration anew. Throws what an operator can act on. */
export async function loadCluster (config: Config, { root = '', library = () => import('@kubernetes/client-node') }: Surroundings): Promise<Cluster> {
  const { KubeConfig } = await library().catch(explainMissing)
  const loaded = new KubeConfig()
  const inPod = config.kubeconfig === undefined && config.context === undefined && isPod(root)
  if (inPod) loaded.loadFromCluster(root)
  else loadKubeconfig(loaded, config)

  const name = loaded.getCurrentContext()
  const context = loaded.getContextObject(name)
  const cluster = context === null ? null : loaded.getCluster(context.cluster)
  const source = config.kubeconfig === undefined ? 'the kubeconfig' : `the kubeconfig "${config.kubeconfig}"`
  if (context === null) throw new Error(`${source} has no context "${name ?? ''}"; it has ${loaded.getContexts().map(({ name }) => `"${name}"`).join(', ') || 'none'}`)
  if (cluster === null) throw new Error(`${source} has no cluster "${context.cluster}", which its context "${name}" names`)
  // without one the library forgets the authority as well
  if (loaded.getUser(context.user) === null) throw new Error(`${source} has no user "${context.user}", which its context "${name}" names`)

  const who = inPod ? 'the service account of the pod' : `the context "${name}" of ${source}`
  return {
    server: cluster.server.replace(/\/+$/, ''),
    namespace: config.namespace ?? (context.namespace?.trim() || namespaceOfPod(root) || 'default'),
    who,
    async options () {
      const options: RequestOptions = {}
      try {
        await loaded.applyToHTTPSOptions(options)
      } catch (error) {
        throw new Error(`no credentials for ${who}: ${reasonOf(error)}`)
      }
      // An agent is needed for a proxy only. The library's may be kept for years with the certificates of its first day, and a
      // connection of its own is what each of these few requests should have.
      if (!cluster.proxyUrl) options.agent = false
      return { ...options, headers: trimmed(options.headers) }
    }
  }
}

function explainMissing (error: NodeJS.ErrnoException): never {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
  throw new Error('discovery by Kubernetes needs the package "@kubernetes/client-node": npm install @kubernetes/client-node', { cause: error })
}

function loadKubeconfig (loaded: Loaded, { kubeconfig, context }: Config): void {
  try {
    if (kubeconfig === undefined) loaded.loadFromDefault()
    else loaded.loadFromFile(kubeconfig)
  } catch (error) {
    const which = kubeconfig ?? process.env['KUBECONFIG']
    throw new Error(`the kubeconfig${which === undefined ? '' : ` "${which}"`} cannot be used: ${reasonOf(error)}`)
  }
  if (loaded.getCurrentContext() === NOTHING_FOUND) throw new Error('there is neither a service account of a pod nor a kubeconfig: set "kubeconfig" or KUBECONFIG')
  if (context !== undefined) loaded.setCurrentContext(context)
}

/** What went wrong, in words that hold nothing of a file's or a plugin's content. */
function reasonOf (error: unknown): string {
  const { name, code, syscall, path, mark, message } = error as NodeJS.ErrnoException & { mark?: { line: number } }
  if (code === 'ENOENT' && syscall?.startsWith('spawn') === true) return `there is no command "${path ?? ''}"`
  if (code === 'ENOENT') return `no such file${path === undefined ? '' : `: ${path}`}`
  if (typeof code === 'string') return `${code}${path === undefined ? '' : `: ${path}`}`
  // its reason may be a value: a token that begins with * is an alias that nobody knows
  if (name === 'YAMLException') return `line ${(mark?.line ?? 0) + 1} is not valid YAML`
  if (typeof message === 'string' && SAFE_MESSAGES.test(message)) return message
  return name === 'TypeError' ? 'it is none' : 'its plugin or file gave none; run the command or read the file by hand to see why'
}

/** Of the library's own: they name places and rules, no values. */
const SAFE_MESSAGES = /^(?:(?:clusters|users|contexts)\[\d+\]\S* is missing|HTTP protocol is not allowed|No command was specified|Unsupported proxy type|Duplicate )/

/** The context that the library makes up when there is nothing at all; its server is one that nobody runs any more. */
const NOTHING_FOUND = 'loaded-context'

const ACCOUNT = 'var/run/secrets/kubernetes.io/serviceaccount'

function isPod (root: string): boolean {
  return Boolean(process.env['KUBERNETES_SERVICE_HOST']) && existsSync(join(root || '/', ACCOUNT, 'token'))
}

function namespaceOfPod (root: string): string | undefined {
  try {
    return readFileSync(join(root || '/', ACCOUNT, 'namespace'), 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}

/** A token file often ends with a line break, which a header must not have. */
function trimmed (headers: RequestOptions['headers']): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value).trim()]))
}
