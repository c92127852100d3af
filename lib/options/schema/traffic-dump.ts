/**
 * The traffic dump: which requests are written down, where, and what is left out of them.
 */
import { Type, type Static } from '@sinclair/typebox'
import { DEFAULTS } from '../defaults.ts'
import { duration, object, size, text } from './values.ts'

const { trafficDump: initial } = DEFAULTS

const rate = (options: { default?: number, description?: string } = {}) => Type.Number({ minimum: 0, maximum: 1, ...options })

const redactSchema = object({
  headers: Type.Optional(Type.Array(text('headerName'), { description: 'More headers whose values are left out.' })),
  query: Type.Optional(Type.Array(text('filled'), { description: 'More parameters of URLs and fields of forms.' })),
  json: Type.Optional(Type.Array(text('jsonPath'), { description: 'More values of JSON bodies: a name at any depth, or a way from the top such as customer.cards.number.' })),
  replaceDefaults: Type.Optional(Type.Boolean({ default: initial.redact.replaceDefaults, description: 'Whether only these are left out, and not what is secret by its name.' }))
}, { hints: { body: 'did you mean "json"?', cookies: 'cookies are always left out' }, description: 'What is left out besides what is secret by its name.' })

export const trafficDumpSchema = object({
  directory: text('filled', { description: 'Folder of the files; it is made when it is not there. In a file a relative one starts from the folder of the file.' }),
  sampleRate: Type.Optional(rate({ default: initial.sampleRate, description: 'Share of the requests that are written down: 1 all, 0 none.' })),
  routes: Type.Optional(Type.Record(Type.String(), rate(), { names: 'filled', description: 'The same for single routes, by name; those with 0 are never written down.' })),
  errorSampleRate: Type.Optional(rate({ default: initial.errorSampleRate, description: 'Share of those that are not sampled and end in a status of 500 or more, or break off.' })),
  maxBodySize: Type.Optional(size({ default: initial.maxBodySize, description: 'Most that is kept of each body; 0 leaves bodies out.' })),
  maxFileSize: Type.Optional(size({ minimum: 1, default: initial.maxFileSize, description: 'After so much another file begins.' })),
  maxFiles: Type.Optional(Type.Integer({ minimum: 1, default: initial.maxFiles, description: 'Most files in the folder; the oldest are removed.' })),
  interval: Type.Optional(duration({ minimum: 1, description: 'After so long another file begins: a part of a minute, an hour or a day, or whole days. Default: never for the time.' })),
  queue: Type.Optional(size({ minimum: 1, default: initial.queue, description: 'Most that waits to be written; what finds no room is dropped and counted.' })),
  clientAddress: Type.Optional(Type.Boolean({ default: initial.clientAddress, description: 'Whether lines tell the address of the client.' })),
  redact: Type.Optional(redactSchema)
}, {
  hints: { path: 'did you mean "directory"?', enabled: 'leave the option out to switch it off', rate: 'did you mean "sampleRate"?', maxSize: 'did you mean "maxFileSize"?' },
  description: 'Writes requests and their answers to files, as lines of JSON. Default: none.'
})
export type TrafficDumpOptions = Static<typeof trafficDumpSchema>
