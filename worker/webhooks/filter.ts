/** Which events a webhook wants. */
import type { EventKind } from '../../schemas/events.ts';

/** @param patterns kinds of events, `room.*` or `*`. */
export function wants(patterns: readonly string[], kind: EventKind): boolean {
  return patterns.some(
    (pattern) =>
      pattern === '*' || pattern === kind || (pattern.endsWith('.*') && kind.startsWith(pattern.slice(0, -1))),
  );
}
