import type { ProblemCode, ProblemError } from '../../schemas/api.ts';

/** Why a request was not done; the routes render it as a problem document. */
export interface Refused {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly errors?: readonly ProblemError[];
}

/** What a call of the object answers. Exceptions lose their class on the way through RPC, so refusals travel as values. */
export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: Refused };

export function done<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function refuse(code: ProblemCode, detail: string): { readonly ok: false; readonly problem: Refused } {
  return { ok: false, problem: { code, detail } };
}
