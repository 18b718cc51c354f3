/**
 * Where the coordinator runs: a wall clock that steps, a disk that takes its time, fails, and may be put back to an older copy, and one
 * instance of the object at a time, which may end at any moment. One that was replaced may not know it for a while.
 */
import type { Config } from '../../schemas/config.ts';
import type { DownMessage, Report } from '../../schemas/wire.ts';
import { type ClusterState, type CoordinatorEvent, type Durable, emptyState } from '../../worker/decide/index.ts';
import { type Answer, Instance, type Surroundings } from './instance.ts';
import type { World } from './world.ts';

/** Copies of the data that a restore may go back to. */
const COPIES = 64;

interface Write {
  readonly from: Instance;
  readonly durable: Durable;
  readonly done: () => void;
}

export class Coordinator implements Surroundings {
  readonly #world: World;
  readonly #tell: (node: string, message: DownMessage) => void;
  readonly #rate: number;
  #offset = 1_700_000_000_000;
  #disk: Durable;
  #copies: { readonly at: number; readonly durable: Durable }[] = [];
  #current: Instance | undefined;
  #stale: Instance | undefined;
  #instances = 0;
  #writing: Write[] = [];
  #lastWriteAt = 0;
  slowDiskMs = 0;
  timersLateMs = 0;
  /** The next write fails, and nobody knows whether it is there. */
  writeFails = false;

  constructor(world: World, config: Config, tell: (node: string, message: DownMessage) => void) {
    this.#world = world;
    this.#tell = tell;
    this.#rate = world.random.between(1 - 1e-3, 1 + 1e-3);
    const { decide } = world.product;
    let state = emptyState(config.cluster, 'h1', 'i0', this.wall());
    for (const node of config.nodes) state = decide(state, { type: 'enrol', node, publicKey: node }, this.wall()).state;
    state = decide(state, { type: 'apply', config }, this.wall()).state;
    this.#disk = state.durable;
    this.begin();
  }

  wall(): number {
    return Math.floor(this.#offset + this.#world.now * this.#rate);
  }

  stepClock(ms: number): void {
    this.#offset += ms;
    this.#world.note('coordinator', () => `its clock steps by ${Math.round(ms)} ms`);
  }

  get state(): ClusterState | undefined {
    return this.#current?.state;
  }

  tell(node: string, message: DownMessage): void {
    this.#tell(node, message);
  }

  /** Ends without a word. */
  crash(): void {
    const current = this.#current;
    if (current === undefined) return;
    current.end();
    this.#current = undefined;
    // what was being written is there, or not
    for (const write of this.#writing) {
      if (this.#world.random.chance(0.5)) break;
      if (write.from === current) this.#store(write.durable);
    }
    this.#writing = [];
    this.#world.note('coordinator', () => 'ends');
  }

  begin(): void {
    if (this.#current !== undefined) return;
    this.#instances += 1;
    const name = `i${this.#instances}`;
    this.#world.note('coordinator', () => `begins as instance ${name}`);
    this.#current = new Instance(this.#world, this, this.#disk, name);
  }

  /** Another instance begins elsewhere; the one that is replaced is not told, and goes on hearing what is sent to it. */
  replace(): void {
    if (this.#current === undefined) return;
    this.#stale?.end();
    this.#stale = this.#current;
    this.#current = undefined;
    this.#world.note('coordinator', () => 'is replaced without knowing it');
    this.begin();
  }

  endStale(): void {
    this.#stale?.end();
    this.#stale = undefined;
  }

  /** Data from before: what was written since is lost. */
  restore(agoMs: number): void {
    const older = this.#copies.findLast(({ at }) => at <= this.#world.now - agoMs);
    if (older === undefined) return;
    this.crash();
    this.#disk = older.durable;
    this.#copies = this.#copies.filter(({ at }) => at <= older.at);
    this.#world.note('coordinator', () => `its data is restored as of ${(older.at / 1_000).toFixed(3)}`);
    this.begin();
  }

  /** @param stale it arrives at the instance that was replaced, if there is one. */
  receive(report: Report, answer: Answer, stale: boolean): void {
    const instance = stale && this.#stale?.ended === false ? this.#stale : this.#current;
    instance?.receive(report, answer);
  }

  act(event: CoordinatorEvent): void {
    if (this.#current === undefined) return;
    const refused = this.#current.act(event);
    this.#world.note('operator', () => `${JSON.stringify(event).slice(0, 120)}: ${refused ?? 'done'}`);
  }

  /** The alarm fires: late, or once more. */
  alarm(): void {
    this.#current?.tick();
  }

  write(from: Instance, durable: Durable, done: () => void): void {
    const { random, product, now } = this.#world;
    const gated = !product.without.has('output-gate');
    const write: Write = { from, durable, done: gated ? done : () => undefined };
    if (!gated) done();
    this.#writing.push(write);
    // in the order in which they were begun
    const takesMs = random.between(1, 8) + (this.slowDiskMs === 0 ? 0 : this.slowDiskMs * random.next());
    this.#lastWriteAt = Math.max(this.#lastWriteAt, now + takesMs);
    this.#world.after(this.#lastWriteAt - now, () => this.#written(write));
  }

  #written(write: Write): void {
    const index = this.#writing.indexOf(write);
    if (index < 0) return;
    this.#writing.splice(index, 1);
    const { from, durable, done } = write;
    if (from.ended) return;
    if (from !== this.#current) {
      // C5: what was replaced writes nothing, and finds out by that
      if (this.#world.product.without.has('one-instance')) done();
      else from.end();
      return;
    }
    if (this.writeFails) {
      this.writeFails = false;
      this.#abandon(durable);
      return;
    }
    this.#store(durable);
    done();
  }

  /** An error means unknown, not undone: the next instance reads what is there. */
  #abandon(durable: Durable): void {
    if (this.#world.random.chance(0.5)) this.#store(durable);
    this.#writing = [];
    this.#current?.end();
    this.#current = undefined;
    this.#world.note('coordinator', () => 'its storage failed: it ends');
    this.#world.after(this.#world.random.between(20, 500), () => this.begin());
  }

  #store(durable: Durable): void {
    const { groups } = this.#disk;
    if (durable === this.#disk) return;
    this.#disk = durable;
    this.#copies.push({ at: this.#world.now, durable });
    if (this.#copies.length > COPIES) this.#copies.shift();
    if (durable.groups === groups) return;
    for (const { name, lease } of Object.values(durable.groups))
      if (lease !== null) this.#world.referee.granted(name, lease.epoch, lease.owner);
  }
}
