/** What the code would do next, tried without consequences: the model must offer it. */
import { NODE_NAMES } from '../bounds.ts';
import type { MoveName } from '../moves.ts';
import type { Choice } from '../walk.ts';
import { GROUP } from './guard.ts';
import { type Lockstep, moveName } from './lockstep.ts';
import { LEASE_MS } from './world.ts';

type Both = Pick<Lockstep, 'machine' | 'code'>;

/** @returns what the code would do and the model does not let it; undefined if there is nothing. */
export function forbidden({ machine, code }: Both, choices: readonly Choice[]): string | undefined {
  const offers = (moves: readonly MoveName[], node: number, some: { epoch?: number; other?: number } = {}) =>
    choices.some(
      ({ step }) =>
        moves.includes(moveName(step)) &&
        step.node === node &&
        (some.epoch === undefined || step.epoch === some.epoch) &&
        (some.other === undefined || step.other === some.other),
    );
  const does = (attempt: () => string | undefined) => code.probe(attempt) === undefined;
  const { nodes } = machine.at;
  for (let node = 0; node < nodes; node++) {
    const name = NODE_NAMES[node] ?? '';
    const { runs, group, said } = code.node(node);
    if (does(() => code.grant(node, 'claim', [name])) && !offers(['grants', 'repeats the grant'], node))
      return `the code grants ${name} a lease that the model does not let it have`;
    if (
      code.desk.lease?.owner !== name &&
      does(() => code.grant(node, 'oldClaim', [name])) &&
      !offers(['grants to a dead incarnation'], node)
    )
      return `the code grants an ended incarnation of ${name} a lease that the model does not let it have`;
    for (const [version, { what, atMs }] of said.renewals) {
      const epoch = what.leases[0]?.epoch ?? 0;
      const renewed = () => code.renew(node, epoch, version - 1, runs ? 0 : code.age(atMs));
      if (does(renewed) && !offers(['renews'], node, { epoch }))
        return `the code renews epoch ${epoch} of ${name}, the model does not`;
    }
    if (!runs) continue;
    for (const { kind, index, epoch, version, atMs } of code.post.replies) {
      if (index !== node) continue;
      const age = code.age(atMs);
      if (kind === 'grant' && does(() => code.adopt(node, epoch, version, age)) && !offers(['adopts'], node, { epoch }))
        return `${name} takes up epoch ${epoch}, which the model does not let it`;
      if (kind === 'renewal' && does(() => longer(code, node, () => code.extend(node, epoch, version, age))))
        if (!offers(['extends by answer'], node, { epoch }))
          return `${name} extends epoch ${epoch} by an answer, which the model does not let it`;
    }
    if (group === 'down' && does(() => code.decideToStart(node)) && !offers(['decides to start'], node))
      return `${name} starts, which the model does not let it`;
    const lower = asks(code, node, (code.node(node).keep?.epochs[GROUP] ?? 0) - 1);
    if (lower.length > 0) return `${name} promises to keep out of an epoch below one that it has seen`;
    for (let other = 0; other < nodes; other++) {
      if (other === node) continue;
      const owner = code.node(other).active;
      if (owner?.voters.names.includes(name) === true)
        if (does(() => code.promise(node, other, owner.epoch)) && !offers(['promises'], node, { other }))
          return `${name} promises ${NODE_NAMES[other]}, which the model does not let it`;
      const promised = () => code.hearPromise(node, other);
      if (does(() => longer(code, node, promised)) && !offers(['extends by promise'], node, { other }))
        return `${name} extends its lease by a promise of ${NODE_NAMES[other]}, which the model does not let it`;
    }
  }
  return undefined;
}

/** Whoever asks, with whatever right. @returns what is promised. */
function asks(code: Both['code'], node: number, epoch: number): readonly { readonly epoch: number }[] {
  const ask = { id: 'a probe', from: 'somebody', leaseMs: LEASE_MS, leases: [{ group: GROUP, epoch }] };
  return epoch < 0 ? [] : code.probe(() => code.node(node).asked(ask, code.nowMs)?.promised ?? []);
}

/** Does this lengthen the lease? */
function longer(code: Both['code'], node: number, attempt: () => string | undefined): string | undefined {
  const before = code.node(node).active?.deadlineMs ?? 0;
  const refused = attempt();
  return refused ?? ((code.node(node).active?.deadlineMs ?? 0) > before ? undefined : 'no longer');
}
