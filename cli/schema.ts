/**
 * `reverseproxy schema`: the JSON Schema of configuration files.
 */
import { configFileSchema } from '../lib/json-schema.ts'

export async function printSchema (): Promise<number> {
  process.stdout.write(`${JSON.stringify(configFileSchema(), null, 2)}\n`)
  return 0
}
