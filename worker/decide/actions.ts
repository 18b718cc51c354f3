/** What people ask for, and how it is done for groups. Each is refused whole or done whole. */
import { isServed } from '../../schemas/api.ts';
import type { Config } from '../../schemas/config.ts';
import { namesOffered } from '../../schemas/names.ts';
import { type Reason, reasonText } from '../../schemas/reasons.ts';
import { onCancel } from './cancel.ts';
import { objection, waits } from './explain.ts';
import { unreported } from './history.ts';
import { holder } from './lease.ts';
import { onConfirmDead, onEnrol, onReady, onRekey, onRemove, onStandby } from './node-actions.ts';
import { event, refuse, unknownGroup, unknownNode } from './outcome.ts';
import { firstStep, handsOff, startBar } from './pause.ts';
import { onMaintenance, onPause, onResume } from './pause-actions.ts';
import { objections, rank } from './placement.ts';
import { newGroup, withDurable, withGroup, withOperation, withVolatile } from './records.ts';
import { insteadOf } from './rules.ts';
import type { ClusterState, CoordinatorEvent, GroupRecord, NodeRecord, Outcome } from './state.ts';

type Action = Exclude<CoordinatorEvent, { type: 'report' | 'tick' | 'late' }>;

export function onAction(state: ClusterState, action: Action, now: number): Outcome {
  switch (action.type) {
    case 'apply':
      return onApply(state, action.config, now);
    case 'enrol':
      return onEnrol(state, action.node, action.publicKey, now);
    case 'rekey':
      return withJoinedNode(state, action.node, (node) => onRekey(state, node, action.publicKey, now));
    case 'move':
      return withKnownGroup(state, action.group, (group) => onMove(state, group, action, now));
    case 'group-stop':
    case 'group-start':
      return withKnownGroup(state, action.group, (group) => onDesired(state, group, action, now));
    case 'cleanup':
      return onCleanup(state, action.group, now);
    case 'pause':
      return onPause(state, action, now);
    case 'resume':
      return onResume(state, action, now);
    case 'node-maintenance':
      return withJoinedNode(state, action.node, (node) => onMaintenance(state, node, action, now));
    case 'node-standby':
      return withJoinedNode(state, action.node, (node) => onStandby(state, node, action.operation, now));
    case 'node-ready':
      return withJoinedNode(state, action.node, (node) => onReady(state, node, now));
    case 'node-remove':
      return withJoinedNode(state, action.node, (node) => onRemove(state, node, action.force, now));
    case 'confirm-dead':
      return withNodeOnRecord(state, action.node, (node) => onConfirmDead(state, node, now));
    case 'confirm-history':
      return onConfirmHistory(state, now);
    case 'cancel':
      return onCancel(state, action.operation, now);
    default:
      return action satisfies never;
  }
}

function withKnownGroup(state: ClusterState, name: string, act: (group: GroupRecord) => Outcome): Outcome {
  const group = state.durable.groups[name];
  if (group === undefined || state.durable.config?.groups[name] === undefined) return unknownGroup(state, name);
  return act(group);
}

function withJoinedNode(state: ClusterState, name: string, act: (node: NodeRecord) => Outcome): Outcome {
  return withNodeOnRecord(state, name, (node) => (node.removed ? unknownNode(state, name) : act(node)));
}

/** Also one that was taken out: what it held is remembered under its name. */
function withNodeOnRecord(state: ClusterState, name: string, act: (node: NodeRecord) => Outcome): Outcome {
  const node = state.durable.nodes[name];
  return node === undefined ? unknownNode(state, name) : act(node);
}

/** What has to be ended before an operator can have the group started or stopped. */
function inTheWay(state: ClusterState, group: GroupRecord, now: number): string | undefined {
  const reason = handsOff(state, group, now) ?? startBar(state, group, now);
  return reason === undefined ? undefined : firstStep(group.name, reason);
}

function onApply(state: ClusterState, config: Config, now: number): Outcome {
  const groups: Record<string, GroupRecord> = { ...state.durable.groups };
  for (const name of Object.keys(config.groups)) groups[name] ??= newGroup(name, now);
  const revision = state.durable.revision + 1;
  return {
    state: withDurable(state, { config, revision, groups }),
    effects: [
      event(now, {
        kind: 'config.applied',
        detail: `revision ${revision}: ${count(Object.keys(config.groups).length, 'group')} on ${count(config.nodes.length, 'node')}`,
      }),
    ],
  };
}

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`;

function onMove(
  state: ClusterState,
  group: GroupRecord,
  { to, operation: id, acceptsLoss }: Extract<Action, { type: 'move' }>,
  now: number,
): Outcome {
  const owner = holder(state, group, now);
  const first = inTheWay(state, group, now);
  if (first !== undefined) return refuse(state, 'not-possible', first);
  if (group.desired === 'stopped')
    return refuse(state, 'not-possible', `${group.name} is stopped; \`holdfast group start ${group.name}\` first`);
  if (group.target !== null)
    return refuse(
      state,
      'not-possible',
      `${group.name} is already being moved to ${group.target.node} (operation ${group.target.operation})`,
    );
  const missing = owner === undefined ? [] : waits(state, group.name, now);
  if (missing.length > 0)
    return refuse(
      state,
      'not-possible',
      `${group.name} could not start anywhere else: it ${missing.map((reason) => reasonText(reason)).join('; ')}`,
    );
  const others = rank(state, { ...group, target: null }, now, { asked: true }).filter(({ node }) => node !== owner);
  const target = to ?? others.find((candidate) => candidate.eligible)?.node;
  if (target === undefined) {
    const why = objection(others, group.name);
    return refuse(
      state,
      'not-possible',
      `no other node can take ${group.name}: ${others.length === 0 ? 'its `on` list names only its owner' : why}${instead(others[0]?.reasons, to)}`,
    );
  }
  const nodes = state.durable.config?.nodes ?? [];
  if (!nodes.includes(target))
    return refuse(state, 'node-unknown', `no node ${target} in the configuration${namesOffered(target, nodes)}`);
  if (acceptsLoss === true && owner !== undefined && target !== owner)
    return refuse(
      state,
      'not-possible',
      `${owner} has ${group.name}, and its copy is the newest: let ${target} catch up, or let ${owner} lose the lease first; newer writes are only given up when nobody has the group`,
    );
  if (target === owner) return refuse(state, 'not-possible', `${group.name} already runs on ${target}`);
  const listed = state.durable.config?.groups[group.name]?.on.includes(target) ?? false;
  const aim = {
    node: target,
    operation: id,
    aboveEpoch: group.lease?.epoch ?? 0,
    ...(acceptsLoss === undefined ? {} : { acceptsLoss }),
  };
  const aimed = { ...group, target: aim };
  const against = listed ? objections(state, aimed, target, now, { asked: true }) : [{ rule: 'not-listed' } as const];
  if (against.length > 0)
    return refuse(
      state,
      'not-possible',
      `${target} cannot take ${group.name}: it ${against.map((reason) => reasonText(reason, { group: group.name, node: target })).join('; ')}${instead(against, to)}`,
    );
  const moving = withGroup(state, aimed);
  return {
    state: withOperation(
      moving,
      { id, kind: 'move', group: group.name, node: target, progress: `waiting for ${owner ?? 'nobody'} to release` },
      now,
    ),
    effects: [
      event(now, {
        kind: 'group.move-requested',
        group: group.name,
        node: target,
        detail: `from ${owner ?? 'nowhere'} to ${target}${acceptsLoss === undefined ? '' : '; what was written elsewhere and is not in its copy may be lost'}`,
      }),
    ],
  };
}

/** What an operator can do about the rules among these objections. */
function instead(against: readonly Reason[] | undefined, to: string | null): string {
  const advice = (against ?? []).map((reason) => insteadOf(reason, to)).find((text) => text !== undefined);
  return advice === undefined ? '' : `; ${advice}`;
}

function onDesired(
  state: ClusterState,
  group: GroupRecord,
  action: { type: 'group-stop' | 'group-start'; operation: string },
  now: number,
): Outcome {
  const stop = action.type === 'group-stop';
  const { clean, forgiven } = decided(group, stop);
  const first = stop && clean.halt !== null ? undefined : inTheWay(withGroup(state, clean), clean, now);
  if (first !== undefined) return refuse(state, 'not-possible', first);
  const next = withGroup(state, {
    ...clean,
    desired: stop ? 'stopped' : 'started',
    target: stop ? null : group.target,
  });
  return {
    state: withOperation(
      next,
      {
        id: action.operation,
        kind: stop ? 'stop' : 'start',
        group: group.name,
        node: null,
        progress: stop ? 'stopping' : 'starting',
      },
      now,
    ),
    effects: [
      event(now, {
        kind: stop ? 'group.stop-requested' : 'group.start-requested',
        group: group.name,
        detail: stop ? 'an operator stops it' : 'an operator starts it',
      }),
      ...(forgiven === undefined
        ? []
        : [event(now, { kind: 'group.cleaned-up', group: group.name, detail: forgiven })]),
    ],
  };
}

/**
 * What waits for a person has met one. To have a group stopped takes a hold off it; to have it started forgives, as a cleanup does,
 * whatever keeps it down.
 */
function decided(group: GroupRecord, stop: boolean): { clean: GroupRecord; forgiven?: string } {
  if (!stop) return isServed(group.shown) || !hasFailed(group) ? { clean: group } : forgive(group);
  // the failures stay: they are what a later start is to forgive
  return { clean: { ...group, halt: group.halt?.kind === 'hold' ? null : group.halt } };
}

function hasFailed({ failures, halt }: GroupRecord): boolean {
  return halt !== null || Object.keys(failures).length > 0;
}

function forgive(group: GroupRecord): { clean: GroupRecord; forgiven: string } {
  const { halt } = group;
  const told = Object.entries(group.failures).map(([node, failure]) => `${node} (${failure.resource})`);
  if (halt !== null) told.push(`${halt.resource} on ${halt.node}, which a person was to decide on`);
  return {
    clean: { ...group, failures: {}, halt: null, cleanups: group.cleanups + 1 },
    forgiven: told.length === 0 ? 'no node had given it up' : `forgiven: ${told.join(', ')}`,
  };
}

/** Also of a group that is no longer configured: on hold, it cannot leave before. */
function onCleanup(state: ClusterState, name: string, now: number): Outcome {
  const group = state.durable.groups[name];
  if (group === undefined) return unknownGroup(state, name);
  const { clean, forgiven } = forgive(group);
  return {
    state: withVolatile(withGroup(state, clean), { lastRefusals: {} }),
    effects: [event(now, { kind: 'group.cleaned-up', group: group.name, detail: forgiven })],
  };
}

function onConfirmHistory(state: ClusterState, now: number): Outcome {
  const { restored } = state.durable;
  if (restored === null)
    return refuse(state, 'not-possible', 'nothing is held back: the coordinator’s history is not in doubt');
  return {
    // the wait for leases that this data does not know of is not his to shorten
    state: withDurable(state, { restored: { ...restored, confirmed: true } }),
    effects: [
      event(now, {
        kind: 'coordinator.history-confirmed',
        severity: 'warning',
        detail: `an operator confirmed the restored data; not heard: ${unreported(state).join(', ') || 'none'}. Epochs continue above the highest seen`,
      }),
    ],
  };
}
