/** Do model and code mean the same state? */
import { NODE_NAMES } from '../bounds.ts';
import { eligible } from '../coordinator.ts';
import type { GuardName } from '../guards.ts';
import { AGENT, GROUP as GROUP_STATES } from '../layout.ts';
import type { Machine } from '../machine.ts';
import { GROUP } from './guard.ts';
import type { Lockstep } from './lockstep.ts';

/** What a mutant lacks makes it see differently what depends on it; what follows from that is what counts. */
const SEEN_BY = {
  eligible: ['eligible', 'current-voters', 'pending-voters', 'confirm', 'proof-base'],
  free: ['wait-coordinator', 'wait-claimant', 'takeover-length', 'restart-doubt', 'doubt-cleared', 'repeat-renews'],
  promise: ['promise-length'],
  quarantine: ['quarantine', 'quarantine-length'],
} as const satisfies Record<string, readonly GuardName[]>;

function comparable({ guards }: Machine, what: keyof typeof SEEN_BY): boolean {
  return SEEN_BY[what].every((guard) => guards[guard]);
}

type Both = Pick<Lockstep, 'machine' | 'walk' | 'code'>;
type Same = (what: string, model: unknown, code: unknown) => void;

export function differences(both: Both): string[] {
  const found: string[] = [];
  const same: Same = (what, model, code) => {
    if (model !== code) found.push(`${what}: ${String(model)} in the model, ${String(code)} in the code`);
  };
  both.code.nodes.forEach((_, index) => {
    ofNode(both, index, same, found);
  });
  ofCoordinator(both, same);
  return found;
}

function ofNode({ machine: m, walk, code }: Both, index: number, same: Same, found: string[]): void {
  const { at } = m;
  const node = code.node(index);
  const { name, active, keep } = node;
  const runs = m.get(at.agent + index) === AGENT.running;
  same(`the group on ${name}`, m.get(at.group + index), GROUP_STATES[node.group]);
  same(`${name} runs`, runs, node.runs);
  const promise = node.promise(code.nowMs);
  if (comparable(m, 'promise'))
    same(
      `what remains of the promise of ${name}`,
      m.get(at.promise + index),
      promise === undefined ? 0 : code.remaining(promise.untilMs),
    );
  if (!runs || keep === undefined) return;
  const holds = m.get(at.held + index) !== 0 && m.get(at.lost + index) === 0;
  same(`epoch of the lease on ${name}`, holds ? walk.names.epochs[m.get(at.held + index)] : undefined, active?.epoch);
  if (comparable(m, 'quarantine'))
    same(`quarantine on ${name}`, m.get(at.quarantine + index) > 0, code.nowMs < keep.quarantineEndMs);
  highest(m, walk.names.epochs, index, keep.epochs[GROUP] ?? 0, same);
  if (active === undefined) return;
  same(`version of the voters on ${name}`, m.get(at.version + index) + 1, active.voters.version);
  same(
    `voters on ${name}`,
    names(m.votersOf(m.from, m.get(at.held + index), m.get(at.version + index))),
    inOrder(active.voters.names),
  );
  const model = Math.max(m.get(at.lease + index), Math.min(m.L, m.byPromises(m.from, index)));
  const remains = code.remaining(active.deadlineMs);
  if (!node.shortened || remains > model) same(`what remains of the lease on ${name}`, model, remains);
  if (found.length === 0 && remains === model && m.get(at.lease + index) === model) node.shortened = false;
}

/** An epoch that nobody cares for any more has no number in the model: there it is only known to lie below another. */
function highest(m: Machine, epochs: readonly number[], index: number, seen: number, same: Same): void {
  const twice = m.get(m.at.highest + index);
  const above = epochs[(twice + 1) >> 1] ?? 0;
  const name = `highest epoch that ${NODE_NAMES[index]} has seen`;
  if (twice % 2 === 0) same(name, above, seen);
  else same(`${name} is below ${above}`, true, seen < above);
}

function ofCoordinator({ machine: m, walk, code }: Both, same: Same): void {
  const { at } = m;
  const { desk, nowMs } = code;
  const { lease } = desk;
  const current = m.get(at.current);
  same('current epoch', walk.names.epochs[current], lease?.epoch);
  same('owner', NODE_NAMES[walk.names.nodes[m.get(at.owner + current)] ?? 0], lease?.owner);
  same('released', m.get(at.released) !== 0, lease?.released);
  if (comparable(m, 'free'))
    same('free', m.get(at.released) !== 0 || m.get(at.proven) === 2 || m.get(at.wait) === 0, desk.free(nowMs));
  if (comparable(m, 'eligible')) same('eligible', names(eligible(m)), inOrder(desk.eligible));
  if (m.get(at.released) !== 0 || lease === null) return;
  same('confirmed', m.get(at.confirmed) !== 0, lease.confirmedAt !== null);
  same('proven dead', m.get(at.proven) !== 0, lease.provenDeadAt !== null);
  const inForce = m.get(at.inForce);
  same('version of the voters in force', inForce + 1, lease.voters.version);
  same('voters in force', names(m.votersOf(m.from, current, inForce)), inOrder(lease.voters.names));
  same(
    'pending voters',
    m.get(at.pending) === 0 ? undefined : names(m.votersOf(m.from, current, inForce + 1)),
    lease.pendingVoters === null ? undefined : inOrder(lease.pendingVoters),
  );
}

function names(mask: number): string {
  return NODE_NAMES.filter((_, index) => ((mask >> index) & 1) === 1).join(' ');
}

function inOrder(some: readonly string[]): string {
  return NODE_NAMES.filter((name) => some.includes(name)).join(' ');
}
