/** Reading what an agent sent, in an order that leaves every agent with an answer it understands. */
import * as z from 'zod';
import { MAX_AGENT_MESSAGE_BYTES, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import { type Reply, type Report, reportSchema, versionProblem, versionSchema } from '../../schemas/wire.ts';
import type { ClusterState } from '../decide/index.ts';
import { utf8 } from './encoding.ts';
import { timingOf } from './timing.ts';

/** Who the sender has proven to be. */
export interface Sender {
  readonly node: string;
  readonly incarnation: string;
}

export type ReadReport =
  | { readonly kind: 'report'; readonly report: Report }
  /** From a release too far from this one, whose reports may look otherwise: told apart before anything else is judged. */
  | { readonly kind: 'version-unsupported'; readonly id: string | null; readonly detail: string }
  | { readonly kind: 'malformed'; readonly id: string | null; readonly detail: string };

const envelopeSchema = z.object({ version: versionSchema });
const idSchema = z.object({ id: reportSchema.shape.id });

/** Reads one report of `sender`. */
export function readReport(text: string, sender: Sender): ReadReport {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { kind: 'malformed', id: null, detail: `not JSON: ${error instanceof Error ? error.message : error}` };
  }
  const id = idSchema.safeParse(value).data?.id ?? null;
  const envelope = envelopeSchema.safeParse(value);
  const unsupported = envelope.success ? versionProblem(envelope.data.version) : undefined;
  if (unsupported !== undefined) return { kind: 'version-unsupported', id, detail: unsupported };
  const parsed = reportSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return {
      kind: 'malformed',
      id,
      detail: `${issue?.path.join('.') || 'report'}: ${issue?.message ?? 'not a report'}`,
    };
  }
  const report = parsed.data;
  if (report.node !== sender.node || report.incarnation !== sender.incarnation) {
    return {
      kind: 'malformed',
      id,
      detail: `the report is of ${report.node} (${report.incarnation}), the signature of ${sender.node} (${sender.incarnation})`,
    };
  }
  return { kind: 'report', report };
}

export function isTooLarge(text: string): boolean {
  if (text.length > MAX_AGENT_MESSAGE_BYTES) return true;
  return text.length * 3 > MAX_AGENT_MESSAGE_BYTES && utf8(text).byteLength > MAX_AGENT_MESSAGE_BYTES;
}

/** The reply to a report that was not understood: it extends nothing and tells nothing. */
export function problemReply(state: ClusterState, id: string, problem: NonNullable<Reply['problem']>): Reply {
  return {
    type: 'reply',
    version: [PROTOCOL_MAJOR, PROTOCOL_MINOR],
    id,
    history: state.durable.history,
    instance: state.volatile.instance,
    generation: state.durable.generation,
    problem,
    renewInMs: timingOf(state).renewMs,
    leases: [],
    grants: [],
    refused: [],
    observed: [],
  };
}
