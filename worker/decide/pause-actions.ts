/** What people ask for when everything is to stay as it is: pause, resume, maintenance. */
import { event, refuse, unknownGroup } from './outcome.ts';
import { firstStep, handsOff, inForce } from './pause.ts';
import { iso, withGroup, withNode } from './records.ts';
import type { ClusterState, CoordinatorEvent, Effect, GroupRecord, NodeRecord, Outcome, Pause } from './state.ts';

type Event<T extends CoordinatorEvent['type']> = Extract<CoordinatorEvent, { type: T }>;

/** Asked again, it gets a new end and a new reason. */
function renewed(before: Pause | null, { forMs, reason }: { forMs: number; reason: string }, now: number): Pause {
  return { since: inForce(before, now)?.since ?? now, until: now + forMs, reason };
}

/** The groups that are meant, also those that are no longer configured and still run. */
function meant(state: ClusterState, name: string | null): readonly GroupRecord[] {
  const { groups } = state.durable;
  if (name === null) return Object.values(groups);
  const group = groups[name];
  return group === undefined ? [] : [group];
}

export function onPause(before: ClusterState, action: Event<'pause'>, now: number): Outcome {
  const groups = meant(before, action.group);
  if (groups.length === 0)
    return action.group === null
      ? refuse(before, 'not-possible', 'there is no group to pause: none is configured')
      : unknownGroup(before, action.group);
  let state = before;
  const effects: Effect[] = [];
  for (const group of groups) {
    const pause = renewed(group.pause, action, now);
    state = withGroup(state, { ...group, pause });
    const detail = `until ${iso(pause.until)}: ${pause.reason}`;
    effects.push(event(now, { kind: 'group.paused', severity: 'warning', group: group.name, detail }));
  }
  return { state, effects };
}

/** Of what is not paused it is done already; what is kept as it is for another reason is not ended by this. */
export function onResume(before: ClusterState, action: Event<'resume'>, now: number): Outcome {
  const groups = meant(before, action.group);
  if (groups.length === 0 && action.group !== null) return unknownGroup(before, action.group);
  let state = before;
  const effects: Effect[] = [];
  for (const group of groups) {
    if (group.pause === null) continue;
    state = withGroup(state, { ...group, pause: null });
    effects.push(event(now, { kind: 'group.resumed', group: group.name, detail: 'an operator ends the pause' }));
  }
  const [only] = groups;
  if (state !== before || action.group === null || only === undefined) return { state, effects };
  const other = handsOff(before, only, now);
  const first = other === undefined ? undefined : firstStep(only.name, other);
  return first === undefined ? { state, effects } : refuse(before, 'not-possible', `it is not paused, but ${first}`);
}

export function onMaintenance(
  before: ClusterState,
  record: NodeRecord,
  action: Event<'node-maintenance'>,
  now: number,
): Outcome {
  const maintenance = renewed(record.maintenance, action, now);
  const detail = `until ${iso(maintenance.until)}: ${maintenance.reason}; what it runs stays as it is`;
  return {
    state: withNode(before, { ...record, maintenance }),
    effects: [event(now, { kind: 'node.maintenance', severity: 'warning', node: action.node, detail })],
  };
}
