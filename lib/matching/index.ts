/**
 * Conditions of routes beyond path and method.
 */
export { CONSTRAINT, createConstraintStrategy, type ConstraintStrategy, type RequestConstraint } from './constraint.ts'
export { groupRoutes, type RouteEntry, type RouteGroup } from './groups.ts'
export { hostOf, normalizeHost } from './host.ts'
export { createMatcher, type Matcher } from './matcher.ts'
export { pathShape, type PathShape } from './path-shape.ts'
export { queryValues } from './query.ts'
export type { Select } from './selector.ts'
export { canOverlap, compareSpecificity } from './specificity.ts'
