/**
 * Replicated data (DRBD): which node's copy has everything that was written, by the word of the nodes. Pure.
 *
 * Who was Primary last knows who has kept up with it. Its last word counts until another node is Primary, also after its death: a
 * peer that it had lost lacks writes, whatever that peer believes of itself. Where it is `guarded`, DRBD writes nothing without a
 * peer before that word is stored here, so the word is never too old.
 */
import type { GroupConfig, ResourceDeclaration } from '../../schemas/config.ts';
import { type Copy, diverged, isCurrent, peerOf, wasPrimary } from '../../schemas/copies.ts';
import type { Reason } from '../../schemas/reasons.ts';
import type { Report } from '../../schemas/wire.ts';
import { event } from './outcome.ts';
import { withGroup, withNode } from './records.ts';
import type { ClusterState, Effect, GroupRecord, Outcome } from './state.ts';

type Replicated = Extract<ResourceDeclaration, { type: 'drbd' }>;

/** Of a copy whose peers are connected and have everything: between two entries of `prefer` and two places in `on`. */
const IN_SYNC = 50;

const known = new WeakMap<GroupConfig, readonly Replicated[]>();

/** The replicated resources of a group. Most have none, and every node is judged for every group. */
function replicatedOf(config: GroupConfig): readonly Replicated[] {
  let found = known.get(config);
  if (found === undefined) {
    found = config.resources.filter((resource): resource is Replicated => resource.type === 'drbd');
    known.set(config, found);
  }
  return found;
}

function copyOf(state: ClusterState, node: string, group: string, { id, resource }: Replicated): Copy | undefined {
  const record = state.durable.nodes[node];
  if (record === undefined || record.removed) return undefined;
  return record.copies?.find((copy) => copy.group === group && copy.resource === id && copy.name === resource);
}

/** What of the data speaks against a node. With `target.acceptsLoss` an operator has taken what newer writes there may be upon himself. */
export function objectionsByCopy(state: ClusterState, group: GroupRecord, node: string): Reason[] {
  const config = state.durable.config?.groups[group.name];
  if (config === undefined) return [];
  const accepted = group.target?.node === node && group.target.acceptsLoss === true;
  return replicatedOf(config).flatMap((replicated) => {
    const against = objection(state, group, node, replicated, accepted);
    return against === undefined ? [] : [against];
  });
}

function objection(
  state: ClusterState,
  { name: group, writer }: GroupRecord,
  node: string,
  replicated: Replicated,
  accepted: boolean,
): Reason | undefined {
  const resource = replicated.id;
  const copy = copyOf(state, node, group, replicated);
  if (copy === undefined) return { rule: 'copy-unknown', resource };
  const { disk } = copy;
  if (disk !== 'UpToDate' && disk !== 'Consistent')
    return { rule: 'copy-unfit', resource, disk, ...withDetail(copy.problem ?? nextStep(copy, node, writer)) };
  if (accepted) return undefined;
  const last = writer == null || writer === node ? undefined : copyOf(state, writer, group, replicated);
  if (last !== undefined && writer != null && haveDiverged(copy, last))
    return {
      rule: 'split-brain',
      resource,
      name: copy.name,
      other: writer,
      detail: bothSides(node, copy, writer, last),
    };
  const seen = last === undefined ? undefined : peerOf(last, copy.host);
  if (last !== undefined && writer != null && (seen === undefined || !isCurrent(seen))) {
    const { connection, disk: seenAs } = seen ?? { connection: 'not configured', disk: 'DUnknown' };
    return { rule: 'copy-behind', resource, owner: writer, connection, disk: seenAs };
  }
  if (disk === 'UpToDate' || writer === node || last?.guarded === true) return undefined;
  const detail = 'it is complete if no peer has gone on without it, which shows when a peer is connected';
  return { rule: 'copy-unfit', resource, disk, ...withDetail(copy.problem ?? detail) };
}

const withDetail = (detail: string | undefined) => (detail === undefined ? {} : { detail });

function nextStep({ disk, name, peers }: Copy, node: string, writer: string | null | undefined): string | undefined {
  if (disk === 'Inconsistent' && peers.some(({ disk: theirs }) => theirs === 'UpToDate'))
    return 'it is being synchronised';
  if (disk === 'Inconsistent' && writer != null && writer !== node)
    return `it was being synchronised, and goes on when ${writer} is back, which wrote last`;
  if (disk === 'Inconsistent')
    return `no copy is complete yet; on the node whose data counts, once: \`drbdadm primary --force ${name}\` and \`drbdadm secondary ${name}\``;
  if (disk === 'Outdated') return 'it has missed writes; it catches up when its peer is connected';
  if (disk === 'Diskless' || disk === 'Failed')
    return `its disk is gone; when it is mended: \`drbdadm attach ${name}\``;
  return undefined;
}

/** How well the worst of its copies is backed by others. */
export function inFavourByCopy(state: ClusterState, group: GroupRecord, node: string): Reason[] {
  const config = state.durable.config?.groups[group.name];
  if (config === undefined) return [];
  let worst: Extract<Reason, { rule: 'copy' }> | undefined;
  for (const replicated of replicatedOf(config)) {
    const copy = copyOf(state, node, group.name, replicated);
    if (copy === undefined) continue;
    const replicas = copy.peers.filter(isCurrent).length;
    if (worst !== undefined && worst.replicas <= replicas) continue;
    worst = { rule: 'copy', resource: replicated.id, disk: copy.disk, replicas, weight: replicas > 0 ? IN_SYNC : 0 };
  }
  return worst === undefined ? [] : [worst];
}

/** Is all stored that this owner would tell of the group's data? Then its Primary may go on without the peers that it has lost. */
export function copiesStored(state: ClusterState, group: string, node: string): boolean {
  const config = state.durable.config?.groups[group];
  const replicated = config === undefined ? [] : replicatedOf(config);
  return replicated.length > 0 && replicated.every((one) => copyOf(state, node, group, one) !== undefined);
}

/** What a node tells of its copies, and with it who is or was Primary. */
export function onCopies(before: ClusterState, report: Report, now: number): Outcome {
  const record = before.durable.nodes[report.node];
  if (report.copies === undefined || record === undefined) return { state: before, effects: [] };
  const was = record.copies ?? [];
  const copies = JSON.stringify(was) === JSON.stringify(report.copies) ? was : report.copies;
  let state = copies === was ? before : withNode(before, { ...record, copies });
  const effects: Effect[] = [];
  for (const copy of copies) {
    const group = state.durable.groups[copy.group];
    const { lease } = group ?? {};
    const owns =
      lease != null && !lease.released && lease.owner === report.node && lease.incarnation === report.incarnation;
    if (group !== undefined && owns && writes(copy) && group.writer !== report.node)
      state = withGroup(state, { ...group, writer: report.node });
    if (copies !== was) effects.push(...news(before, state, report.node, copy, now));
  }
  return { state, effects };
}

/** `Promoting`: its agent is about to make it Primary, which the kernel may do before anything is told again. */
const writes = ({ role }: Copy): boolean => role === 'Primary' || role === 'Promoting';

function news(before: ClusterState, after: ClusterState, node: string, copy: Copy, now: number): Effect[] {
  const same = (other: Copy) => other.group === copy.group && other.resource === copy.resource;
  const old = before.durable.nodes[node]?.copies?.find(same);
  const about = { node, group: copy.group, resource: copy.resource };
  const effects: Effect[] = [];
  const { disk } = copy;
  if (disk !== old?.disk && (old !== undefined || disk !== 'UpToDate')) {
    const peers = copy.peers.map((peer) => `${peer.host} ${peer.connection}, ${peer.disk}`).join('; ');
    const detail = `${copy.name} is ${disk}${old === undefined ? '' : `, it was ${old.disk}`}; peers: ${peers || 'none'}`;
    const current = disk === 'UpToDate';
    effects.push(
      event(now, {
        kind: current ? 'copy.current' : 'copy.behind',
        severity: current ? 'info' : 'warning',
        ...about,
        detail,
      }),
    );
  }
  for (const other of Object.values(after.durable.nodes)) {
    const theirs = other.name === node || other.removed ? undefined : other.copies?.find(same);
    if (theirs === undefined || !haveDiverged(copy, theirs)) continue;
    if (old !== undefined && haveDiverged(old, theirs)) continue;
    const detail = `split brain: ${bothSides(node, copy, other.name, theirs)}; nothing is thrown away by itself, \`holdfast drbd resolve-split-brain ${copy.name}\` on the node whose writes may be lost`;
    effects.push(event(now, { kind: 'copy.split-brain', severity: 'error', ...about, detail }));
  }
  return effects;
}

/** By DRBD's own word where it has one, else by the generations of both. Connected copies have settled it between them. */
function haveDiverged(one: Copy, other: Copy): boolean {
  const seen = [peerOf(one, other.host), peerOf(other, one.host)];
  if (seen.some((peer) => peer?.connection === 'Connected')) return false;
  return seen.some((peer) => peer?.splitBrain === true) || diverged(one, other) === true;
}

function bothSides(node: string, copy: Copy, other: string, theirs: Copy): string {
  return `${side(node, copy, theirs.host)}; ${side(other, theirs, copy.host)}`;
}

function side(node: string, copy: Copy, other: string): string {
  const behind = peerOf(copy, other)?.behindKiB;
  const generation = copy.generation?.split(':').slice(0, 2).join(':');
  return [
    `${node} is ${copy.role}, ${copy.disk}`,
    ...(wasPrimary(copy) === true && copy.role !== 'Primary' ? ['was Primary when it last wrote'] : []),
    ...(generation === undefined ? [] : [`generation ${generation}`]),
    ...(behind === undefined ? [] : [`${behind} KiB written since they parted`]),
  ].join(', ');
}
