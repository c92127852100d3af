/**
 * Paths and queries on their way to a backend: the guard, the rewriting, the joining.
 */
export { isSafePath, pathProblem } from './guard.ts'
export { createRewrite, joinPath, type Rewrite } from './rewrite.ts'
export { templateParams, type Params } from './template.ts'
