/** What is read off a thing that was thrown. */

/** @returns the errno name of a system error. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** In words, for a person. Errors of several attempts to connect have no message of their own. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message || (errnoOf(error) ?? error.name) : String(error);
}
