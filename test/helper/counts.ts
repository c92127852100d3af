/**
 * Many requests, and what became of them.
 */
import { Agent, request } from 'node:http'

/** Sends requests one after the other; counts bodies, or statuses other than 200. */
export async function askTimes (url: string, times: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let n = 0; n < times; n++) {
    const key = await new Promise<string>((resolve, reject) => {
      request(`${url}/x`, { agent }, answer => {
        const chunks: Buffer[] = []
        answer.on('data', (data: Buffer) => chunks.push(data))
        answer.on('end', () => { resolve(answer.statusCode === 200 ? Buffer.concat(chunks).toString() : String(answer.statusCode)) })
        answer.on('error', reject)
      }).on('error', reject).end()
    })
    counts[key] = (counts[key] ?? 0) + 1
  }
  agent.destroy()
  return counts
}
