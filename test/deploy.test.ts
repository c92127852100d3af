/**
 * deploy/ fits together: every file parses, the configurations are right, selectors find their pods, ports agree, the rights are those
 * that discovery uses, and the times of a shutdown add up.
 */
import t from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { parseConfigText } from '../lib/config-file.ts'
import { createKubernetes } from '../lib/discovery/kubernetes.ts'
import { parseOptions } from '../lib/options/index.ts'
import { httpUpstream } from './helper.ts'
import { startKubernetes, writeKubeconfig } from './helper/kubernetes.ts'

const ROOT = join(import.meta.dirname ?? '.', '..')
const DEPLOY = join(ROOT, 'deploy')

/** A YAML document, read with paths: what a test asks for must be there. */
class Node {
  constructor (readonly value: unknown, readonly path: string) {}

  at (...keys: ReadonlyArray<string | number>): Node {
    let node: Node = this
    for (const key of keys) node = new Node((node.value as Record<string | number, unknown> | undefined)?.[key], `${node.path}.${key}`)
    return node
  }

  get list (): readonly Node[] {
    if (!Array.isArray(this.value)) throw new Error(`${this.path} is no list`)
    return this.value.map((value, at) => new Node(value, `${this.path}.${at}`))
  }

  get number (): number {
    if (typeof this.value !== 'number') throw new Error(`${this.path} is no number`)
    return this.value
  }

  get text (): string {
    if (typeof this.value !== 'string') throw new Error(`${this.path} is no text`)
    return this.value
  }
}

const read = (path: string): Promise<string> => readFile(join(DEPLOY, path), 'utf8')

async function documents (path: string): Promise<Node[]> {
  return parseAllDocuments(await read(path), { merge: true, uniqueKeys: true }).map(document => {
    if (document.errors.length > 0 || document.warnings.length > 0) throw new Error(`${path}: ${[...document.errors, ...document.warnings].map(String).join('\n')}`)
    return new Node(document.toJS(), path)
  })
}

const [kustomization] = await documents('kubernetes/kustomization.yaml')
const manifests = (await Promise.all(kustomization!.at('resources').list.map(({ text }) => documents(join('kubernetes', text))))).flat()

function one (kind: string): Node {
  const found = manifests.filter(manifest => manifest.at('kind').value === kind)
  if (found.length !== 1) throw new Error(`${found.length} of the kind ${kind}`)
  return found[0]!
}

const deployment = one('Deployment')
const pod = deployment.at('spec', 'template')
const container = pod.at('spec', 'containers', 0)
const gatewayYaml = one('ConfigMap').at('data', 'gateway.yaml').text
const gateway = parseConfigText(gatewayYaml, { path: join(DEPLOY, 'kubernetes/gateway.yaml'), env: {} })

t.test('every file of the folder is one of the kustomization', async (t) => {
  const files = (await readdir(join(DEPLOY, 'kubernetes'))).filter(name => name !== 'kustomization.yaml').sort()
  t.same(kustomization!.at('resources').list.map(({ text }) => text).sort(), files)
})

t.test('every object says what it is, with an API version that clusters have', async (t) => {
  const versions: Record<string, string> = {
    ServiceAccount: 'v1',
    Service: 'v1',
    ConfigMap: 'v1',
    Role: 'rbac.authorization.k8s.io/v1',
    RoleBinding: 'rbac.authorization.k8s.io/v1',
    Deployment: 'apps/v1',
    HorizontalPodAutoscaler: 'autoscaling/v2',
    PodDisruptionBudget: 'policy/v1'
  }
  t.same(manifests.map(manifest => manifest.at('kind').text).sort(), Object.keys(versions).sort())
  for (const manifest of manifests) {
    const kind = manifest.at('kind').text
    t.equal(manifest.at('apiVersion').value, versions[kind], kind)
    t.match(manifest.at('metadata', 'name').text, /^[a-z][a-z0-9-]{0,62}$/)
    t.equal(manifest.at('metadata', 'namespace').value, 'shop', `${kind}: all of it is in one namespace`)
  }
})

t.test('selectors find the pods', async (t) => {
  const labels = pod.at('metadata', 'labels').value as Record<string, string>
  for (const selector of [
    deployment.at('spec', 'selector', 'matchLabels'),
    one('Service').at('spec', 'selector'),
    one('PodDisruptionBudget').at('spec', 'selector', 'matchLabels'),
    pod.at('spec', 'topologySpreadConstraints', 0, 'labelSelector', 'matchLabels')
  ]) {
    t.ok(Object.keys(selector.value as object).length > 0, selector.path)
    t.has(labels, selector.value, selector.path)
  }
})

t.test('names of other objects are names of objects', async (t) => {
  const named = (kind: string) => one(kind).at('metadata', 'name').value
  t.equal(pod.at('spec', 'serviceAccountName').value, named('ServiceAccount'))
  t.equal(pod.at('spec', 'volumes', 0, 'configMap', 'name').value, named('ConfigMap'))
  t.equal(one('HorizontalPodAutoscaler').at('spec', 'scaleTargetRef', 'name').value, named('Deployment'))
  t.same(one('RoleBinding').at('roleRef').value, { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: named('Role') })
  t.same(one('RoleBinding').at('subjects').value, [{ kind: 'ServiceAccount', name: named('ServiceAccount'), namespace: 'shop' }])
  t.equal(kustomization!.at('images', 0, 'name').value, container.at('image').value)
})

t.test('ports agree, from the Service to gateway.yaml', async (t) => {
  const port = container.at('ports', 0)
  t.equal(port.at('containerPort').value, gateway.server.port)
  t.equal(gateway.server.host, '0.0.0.0', 'a pod is called from outside')
  t.equal(one('Service').at('spec', 'ports', 0, 'targetPort').value, port.at('name').value)
  for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) t.equal(container.at(probe, 'httpGet', 'port').value, port.at('name').value, probe)
})

t.test('probes ask for paths of gateway.yaml: whether it is ready for requests, and never for the sake of backends whether it lives', async (t) => {
  const { live, ready } = parseOptions(gateway.gateway).probes!
  t.ok(live !== undefined && ready !== undefined)
  t.equal(container.at('readinessProbe', 'httpGet', 'path').value, ready)
  for (const probe of ['startupProbe', 'livenessProbe']) t.equal(container.at(probe, 'httpGet', 'path').value, live, probe)
})

t.test('gateway.yaml is where the container reads it', async (t) => {
  t.same(container.at('args').value, ['serve', `${container.at('volumeMounts', 0, 'mountPath').text}/gateway.yaml`])
  t.equal(container.at('volumeMounts', 0, 'name').value, pod.at('spec', 'volumes', 0, 'name').value)
})

t.test('backends of gateway.yaml are discovered by Kubernetes in the namespace of the pod', async (t) => {
  const { backends } = parseOptions(gateway.gateway)
  t.ok(Object.keys(backends).length > 0)
  for (const [name, { discovery }] of Object.entries(backends)) t.match(discovery?.source, { kind: 'kubernetes', kubernetes: { service: name, port: 'http', namespace: undefined } })
})

t.test('the Role allows what discovery asks, and nothing else', async (t) => {
  t.same(one('Role').at('rules').value, [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] }])
  // what it asks: the double knows no other group and resource
  const double = await startKubernetes(t)
  const kubeconfig = await writeKubeconfig(t, { test: { server: double.url } })
  const wait = (_ms: number, signal: AbortSignal) => new Promise<void>((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason) }) })
  const provider = createKubernetes({ namespace: 'shop', service: 'orders', port: 'http', scheme: undefined, kubeconfig, context: undefined }, { sleep: wait, random: Math.random, now: () => performance.now(), warn: () => {} })
  const abort = new AbortController()
  await provider.resolve(abort.signal)
  const watch = provider.watch!(abort.signal)[Symbol.asyncIterator]()
  const next = watch.next()
  double.put({ name: 'orders-a', endpoints: [{ addresses: ['10.0.0.1'] }] }, 'shop')
  await next
  await watch.return?.()
  t.same([...new Set(double.requests.map(({ verb }) => verb))], one('Role').at('rules', 0, 'verbs').value)
})

t.test('a pod has the time to end that gateway.yaml grants', async (t) => {
  const { shutdown: { delay, timeout } } = parseOptions(gateway.gateway)
  t.ok(delay >= 5000, 'tables of addresses take some seconds')
  // 20 s are the command's own grace for hooks
  t.ok(pod.at('spec', 'terminationGracePeriodSeconds').number * 1000 > delay + timeout + 20_000)
})

t.test('containers have no rights that they do not need, and a share of the node', async (t) => {
  t.has(pod.at('spec', 'securityContext').value, { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } })
  t.same(container.at('securityContext').value, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })
  t.ok(container.at('resources', 'requests', 'cpu').text, 'the autoscaler measures by it')
  t.ok(container.at('resources', 'limits', 'memory').text)
})

t.test('the autoscaler starts from what the Deployment has, and a copy may always go', async (t) => {
  const scaler = one('HorizontalPodAutoscaler').at('spec')
  t.equal(scaler.at('minReplicas').number, deployment.at('spec', 'replicas').number)
  t.ok(scaler.at('maxReplicas').number > scaler.at('minReplicas').number)
  t.equal(scaler.at('metrics', 0, 'resource', 'name').value, 'cpu')
  t.equal(one('PodDisruptionBudget').at('spec', 'maxUnavailable').value, 1)
  t.ok(deployment.at('spec', 'replicas').number >= 2)
})

t.test('the image is built from files that are there and are sent to the builder', async (t) => {
  const dockerfile = await read('Dockerfile')
  const sent = (await read('Dockerfile.dockerignore')).split('\n').filter(line => line.startsWith('!')).map(line => line.slice(1))
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, names]) => names!.split(' '))
  for (const name of copied) {
    t.ok(existsSync(join(ROOT, name)), `${name} is there`)
    t.ok(sent.includes(name), `${name} is sent`)
  }
  t.same(sent.filter(name => !copied.includes(name)), [], 'and nothing else')
  const { include } = JSON.parse(await readFile(join(ROOT, 'tsconfig.build.json'), 'utf8')) as { include: string[] }
  t.same(include.filter(name => !copied.includes(name)), [], 'all that is compiled')
  t.match(dockerfile, /^USER \d+:\d+$/m)
  t.match(dockerfile, /^ENTRYPOINT \["node", "dist\/cli\/reverseproxy\.js"\]$/m)
  t.match(dockerfile, /^CMD \["serve", "\/etc\/reverseproxy\/gateway\.yaml"\]$/m)
})

t.test('compose: files are there, ports agree, names are services', async (t) => {
  const [compose] = await documents('compose.yaml')
  const services = compose!.at('services')
  const names = Object.keys(services.value as object)
  t.same(names, ['gateway', 'consul', 'orders-1', 'orders-2'])
  for (const name of names) {
    for (const { text } of services.at(name, 'volumes').list) t.ok(existsSync(join(DEPLOY, text.split(':')[0]!)), text)
  }
  t.ok(existsSync(join(DEPLOY, services.at('gateway', 'build', 'context').text, services.at('gateway', 'build', 'dockerfile').text)))

  const env = services.at('gateway', 'environment').value as Record<string, string>
  const { server, gateway } = parseConfigText(await read('compose/gateway.yaml'), { path: join(DEPLOY, 'compose/gateway.yaml'), env })
  t.same(services.at('gateway', 'ports').value, [`8080:${server.port}`])
  t.equal(server.host, '0.0.0.0')
  const { backends, shutdown: { delay, timeout } } = parseOptions(gateway)
  t.ok(Number.parseInt(services.at('gateway', 'stop_grace_period').text) * 1000 >= delay + timeout + 20_000)
  t.match(backends['orders']?.discovery?.source, { kind: 'consul', consul: { address: 'http://consul:8500', service: 'orders' } })

  const { services: registered } = JSON.parse(await read('compose/services.json')) as { services: Array<{ id: string, name: string, address: string, port: number, check: { http: string } }> }
  for (const { id, name, address, port, check } of registered) {
    t.equal(name, 'orders')
    t.equal(address, id)
    t.equal(check.http, `http://${address}:${port}/health`)
    t.equal(services.at(address, 'environment', 'PORT').value, String(port))
    t.equal(services.at(address, 'environment', 'NAME').value, address)
  }
})

t.test('the health check of compose asks whether the gateway is ready', async (t) => {
  const [compose] = await documents('compose.yaml')
  const [how, ...command] = compose!.at('services', 'gateway', 'healthcheck', 'test').list.map(({ text }) => text)
  t.same([how, command[0], command[1]], ['CMD', 'node', '-e'])
  const { server, gateway } = parseConfigText(await read('compose/gateway.yaml'), { path: join(DEPLOY, 'compose/gateway.yaml'), env: {} })
  const { ready } = parseOptions(gateway).probes!
  let status = 200
  const { port } = await httpUpstream(t, (request, response) => { response.writeHead(request.url === ready ? status : 404).end() })
  const script = command[2]!
  t.ok(script.includes(`127.0.0.1:${server.port}/`))
  const run = async (): Promise<unknown> => {
    const child = spawn(process.execPath, ['-e', script.replace(`:${server.port}/`, `:${port}/`)])
    const [code] = await once(child, 'exit')
    return code
  }
  t.equal(await run(), 0)
  status = 503
  t.equal(await run(), 1)
})

t.test('the small backend of compose answers and ends', async (t) => {
  const child = spawn(process.execPath, [join(DEPLOY, 'compose/backend.js')], { env: { NAME: 'one', PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data') as [Buffer]
  const port = /listens on (\d+)/.exec(line.toString())?.[1]
  const answer = await fetch(`http://127.0.0.1:${port}/orders?x=1`, { headers: { connection: 'close' } })
  t.same(await answer.json(), { from: 'one', method: 'GET', url: '/orders?x=1' })
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit') as [number | null]
  t.equal(code, 0)
})
