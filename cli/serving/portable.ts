/**
 * A configuration on its way to another process: all that was read, functions excepted.
 *
 * Workers are handed the very configuration that was checked. One that starts later must not meet a file that somebody is
 * just editing.
 */
import type { ConfigFile } from '../../lib/config-file.ts'
import { parseOptions } from '../../lib/options/index.ts'
import { serverOptions } from '../../lib/server-options.ts'

/** For channels with `serialization: 'advanced'`. */
export type PortableFile = Omit<ConfigFile, 'config'>

export function toPortable ({ server, gateway, files }: ConfigFile): PortableFile {
  const fastify = Object.fromEntries(Object.entries(server.fastify).filter(([, value]) => typeof value !== 'function'))
  return { server: { ...server, fastify }, gateway, files }
}

export function fromPortable ({ server, gateway, files }: PortableFile): ConfigFile {
  const functions = Object.fromEntries(Object.entries(serverOptions).filter(([, value]) => typeof value === 'function'))
  return { server: { ...server, fastify: { ...functions, ...server.fastify } }, gateway, config: parseOptions(gateway), files }
}
