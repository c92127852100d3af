/** Asks a composite once per version of its parts and compares, value by value: a wrong answer is not worth measuring. */
import { request } from 'node:http'
import { json } from 'node:stream/consumers'
import { createAnswers, versions } from './documents.js'

/**
 * One request after another, so that all parts of an answer are of the same version (see upstream.js).
 * @param {{ port: number, paths: string[], parts: import('./scenarios.js').Parts }} options
 * @returns {Promise<number>} Length of the answers' bodies.
 */
export async function checkAnswers ({ port, paths, parts }) {
  const lengths = new Set()
  for (const [version, expected] of createAnswers(parts).entries()) {
    const path = paths[Math.floor(version * (paths.length - 1) / (versions - 1))]
    const response = await get(port, path)
    const answer = await json(response)
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}: ${JSON.stringify(answer)}`)
    const where = difference(answer, expected)
    if (where !== undefined) throw new Error(`${path}: not the ${parts.strategy} of its parts, first at ${where}`)
    lengths.add(Number(response.headers['content-length']))
  }
  if (lengths.size !== 1) throw new Error(`bodies are not of one length but of ${[...lengths].join(', ')} bytes`)
  return [...lengths][0]
}

function get (port, path) {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, agent: false, headers: { 'accept-encoding': 'gzip, deflate, br' } }, resolve)
      .on('error', reject)
      .end()
  })
}

/** Where two JSON values differ first, as a path; undefined where they do not. */
function difference (a, b, path = '$') {
  if (a === b) return undefined
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return path
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    if (!Object.hasOwn(a, key) || !Object.hasOwn(b, key)) return `${path}.${key}`
    const found = difference(a[key], b[key], `${path}.${key}`)
    if (found !== undefined) return found
  }
  return undefined
}
