/** C7: data that is older than what the nodes have seen. Until it is known how much is missing, nothing is granted. */
import { takeoverWaitMs } from '../../schemas/limits.ts';
import type { Report } from '../../schemas/wire.ts';
import { timingOf } from './lease.ts';
import { event } from './outcome.ts';
import { withDurable, withVolatile } from './records.ts';
import type { ClusterState, Durable, Effect, Outcome } from './state.ts';

/** C7: another history is a proof as well; of each node it counts once, or one such node could hold everything back for ever. */
export function otherHistory(before: ClusterState, report: Report, now: number): Outcome {
  const key = `history/${report.node}`;
  if (before.volatile.lastRefusals[key] === report.history) return { state: before, effects: [] };
  const marked = withVolatile(before, {
    lastRefusals: { ...before.volatile.lastRefusals, [key]: report.history ?? '' },
  });
  return holdBack(marked, report, `${report.node} knows another history of this cluster (${report.history})`, now);
}

/** C7: hold every grant until all nodes have told their epochs, or an operator confirms, and the leases they do not tell of have run out. */
function holdBack(state: ClusterState, report: Report, why: string, now: number): Outcome {
  if (state.durable.restored !== null) return { state, effects: [] };
  const reported = Object.entries(state.volatile.nodes)
    .filter(([, live]) => live.epochsKnown)
    .map(([name]) => name);
  const longestLeaseMs = Math.max(report.leaseMs, timingOf(state).leaseMs);
  return {
    state: withDurable(state, { restored: { since: now, reported, longestLeaseMs, confirmed: false } }),
    effects: [
      event(now, {
        kind: 'coordinator.restored',
        severity: 'error',
        node: report.node,
        detail: `the coordinator’s data is older than what the nodes have seen: ${why}. Nothing is granted until every node has reported, or \`holdfast cluster confirm-history\`. If only ${report.node} says so and is wrong, \`holdfast node remove ${report.node}\``,
      }),
    ],
  };
}

/**
 * C7: a node that has heard of a later start of the coordinator or a later change of voters, or of another one of the same count, proves that this
 * data is an older copy: what it does not know of may be a change of voters, which no epoch betrays.
 */
function learnGeneration(before: ClusterState, report: Report, now: number): Outcome {
  const { coordinator } = report;
  const { generation } = before.durable;
  if (coordinator === undefined || coordinator.generation < generation) return { state: before, effects: [] };
  if (coordinator.generation === generation && coordinator.instance === before.volatile.instance)
    return { state: before, effects: [] };
  const state = withDurable(before, { generation: coordinator.generation + 1 });
  const why = `${report.node} has heard of generation ${coordinator.generation} of the coordinator’s data, which ends before it`;
  return holdBack(state, report, why, now);
}

/**
 * C7: what a report proves of data that is older, also one that is refused otherwise: old data may take its sender's successor for a stranger, and
 * then nobody else may know.
 */
export function learnOfOlder(before: ClusterState, report: Report, now: number): Outcome {
  let state = before;
  const effects: Effect[] = [];
  // a lease that a node holds is as good a witness as what it remembers
  const told = [
    ...Object.entries(report.epochs ?? {}),
    ...report.leases.map(({ group, epoch }) => [group, epoch] as const),
  ];
  for (const [name, epoch] of told) {
    const known = Math.max(state.durable.groups[name]?.lease?.epoch ?? 0, state.durable.highestEpochs[name] ?? 0);
    if (epoch <= known) continue;
    state = withDurable(state, { highestEpochs: { ...state.durable.highestEpochs, [name]: epoch } });
    const why = `${report.node} has seen epoch ${epoch} of ${name}, the data ends at ${known}`;
    const held = holdBack(state, report, why, now);
    state = held.state;
    effects.push(...held.effects);
  }
  const later = learnGeneration(state, report, now);
  return { state: later.state, effects: [...effects, ...later.effects] };
}

/** C7: and that this node has told what it has seen. */
export function learnEpochs(before: ClusterState, report: Report, now: number): Outcome {
  const learned = learnOfOlder(before, report, now);
  const { effects } = learned;
  let { state } = learned;
  const { restored } = state.durable;
  if (restored === null) return { state, effects };
  const reported =
    report.epochs === undefined || restored.reported.includes(report.node)
      ? restored.reported
      : [...restored.reported, report.node];
  const longestLeaseMs = Math.max(restored.longestLeaseMs, report.leaseMs);
  if (reported !== restored.reported || longestLeaseMs !== restored.longestLeaseMs)
    // a node that has just been heard may have lived on promises until now, and may still be stopping
    state = withDurable(state, {
      restored: { ...restored, since: reported === restored.reported ? restored.since : now, reported, longestLeaseMs },
    });
  return { state, effects };
}

/** Until when a lease may run that was granted after this data was saved. */
export function restoredUntil(state: ClusterState): number {
  const { restored } = state.durable;
  if (restored === null) return 0;
  return restored.since + takeoverWaitMs(restored.longestLeaseMs, timingOf(state).coordinatorMarginMs);
}

/**
 * C7: data that was restored shows itself only when a node reports a higher epoch. Until every node has told its epochs to this
 * instance, or any lease given by an earlier one has run out, what looks free is not granted.
 */
export function unheardInDoubt(state: ClusterState, now: number): string[] {
  if (now >= state.volatile.doubtUntil) return [];
  return Object.values(state.durable.nodes)
    .filter((node) => !node.removed && node.declaredDead === null)
    .filter((node) => state.volatile.nodes[node.name]?.epochsKnown !== true)
    .map((node) => node.name);
}

/**
 * C7: this data may itself be a copy that was taken while an earlier restore was waited out: who had reported then, and what a person said of
 * the others, says nothing about now.
 */
export function restoredAgain(restored: Durable['restored']): Durable['restored'] {
  return restored === null ? null : { ...restored, reported: [], confirmed: false };
}

/** C7: nodes that have not told their epochs since the restore. */
export function unreported(state: ClusterState): string[] {
  const reported = state.durable.restored?.reported ?? [];
  return Object.values(state.durable.nodes)
    .filter((node) => !node.removed && !reported.includes(node.name))
    .map((node) => node.name);
}

/** C7: once every node has reported, the highest epoch is known and grants continue above it. */
export function endRestore(state: ClusterState, now: number): Outcome {
  const { restored } = state.durable;
  if (restored === null || (unreported(state).length > 0 && !restored.confirmed)) return { state, effects: [] };
  if (now < restoredUntil(state)) return { state, effects: [] };
  return {
    state: withDurable(state, { restored: null }),
    effects: restored.confirmed
      ? []
      : [
          event(now, {
            kind: 'coordinator.history-confirmed',
            detail: 'every node has reported; grants continue above the highest epoch seen',
          }),
        ],
  };
}
