/** How far the long actions of operators have come, and how they end: judged from what is so, not from what was sent. */
import { isServed, type Operation } from '../../schemas/api.ts';
import { reasonText } from '../../schemas/reasons.ts';
import { objection, showGroup, waits } from './explain.ts';
import { holder } from './lease.ts';
import { lostSince } from './liveness.ts';
import { mayLiveOn } from './outage.ts';
import { event } from './outcome.ts';
import { handsOff, maintenance, startBar } from './pause.ts';
import { rank } from './placement.ts';
import { iso, withDurable, withoutKeys } from './records.ts';
import { staysFor } from './release.ts';
import type { ClusterState, Effect, GroupRecord, Outcome, Pause } from './state.ts';
import { keptOut } from './voters.ts';

export function endOperations(before: ClusterState, now: number): Outcome {
  let operations = before.durable.operations;
  const effects: Effect[] = [];
  for (const operation of Object.values(operations)) {
    const next = advance(before, operation, now);
    if (next.state === operation.state && next.progress === operation.progress) continue;
    if (next.state === 'running') {
      operations = { ...operations, [operation.id]: next };
      continue;
    }
    const done: Operation = { ...next, finishedAt: iso(now) };
    operations = withoutKeys(operations, [operation.id]);
    effects.push({ kind: 'operation', operation: done });
    effects.push(
      event(now, {
        kind: 'operation.finished',
        severity: done.state === 'failed' ? 'error' : 'info',
        group: operation.group ?? undefined,
        node: operation.node ?? undefined,
        detail: `${operation.kind} ${done.state}: ${done.progress} (${operation.id})`,
      }),
    );
  }
  if (operations === before.durable.operations) return { state: before, effects };
  return { state: withDurable(before, { operations }), effects };
}

/** How far an operation has come, judged from what is so, not from what was sent. */
function advance(state: ClusterState, operation: Operation, now: number): Operation {
  const ended = (outcome: 'succeeded' | 'failed', progress: string): Operation => ({
    ...operation,
    state: outcome,
    progress,
  });
  if (operation.kind === 'standby') {
    if (state.durable.nodes[operation.node ?? '']?.mode !== 'standby')
      return ended('failed', 'the node was made ready again meanwhile');
    const left = Object.values(state.durable.groups).filter((group) => holder(state, group, now) === operation.node);
    if (left.length === 0) return ended('succeeded', `${operation.node} runs nothing`);
    const resting = maintenance(state, operation.node ?? '', now);
    return resting !== null
      ? { ...operation, progress: restingText(operation.node ?? '', resting) }
      : { ...operation, progress: `waiting for ${left.map((group) => heldText(state, group, now)).join(', ')}` };
  }
  const group = state.durable.groups[operation.group ?? ''];
  if (group === undefined || state.durable.config?.groups[group.name] === undefined) {
    return operation.kind === 'stop'
      ? ended('succeeded', 'the group is gone')
      : ended('failed', 'the group is no longer in the configuration');
  }
  const owner = holder(state, group, now);
  const kept = handsOff(state, group, now);
  const going = (progress: string): Operation => ({
    ...operation,
    progress: kept === undefined ? progress : `waiting: ${reasonText(kept, { group: group.name })}`,
  });
  switch (operation.kind) {
    case 'stop':
      if (group.desired === 'started') return ended('failed', 'the group was started again meanwhile');
      if (owner !== undefined) return going(`${owner} is stopping it`);
      return (
        unheardOwner(state, group, now, going, (why) => ended('failed', why)) ??
        ended('succeeded', `${stoppedText(group)}${takenAlong(state, group)}`)
      );
    case 'start':
      if (group.desired === 'stopped') return ended('failed', 'the group was stopped again meanwhile');
      if (isServed(group.shown)) return ended('succeeded', `${runsText(group)} on ${owner}`);
      if (group.shown === 'failed') return ended('failed', failedText(state, group, now));
      return going(owner === undefined ? takerText(state, group, now) : `${owner} is starting it`);
    case 'move':
      if (owner === operation.node) {
        if (isServed(group.shown)) return ended('succeeded', `${runsText(group)} on ${owner}${takenByForce(group)}`);
        return going(`${owner} is starting it`);
      }
      if (group.target?.operation !== operation.id)
        return ended(
          'failed',
          owner === undefined
            ? `${operation.node} can no longer take it`
            : `${operation.node} could not take it; ${owner} has it`,
        );
      return going(
        owner === undefined ? arrivalText(state, group, operation, now) : departureText(state, group, owner, now),
      );
    default:
      return operation.kind satisfies never;
  }
}

/** Of an owner whose lease has expired, and who may live on promises: what is known of it. Undefined: it does not run the group any more. */
function unheardOwner(
  state: ClusterState,
  group: GroupRecord,
  now: number,
  going: (progress: string) => Operation,
  failed: (why: string) => Operation,
): Operation | undefined {
  const { lease } = group;
  if (lease === null || !mayLiveOn(state, group)) return undefined;
  const voters = keptOut(state, group, now);
  if (voters.length > 0)
    return going(
      `${lease.owner} has to hear of it: it runs the group, unheard, by the promise of ${voters.join(', ')}`,
    );
  // it would need the promise of every voter, and one that reports would say so
  const tells = lease.voters.names.some((node) => node !== lease.owner && lostSince(state, node, now) === undefined);
  if (tells) return undefined;
  return failed(
    `nobody knows whether it is down: ${lease.owner} is not heard of, nor any other voter, and may run it on; when it is off: \`holdfast confirm-dead ${lease.owner}\``,
  );
}

function arrivalText(state: ClusterState, group: GroupRecord, { node }: Operation, now: number): string {
  const first = waits(state, group.name, now);
  return first.length === 0 ? `waiting for ${node} to take it` : first.map((reason) => reasonText(reason)).join('; ');
}

function departureText(state: ClusterState, group: GroupRecord, owner: string, now: number): string {
  const others = staysFor(state, group.name, now);
  const first = others.length === 0 ? '' : `, after ${others.join(', ')}`;
  return `waiting for ${owner} to stop and release${first}`;
}

/** How a group came to its stop: an owner that lost its lease did not release in order. */
function stoppedText({ lease }: GroupRecord): string {
  if (lease === null) return 'stopped; it never ran';
  if (lease.released) return lease.forced === true ? byForce(lease.owner, 'forced') : 'stopped and released';
  return byForce(lease.owner, lease.provenDeadAt === null ? 'lease-expired' : 'declared-dead');
}

/** What runs with a group that is stopped on purpose cannot go on without it. */
function takenAlong(state: ClusterState, { name }: GroupRecord): string {
  const wanted = followers(state, name).filter((other) => state.durable.groups[other]?.desired === 'started');
  return wanted.length === 0 ? '' : `; down with it: ${[...new Set(wanted)].join(', ')}`;
}

/** No circle: a document with one is refused. */
function followers(state: ClusterState, name: string): string[] {
  const direct = Object.values(state.durable.config?.groups ?? {}).filter((other) => other.with.includes(name));
  return direct.flatMap((other) => [other.name, ...followers(state, other.name)]);
}

/** Of a move that has arrived: nothing, unless the lease before was not released in order. */
function takenByForce({ lease }: GroupRecord): string {
  const before = lease?.before;
  return before === undefined || before.how === 'released' ? '' : `, taken over ${byForce(before.owner, before.how)}`;
}

function byForce(owner: string, how: 'forced' | 'lease-expired' | 'declared-dead'): string {
  switch (how) {
    case 'forced':
      return `by force: ${owner} lost its lease`;
    case 'lease-expired':
      return `by force: the lease of ${owner} ran out`;
    case 'declared-dead':
      return `by force: ${owner} was declared dead`;
    default:
      return how satisfies never;
  }
}

function runsText({ shown }: GroupRecord): string {
  return shown === 'degraded' ? 'runs degraded' : 'runs';
}

/** A word of `ready` alone would end the standby as well. */
function restingText(node: string, { until, reason }: Pause): string {
  return `it begins when the maintenance of ${node} is over, ${iso(until)} (${reason}); at once: \`holdfast node ready ${node} && holdfast node standby ${node}\``;
}

/** A group that a node still has, with what keeps it from leaving. */
function heldText(state: ClusterState, group: GroupRecord, now: number): string {
  const kept = handsOff(state, group, now);
  return kept === undefined ? group.name : `${group.name} (${reasonText(kept, { group: group.name })})`;
}

function failedText(state: ClusterState, group: GroupRecord, now: number): string {
  const bar = handsOff(state, group, now) ?? startBar(state, group, now);
  if (bar !== undefined) return reasonText(bar, { group: group.name });
  return `no node is left that could run it: ${objection(rank(state, group, now, { exceptOwner: true }), group.name)}`;
}

/** Who is to take a group that nobody has, or why nobody can. */
function takerText(state: ClusterState, group: GroupRecord, now: number): string {
  const { state: shown, reason } = showGroup(state, group, now);
  if (shown !== 'waiting' || reason === undefined) return 'waiting for a node to take it';
  const noNode = state.durable.restored === null && waits(state, group.name, now).length === 0;
  return noNode ? `no node can take it: ${reason}` : reason;
}
