/** What a node knows by itself, for `holdfast status` when the coordinator does not answer. */
import type { Fuse } from '../../schemas/fuse.ts';
import { bootMs } from '../system/index.ts';
import type { Groups } from './groups.ts';
import type { KeepState } from './keep.ts';
import { livesOnPromises } from './keep-lease.ts';
import type { Transport } from './transport.ts';

interface Known {
  readonly keep: KeepState;
  readonly cluster: string;
  readonly transport: Pick<Transport, 'way' | 'trouble'>;
  readonly fuse: Fuse;
  /** By node, how long ago it was last heard on the LAN; null: never. */
  readonly peersHeardMs: Readonly<Record<string, number | null>>;
  readonly groups: Pick<Groups, 'all' | 'refusalsOf'>;
}

/** @returns a document of the schema `holdfast/local-status/v1`; times in ms. */
export function localStatus({ keep, cluster, transport, fuse, peersHeardMs, groups }: Known): Record<string, unknown> {
  const nowMs = bootMs();
  return {
    schema: 'holdfast/local-status/v1',
    node: keep.node,
    cluster,
    incarnation: keep.incarnation,
    revision: keep.revision,
    connected: keep.unanswered <= 1,
    coordinator: { lastAnswerMs: nowMs - keep.lastAnswerMs, way: transport.way, trouble: transport.trouble },
    quarantineMs: Math.max(0, keep.quarantineEndMs - nowMs),
    fuse,
    peersHeardMs,
    groups: groups.all().map((group) => {
      const held = keep.held[group.name];
      return {
        ...group.report(),
        phase: held?.phase ?? null,
        leaseRemainingMs: held === undefined ? null : held.deadlineMs - nowMs,
        voters: held?.voters.names ?? [],
        livesOnPromises: held !== undefined && livesOnPromises(keep, held, nowMs),
        refusals: groups.refusalsOf(group.name),
        copies: group.copies,
      };
    }),
  };
}
