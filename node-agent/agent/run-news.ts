/** What a runner tells of its resources as it happens. Pure, as run.ts. */
import type { Severity } from '../resources/index.ts';
import type { RunEffect, RunNews, RunResource } from './run-state.ts';

export interface Failure {
  readonly severity: Severity;
  readonly reason: string;
  readonly output?: string | undefined;
}

/** Characters of a reason, in an event and in a release. */
export const MAX_REASON = 1_900;
/** Characters of what was printed, in an event. */
const MAX_OUTPUT = 1_000;

export const news = (
  kind: RunNews['kind'],
  severity: RunNews['severity'],
  resource: string,
  detail: string,
): RunEffect => ({ kind: 'event', event: { kind, severity, resource, detail } });

export const recovered = (id: string) => news('resource.recovered', 'info', id, 'is well again');

export function tell(resource: RunResource, failure: Failure): RunEffect[] {
  return resource.told ? [] : [news('resource.failed', 'error', resource.id, inFull(failure))];
}

/** With the end of what was printed: there the cause stands. */
export function inFull({ reason, output = '' }: Failure): string {
  return (output.trim() === '' ? reason : `${reason}\n${output.trim().slice(-MAX_OUTPUT)}`).slice(0, MAX_REASON);
}

/** A reason with the action that failed in front, where that does not say so itself. */
export function during(action: string, reason: string): string {
  return reason.startsWith(`${action}:`) ? reason : `${action}: ${reason}`;
}
