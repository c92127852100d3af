/**
 * Tenancy: whose request it is, and what holds for that tenant.
 */
export { createDirectory, type Directory, type DirectoryOptions } from './directory.ts'
export { createLabels, createLogId } from './labels.ts'
export type * from './types.ts'
export { createWho, describeSources, type Who } from './who.ts'
