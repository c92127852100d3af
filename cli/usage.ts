/**
 * Wrong usage of the command line: the message is for the user, the exit code 2.
 */
export class UsageError extends Error {}
