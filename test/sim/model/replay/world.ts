/** The coordinator, the agents, what is under way between them, the time, and what can befall them. */
import type { KeepEvent } from '../../../../node-agent/agent/keep.ts';
import { type LeaseTiming, takeoverWaitMs } from '../../../../schemas/limits.ts';
import { Desk, type Refusal } from './desk.ts';
import { OutOfOrder } from './guard.ts';
import { CodeNode } from './node.ts';
import { Post } from './post.ts';

export const LEASE_MS = 2_000;
/** The lease lasts two ticks less 20 ms, every wait two ticks less a few. */
export const TICK_MS = 1_010;
export const LEASE_TICKS = 2;

const TIMING: LeaseTiming = {
  leaseMs: LEASE_MS,
  renewMs: 100,
  retryMs: 50,
  retries: 2,
  stopMs: 1,
  fuseMs: 0,
  resetMs: 0,
  coordinatorMarginMs: 0,
  promiseMarginMs: 0,
  takeoverMs: takeoverWaitMs(LEASE_MS, 0),
  promiseMs: takeoverWaitMs(LEASE_MS, 0),
};

export class World {
  readonly nodes: readonly CodeNode[];
  readonly desk: Desk;
  nowMs = 100_000;
  readonly post = new Post();

  constructor(names: readonly string[]) {
    this.desk = new Desk(names, TIMING, this.nowMs);
    this.nodes = names.map((name) => new CodeNode(name, names, TIMING, this.nowMs));
    this.inform();
  }

  node(index: number): CodeNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }

  /** Tries without consequences. */
  probe<Result>(attempt: () => Result): Result {
    const { nowMs } = this;
    const restores = [this.desk.save(), this.post.save(), ...this.nodes.map((node) => node.save())];
    const result = attempt();
    for (const restore of restores) restore();
    this.nowMs = nowMs;
    return result;
  }

  /** In ticks, as the model counts it. */
  age(atMs: number): number {
    return Math.min(LEASE_TICKS, Math.round((this.nowMs - atMs) / TICK_MS));
  }

  /** What remains until then, in ticks. */
  remaining(untilMs: number): number {
    return Math.max(0, Math.ceil((untilMs - this.nowMs) / TICK_MS));
  }

  /** Whoever runs and holds nothing learns at once which renewal is the newest: that is when its wait begins. */
  inform(): void {
    for (const node of this.nodes) if (node.held === undefined) this.greet(node);
  }

  greet(node: CodeNode): void {
    for (let told = 0; told < 2; told++) {
      const report = node.runs ? node.hello(this.nowMs) : undefined;
      if (report === undefined) return;
      const { reply } = this.desk.hears(report, this.nowMs);
      node.does({ type: 'reply', reply }, this.nowMs);
    }
  }

  /** One tick. */
  pass(): void {
    for (const node of this.nodes) node.sendAll(this.nowMs);
    this.nowMs += TICK_MS;
    for (const node of this.nodes) {
      if (node.runs) this.#wake(node);
      this.#fire(node);
    }
    this.desk.happens({ type: 'tick' }, this.nowMs);
    this.inform();
  }

  /** Of a lease that has ended meanwhile, what has arrived is heard before the clock is looked at: it revives nothing. */
  #wake(node: CodeNode): void {
    const { active } = node;
    const over = active !== undefined && this.nowMs >= active.deadlineMs - TIMING.stopMs;
    const arrived = over ? this.post.events(this.nodes.indexOf(node)) : [];
    if ((this.nowMs / TICK_MS) & 1) arrived.reverse();
    for (const event of arrived) node.does(event, this.nowMs);
    node.does({ type: 'tick' }, this.nowMs);
  }

  #fire(node: CodeNode): void {
    const { lease } = node.guard;
    if (lease === undefined || lease.fired || this.nowMs < lease.fireMs) return;
    if (node.runs && node.active !== undefined)
      throw new OutOfOrder(`the fuse on ${node.name} fires under a lease that its agent relies on`);
    node.guard.fire();
    // the real guard takes the agent along in any case; in the model only where there is something to take down
    if (node.runs || node.group === 'down') return;
    node.group = 'down';
    node.killed();
    this.post.forget(this.nodes.indexOf(node));
  }

  /** An answer to a request of a process that is no more arrives at the next one. */
  mustIgnore(node: CodeNode, event: KeepEvent): void {
    if (!node.ignores(event, this.nowMs))
      throw new OutOfOrder(`${node.name} acts upon the answer to a request of another process`);
  }

  restart(): void {
    this.desk.restart(this.nowMs);
    this.inform();
  }

  stepClock(direction: 1 | -1): void {
    this.desk.stepClock(direction, this.nowMs);
    this.inform();
  }

  confirmDead(index: number, atOnce: boolean): Refusal | undefined {
    const { name, runs } = this.node(index);
    if (!runs) this.desk.hearsNothingOf(name, TICK_MS / 2);
    const refused = this.desk.confirmDead(name, atOnce, this.nowMs);
    this.inform();
    return refused;
  }

  pause(index: number): void {
    const node = this.node(index);
    node.sendAll(this.nowMs);
    node.paused = true;
  }

  resume(index: number): void {
    const node = this.node(index);
    node.paused = false;
    this.#wake(node);
    this.inform();
  }

  crash(index: number): void {
    this.node(index).endAgent(this.nowMs);
    this.post.forget(index);
  }

  startAgain(index: number): void {
    const node = this.node(index);
    node.startAgent(this.nowMs);
    for (const event of this.post.stale(index)) this.mustIgnore(node, event);
    this.inform();
  }

  losePower(index: number): void {
    this.node(index).endIncarnation(this.nowMs);
    this.post.forget(index);
  }

  boot(index: number): void {
    const node = this.node(index);
    node.beginIncarnation(this.nowMs);
    for (const event of this.post.stale(index)) this.mustIgnore(node, event);
  }
}
