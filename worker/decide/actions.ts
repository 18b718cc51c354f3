/** What people ask for: configuration, moves, drains, an operator's word. Each is refused whole or done whole. */
import type { Operation, ProblemCode } from '../../schemas/api.ts';
import type { Config } from '../../schemas/config.ts';
import { reasonText } from '../../schemas/reasons.ts';
import { unreported } from './history.ts';
import { freeAtOnce, holder, timingOf } from './lease.ts';
import { lostSince, objections, rank } from './placement.ts';
import { iso, withDurable, withGroup, withLease, withLive, withNode, withoutKeys, withVolatile } from './records.ts';
import type { ClusterState, CoordinatorEvent, Effect, GroupRecord, NewEvent, Outcome } from './state.ts';

type Action = Exclude<CoordinatorEvent, { type: 'report' } | { type: 'tick' }>;

export function onAction(state: ClusterState, action: Action, now: number): Outcome {
  switch (action.type) {
    case 'apply':
      return onApply(state, action.config, now);
    case 'enrol':
      return onEnrol(state, action.node, action.publicKey, now);
    case 'move':
      return withKnownGroup(state, action.group, (group) => onMove(state, group, action.to, action.operation, now));
    case 'group-stop':
    case 'group-start':
      return withKnownGroup(state, action.group, (group) => onDesired(state, group, action, now));
    case 'cleanup':
      return withKnownGroup(state, action.group, (group) => onCleanup(state, group, now));
    case 'node-standby':
    case 'node-ready':
      return onMode(state, action, now);
    case 'node-remove':
      return onRemove(state, action.node, action.force, now);
    case 'confirm-dead':
      return onConfirmDead(state, action.node, now);
    case 'confirm-history':
      return onConfirmHistory(state, now);
    default:
      return action satisfies never;
  }
}

function refuse(state: ClusterState, code: ProblemCode, detail: string): Outcome {
  return { state, effects: [], refused: { code, detail } };
}

function event(now: number, event: Omit<NewEvent, 'at' | 'severity'> & { severity?: NewEvent['severity'] }): Effect {
  return { kind: 'event', event: { severity: 'info', ...event, at: now } };
}

function withKnownGroup(state: ClusterState, name: string, act: (group: GroupRecord) => Outcome): Outcome {
  const group = state.durable.groups[name];
  if (group === undefined || state.durable.config?.groups[name] === undefined)
    return refuse(
      state,
      'group-unknown',
      `no group ${name} in the configuration; there are: ${Object.keys(state.durable.config?.groups ?? {}).join(', ') || 'none'}`,
    );
  return act(group);
}

function started(
  state: ClusterState,
  operation: Omit<Operation, 'state' | 'finishedAt' | 'startedAt'>,
  now: number,
): ClusterState {
  const whole: Operation = { ...operation, state: 'running', startedAt: iso(now), finishedAt: null };
  return withDurable(state, { operations: { ...state.durable.operations, [operation.id]: whole } });
}

function onApply(state: ClusterState, config: Config, now: number): Outcome {
  const groups: Record<string, GroupRecord> = { ...state.durable.groups };
  for (const name of Object.keys(config.groups))
    groups[name] ??= {
      name,
      desired: 'started',
      lease: null,
      target: null,
      failures: {},
      run: null,
      shown: 'waiting',
      since: now,
    };
  const revision = state.durable.revision + 1;
  return {
    state: withDurable(state, { config, revision, groups }),
    effects: [
      event(now, {
        kind: 'config.applied',
        detail: `revision ${revision}: ${Object.keys(config.groups).length} groups on ${config.nodes.length} nodes`,
      }),
    ],
  };
}

function onEnrol(state: ClusterState, name: string, publicKey: string, now: number): Outcome {
  const known = state.durable.nodes[name];
  if (
    known !== undefined &&
    !known.removed &&
    known.publicKey !== publicKey &&
    lostSince(state, name, now) === undefined
  )
    return refuse(
      state,
      'node-exists',
      `${name} is joined and alive; \`holdfast node remove ${name}\` first, or join under another name`,
    );
  const again = known !== undefined;
  const joined = withNode(state, {
    name,
    publicKey,
    joinedAt: now,
    mode: 'ready',
    removed: false,
    declaredDead: null,
    refusals: [],
    agentVersion: null,
    lost: false,
  });
  return {
    state: withVolatile(joined, { nodes: withoutKeys(joined.volatile.nodes, [name]) }),
    effects: [
      event(now, {
        kind: again ? 'node.rejoined' : 'node.joined',
        node: name,
        detail: again ? 'joined again with a new key' : 'joined',
      }),
    ],
  };
}

function onMove(state: ClusterState, group: GroupRecord, to: string | null, id: string, now: number): Outcome {
  const owner = holder(state, group, now);
  if (group.desired === 'stopped')
    return refuse(state, 'not-possible', `${group.name} is stopped; \`holdfast group start ${group.name}\` first`);
  if (group.target !== null)
    return refuse(
      state,
      'not-possible',
      `${group.name} is already being moved to ${group.target.node} (operation ${group.target.operation})`,
    );
  const others = rank(state, { ...group, target: null }, now).filter((candidate) => candidate.node !== owner);
  const target = to ?? others.find((candidate) => candidate.eligible)?.node;
  if (target === undefined)
    return refuse(
      state,
      'not-possible',
      `no other node can take ${group.name}: ${others.map((c) => `${c.node} ${reasonText(c.reasons[0] ?? { rule: 'not-listed' })}`).join('; ') || 'its `on` list names only its owner'}`,
    );
  if (target === owner) return refuse(state, 'not-possible', `${group.name} already runs on ${target}`);
  const listed = state.durable.config?.groups[group.name]?.on.includes(target) ?? false;
  const against = listed ? objections(state, group, target, now) : [{ rule: 'not-listed' } as const];
  if (against.length > 0)
    return refuse(
      state,
      'not-possible',
      `${target} cannot take ${group.name}: it ${against.map(reasonText).join('; ')}`,
    );
  const moving = withGroup(state, {
    ...group,
    target: { node: target, operation: id, aboveEpoch: group.lease?.epoch ?? 0 },
  });
  return {
    state: started(
      moving,
      { id, kind: 'move', group: group.name, node: target, progress: `waiting for ${owner ?? 'nobody'} to release` },
      now,
    ),
    effects: [
      event(now, {
        kind: 'group.move-requested',
        group: group.name,
        node: target,
        detail: `from ${owner ?? 'nowhere'} to ${target}`,
      }),
    ],
  };
}

function onDesired(
  state: ClusterState,
  group: GroupRecord,
  action: { type: 'group-stop' | 'group-start'; operation: string },
  now: number,
): Outcome {
  const stop = action.type === 'group-stop';
  const next = withGroup(state, {
    ...group,
    desired: stop ? 'stopped' : 'started',
    target: stop ? null : group.target,
  });
  return {
    state: started(
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
    ],
  };
}

function onCleanup(state: ClusterState, group: GroupRecord, now: number): Outcome {
  const forgiven = Object.entries(group.failures).map(([node, failure]) => `${node} (${failure.resource})`);
  return {
    state: withVolatile(withGroup(state, { ...group, failures: {} }), { lastRefusals: {} }),
    effects: [
      event(now, {
        kind: 'group.cleaned-up',
        group: group.name,
        detail: forgiven.length === 0 ? 'there were no failures' : `forgiven: ${forgiven.join(', ')}`,
      }),
    ],
  };
}

function onMode(
  state: ClusterState,
  action: { type: 'node-standby'; node: string; operation: string } | { type: 'node-ready'; node: string },
  now: number,
): Outcome {
  const record = state.durable.nodes[action.node];
  if (record === undefined || record.removed) return refuse(state, 'node-unknown', `no node ${action.node} has joined`);
  const mode = action.type === 'node-standby' ? 'standby' : 'ready';
  const next = withNode(state, { ...record, mode });
  const effects = [
    event(now, {
      kind: mode === 'standby' ? 'node.standby' : 'node.ready',
      node: action.node,
      detail: mode === 'standby' ? 'drained: its groups move away' : 'may run groups again',
    }),
  ];
  if (action.type === 'node-ready') return { state: next, effects };
  return {
    state: started(
      next,
      { id: action.operation, kind: 'standby', group: null, node: action.node, progress: 'its groups are moving away' },
      now,
    ),
    effects,
  };
}

function onRemove(state: ClusterState, name: string, force: boolean, now: number): Outcome {
  const record = state.durable.nodes[name];
  if (record === undefined || record.removed) return refuse(state, 'node-unknown', `no node ${name} has joined`);
  const owned = ownedGroups(state, name, now);
  if (owned.length > 0 && !force)
    return refuse(
      state,
      'node-owns-groups',
      `${name} runs ${owned.join(', ')}; \`holdfast node standby ${name}\` moves them away first, --force removes it now (its groups move when its leases have run out)`,
    );
  return {
    state: withNode(state, { ...record, removed: true, refusals: [], lost: false }),
    effects: [
      event(now, {
        kind: 'node.removed',
        severity: 'warning',
        node: name,
        detail: owned.length === 0 ? 'removed' : `removed while it ran ${owned.join(', ')}`,
      }),
    ],
  };
}

/** Groups whose lease this node holds, or may still hold. */
function ownedGroups(state: ClusterState, node: string, now: number): string[] {
  return Object.values(state.durable.groups)
    .filter((group) => holder(state, group, now) === node)
    .map((group) => group.name);
}

/** Proof of death: the operator's word. Refused while the node evidently lives. */
function onConfirmDead(before: ClusterState, name: string, now: number): Outcome {
  const record = before.durable.nodes[name];
  if (record === undefined || record.removed) return refuse(before, 'node-unknown', `no node ${name} has joined`);
  const timing = timingOf(before);
  const live = before.volatile.nodes[name];
  if (
    live !== undefined &&
    live.ended === null &&
    now - live.lastSeenAt <= timing.renewMs + timing.retries * timing.retryMs
  )
    return refuse(
      before,
      'node-alive',
      `${name} reported ${now - live.lastSeenAt} ms ago: it is not off. \`holdfast node standby ${name}\` drains it`,
    );
  const owned = ownedGroups(before, name, now);
  const incarnation = live?.incarnation ?? before.durable.groups[owned[0] ?? '']?.lease?.incarnation;
  let state = before;
  for (const groupName of owned) {
    const group = state.durable.groups[groupName];
    // said twice, it does not make others wait twice
    if (group?.lease == null || group.lease.provenDeadAt !== null || freeAtOnce(group.lease, timing)) continue;
    // V becomes the group's `on` list, as after RELEASE
    state = withLease(state, group, {
      provenDeadAt: now,
      voters: state.durable.config?.groups[groupName]?.on ?? group.lease.voters,
    });
  }
  state = withNode(state, {
    ...record,
    lost: true,
    // one that was not heard of has no name; whichever incarnation reports next is then a new one
    declaredDead: { incarnation: incarnation ?? record.declaredDead?.incarnation ?? '', at: now },
  });
  if (live !== undefined)
    state = withLive(state, name, { ...live, ended: 'declared-dead', epochsKnown: false, rival: null });
  return {
    state,
    effects: [
      event(now, {
        kind: 'node.declared-dead',
        severity: 'warning',
        node: name,
        detail:
          owned.length === 0
            ? 'an operator confirms that it is powered off'
            : `an operator confirms that it is powered off; freed: ${owned.join(', ')}`,
      }),
    ],
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
