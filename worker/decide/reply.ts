/** The answer to a report: the verdicts on it, and what the node must know of everything else. */
import { PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../../schemas/limits.ts';
import {
  type NodeConfig,
  nodeGroups,
  type Observation,
  type Renewals,
  type Reply,
  type Report,
} from '../../schemas/wire.ts';
import { freeAtOnce, takeoverMs, timingOf, waitOrigin } from './lease.ts';
import { startBar } from './pause.ts';
import { peersOf } from './peers.ts';
import { chosen, rank } from './placement.ts';
import { unmet } from './rules.ts';
import type { ClusterState, GroupRecord, Verdicts } from './state.ts';

/** Built after the commit that the report was gathered into, so that every node learns of the same renewals. */
export function buildReply(state: ClusterState, report: Report, verdicts: Verdicts, now: number): Reply {
  const reply: Reply = {
    type: 'reply',
    version: [PROTOCOL_MAJOR, PROTOCOL_MINOR],
    id: report.id,
    history: state.durable.history,
    instance: state.volatile.instance,
    generation: state.durable.generation,
    renewInMs: nextRenewalMs(timingOf(state).renewMs, now),
    leases: [...verdicts.leases],
    grants: [...verdicts.grants],
    refused: [...verdicts.refused],
    observed: [],
  };
  if (verdicts.problem !== undefined) return { ...reply, problem: verdicts.problem };
  reply.observed = observations(state, report, now);
  // Also with the first report to this instance: after a restore the numbers of revisions repeat.
  if (report.revision !== state.durable.revision || report.epochs !== undefined)
    reply.config = configFor(state, report.node);
  const peers = peersOf(state, report.node);
  if (report.peers !== peers.version) reply.peers = peers;
  // a report of an incarnation that is over may have come in between, and was taken for this one's successor
  if (state.volatile.nodes[report.node]?.epochsKnown === false) reply.tellEpochs = true;
  return reply;
}

/** The newest renewals of these groups, as far as they concern a node that does not own them. */
export function newestRenewals(state: ClusterState, groups: readonly string[], node: string): Renewals['renewals'] {
  return groups.flatMap((name) => {
    const lease = state.durable.groups[name]?.lease ?? null;
    const concerned = lease?.owner !== node && (state.durable.config?.groups[name]?.on.includes(node) ?? false);
    const origin = concerned ? waitOrigin(lease, state.volatile.renewals[name]) : null;
    return origin === null ? [] : [{ group: name, renewal: origin.id }];
  });
}

/** All nodes are asked to report at the same multiple of the renewal interval, so that one row serves them all. */
function nextRenewalMs(renewMs: number, now: number): number {
  const wait = renewMs - (now % renewMs);
  return wait < renewMs / 4 ? wait + renewMs : wait;
}

function configFor(state: ClusterState, node: string): NodeConfig {
  const { config, revision } = state.durable;
  return { revision, timing: timingOf(state), groups: config === null ? [] : nodeGroups(config, node) };
}

function observations(state: ClusterState, report: Report, now: number): Observation[] {
  const renewed = new Set(report.leases.map((lease) => lease.group));
  const seen: Observation[] = [];
  for (const config of Object.values(state.durable.config?.groups ?? {})) {
    const group = state.durable.groups[config.name];
    if (group === undefined || !config.on.includes(report.node) || renewed.has(config.name)) continue;
    const origin = waitOrigin(group.lease, state.volatile.renewals[config.name]);
    seen.push({
      group: config.name,
      renewal: origin?.id ?? null,
      claim: mayClaim(state, group, report, now),
      released: group.lease?.released === true ? group.lease.epoch : null,
      waitMs: group.lease === null ? 0 : takeoverMs(group.lease, timingOf(state)),
    });
  }
  return seen;
}

function mayClaim(state: ClusterState, group: GroupRecord, report: Report, now: number): Observation['claim'] {
  if (group.desired === 'stopped' || state.durable.restored !== null) return 'never';
  if (startBar(state, group, now) !== undefined) return 'never';
  const { lease } = group;
  const own =
    lease !== null && !lease.released && lease.owner === report.node && lease.incarnation === report.incarnation;
  if (own) return lease.provenDeadAt === null && chosen(rank(state, group, now)) === report.node ? 'now' : 'never';
  if (unmet(state, group.name, now).length > 0) return 'never';
  if (chosen(rank(state, group, now, { exceptOwner: true })) !== report.node) return 'never';
  return freeAtOnce(lease) ? 'now' : 'after';
}
