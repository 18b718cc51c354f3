/**
 * The product's decision code, driven step by step along the model: what the coordinator, owners and voters say to each other, and what they
 * make of it. Each step is tried as the model has it; the answer is why the code does not follow.
 */
import type { Report } from '../../../../schemas/wire.ts';
import type { Refusal } from './desk.ts';
import { GROUP, OutOfOrder } from './guard.ts';
import type { CodeNode, Sent } from './node.ts';
import { eventOf, type UnderWay } from './post.ts';
import { LEASE_MS, LEASE_TICKS, World } from './world.ts';

export class Code extends World {
  /** @param voters of the first epoch. The first node owns it, has long been confirmed and has just renewed. */
  constructor(names: readonly string[], voters: readonly string[]) {
    super(names);
    const refused = this.grant(0, 'claim', voters) ?? this.adopt(0, 1, 0, 0);
    if (refused !== undefined) throw new Error(`the first grant was refused: ${refused}`);
    for (let ticks = 0; ticks < 4; ticks++) {
      if (ticks > 0) this.pass();
      const failed = this.renew(0, 1, 0, 0);
      if (failed !== undefined) throw new Error(`the first owner was not renewed: ${failed}`);
      this.extend(0, 1, 0, 0);
    }
    const owner = this.node(0);
    owner.said = { ...owner.said, claim: undefined };
    owner.group = 'up';
  }

  #answered(answer: Omit<UnderWay, 'atMs'>, sent: Sent<Report>): void {
    const node = this.node(answer.index);
    if (sent.process === node.process && node.keep !== undefined) this.post.answer({ ...answer, atMs: sent.atMs });
    else this.mustIgnore(node, { type: 'reply', reply: answer.reply });
  }

  /** The owner's newest renewal that names this version of the voters arrives. */
  renew(index: number, held: number, version: number, age: number): Refusal | undefined {
    const node = this.node(index);
    node.sendAll(this.nowMs);
    const sent = node.said.renewals.get(version + 1);
    const epoch = sent?.what.leases[0]?.epoch;
    if (sent === undefined || epoch !== held) return node.held?.kept === false ? 'not-kept' : 'nothing-sent';
    // what a process that is no more has sent counts as old: its answer is worth nothing
    const old = node.keep === undefined || sent.process !== node.process;
    if (!old && this.age(sent.atMs) !== age) return 'nothing-sent';
    const { reply } = this.desk.hears(sent.what, this.nowMs);
    if (reply.leases[0]?.verdict !== 'renewed') return reply.problem?.code ?? 'not-renewed';
    this.#answered({ kind: 'renewal', index, epoch, version: (this.desk.newest ?? 1) - 1, reply }, sent);
    this.inform();
    return undefined;
  }

  /** A claim arrives; a living agent makes it now. */
  grant(index: number, kind: 'claim' | 'oldClaim', voters: readonly string[]): Refusal | undefined {
    const node = this.node(index);
    // a new incarnation may not have spoken yet
    if (kind === 'claim' && node.keep?.instance === null) this.greet(node);
    if (kind === 'claim') node.claimNow(this.nowMs);
    const claim = node.said[kind];
    if (claim === undefined) return 'nothing-sent';
    const { reply, reasons } = this.desk.hearsClaim(claim.what, voters, this.nowMs);
    const [grant] = reply.grants;
    if (grant === undefined) return reasons[0] ?? 'not-granted';
    const version = grant.voters.version - 1;
    if (kind === 'claim') this.#answered({ kind: 'grant', index, epoch: grant.epoch, version, reply }, claim);
    this.inform();
    return undefined;
  }

  /** A grant arrives. Until the guard has it, no renewal names its voters, and none confirms it. */
  adopt(index: number, epoch: number, version: number, age: number): Refusal | undefined {
    // in the model an answer to a renewal is as good as a grant
    const under = (['grant', 'renewal'] as const)
      .map((kind) => this.post.reply({ kind, index, epoch, version }))
      .find((one) => one !== undefined && this.age(one.atMs) === age);
    if (under === undefined) return 'nothing-sent';
    const node = this.node(index);
    if (!node.wouldAdopt(under.reply, this.nowMs)) return 'not-adopted';
    node.sendAll(this.nowMs);
    node.does({ type: 'reply', reply: under.reply }, this.nowMs);
    node.shortened = false;
    const confirmed = this.probe(() => {
      node.sendAll(this.nowMs);
      const early = node.said.renewals.get(0);
      if (early !== undefined) this.desk.hears(early.what, this.nowMs);
      return early === undefined ? 'nothing' : this.desk.lease?.confirmedAt;
    });
    if (epoch === this.desk.lease?.epoch && confirmed !== null && this.desk.lease.confirmedAt === null)
      throw new OutOfOrder(`epoch ${epoch} is confirmed before it is on the disk of ${node.name}`);
    // what is void stays in the guard until the lease is armed
    if (!node.slow || node.guard.promised !== undefined) node.settle(this.nowMs);
    node.sendAll(this.nowMs);
    return undefined;
  }

  /** The fuse must have been armed by then (O4). */
  decideToStart(index: number): Refusal | undefined {
    const node = this.node(index);
    if (node.held?.kept === false) node.settle(this.nowMs);
    const { lease } = node.guard;
    if (node.active === undefined || lease === undefined || lease.fired || !node.active.kept) return 'not-active';
    node.group = 'starting';
    return undefined;
  }

  /** What was decided is carried out, however long the process has slept in between. */
  start(index: number): Refusal | undefined {
    const node = this.node(index);
    if (node.group !== 'starting') return 'not-active';
    node.group = 'up';
    return undefined;
  }

  /** An answer to a renewal arrives; voters that it tells of are not in the guard yet. (A repeated grant is no answer to one.) */
  extend(index: number, epoch: number, version: number, age: number): Refusal | undefined {
    const under = this.post.reply({ kind: 'renewal', index, epoch, version });
    if (under === undefined || this.age(under.atMs) !== age) return 'nothing-sent';
    this.node(index).does({ type: 'reply', reply: under.reply }, this.nowMs);
    return undefined;
  }

  /** The guard has the new voters. Until then no renewal names them, and none of their promises is asked for less than those of the old. */
  learn(index: number, epoch: number, version: number): Refusal | undefined {
    const node = this.node(index);
    if (node.held?.nextVoters?.version !== version + 1) {
      const under = this.post.reply({ kind: 'renewal', index, epoch, version });
      if (under === undefined) return 'nothing-sent';
      if (this.nowMs - under.atMs > 2 * LEASE_MS) return 'forgotten';
      const untilMs = node.held?.deadlineMs;
      node.does({ type: 'reply', reply: under.reply }, this.nowMs);
      if (node.held?.deadlineMs !== untilMs) return 'extends-first';
    }
    if (node.held?.nextVoters?.version !== version + 1) return 'not-learned';
    if ((node.renewal(this.nowMs)?.voters ?? 0) > version)
      throw new OutOfOrder(`${node.name} names voters that its guard does not know`);
    node.settle(this.nowMs);
    node.sendAll(this.nowMs);
    return node.held?.voters.version === version + 1 ? undefined : 'not-learned';
  }

  /** The owner's newest question arrives at a voter, which knows disk and guard to be done before it answers (guard.ts). */
  promise(voter: number, owner: number, epoch: number): Refusal | undefined {
    const [asker, asked] = [this.node(owner), this.node(voter)];
    asker.sendAll(this.nowMs);
    const ask = asker.said.asks.get(asked.name);
    // one that is older than the lease binds the voter and gives its owner nothing: the model has none
    if (ask === undefined || ask.process !== asker.process || this.age(ask.atMs) === LEASE_TICKS) return 'nothing-sent';
    const why = this.#unwilling(asked);
    const answer = asked.asked(ask.what, this.nowMs);
    if (!answer?.promised.some((lease) => lease.group === GROUP && lease.epoch === epoch)) return why;
    this.post.promised({ owner, voter, from: asked.name, answer, atMs: ask.atMs });
    return undefined;
  }

  #unwilling({ held, keep }: CodeNode): Refusal {
    if (held !== undefined) return 'held';
    const claims = [...(keep?.requests.values() ?? [])].some(
      ({ claims, sentMs, leaseMs }) => claims.length > 0 && this.nowMs < sentMs + leaseMs,
    );
    return claims ? 'claimed' : 'not-promised';
  }

  /** A voter's answer arrives. */
  hearPromise(owner: number, voter: number): Refusal | undefined {
    const under = this.post.promise(owner, voter);
    if (under === undefined) return 'nothing-sent';
    this.node(owner).does(eventOf(under), this.nowMs);
    return undefined;
  }

  /** Down, disarmed, and a release is on its way (loop.ts `#onDown`). */
  release(index: number): Refusal | undefined {
    const node = this.node(index);
    node.does({ type: 'closing', group: GROUP }, this.nowMs);
    node.group = 'down';
    node.guard.lease = undefined;
    node.does({ type: 'stopped', group: GROUP }, this.nowMs);
    if (node.keep?.releases[GROUP] === undefined) return 'not-released';
    node.sendAll(this.nowMs);
    return undefined;
  }

  /** Granted again what it has had: it gives that back. */
  giveBack(index: number, epoch: number): Refusal | undefined {
    const node = this.node(index);
    if (node.held !== undefined) return this.release(index);
    const under = this.post.replies.find((one) => one.kind === 'grant' && one.index === index && one.epoch === epoch);
    if (under === undefined) return 'nothing-sent';
    node.does({ type: 'reply', reply: under.reply }, this.nowMs);
    if (node.keep?.releases[GROUP]?.epoch !== epoch) return 'not-released';
    node.sendAll(this.nowMs);
    return undefined;
  }

  hearRelease(index: number): Refusal | undefined {
    const node = this.node(index);
    const { release } = node.said;
    if (release === undefined) return 'nothing-sent';
    const { reply } = this.desk.hears(release.what, this.nowMs);
    if (reply.problem !== undefined) return reply.problem.code;
    if (node.runs) node.does({ type: 'reply', reply }, this.nowMs);
    this.inform();
    return undefined;
  }
}
