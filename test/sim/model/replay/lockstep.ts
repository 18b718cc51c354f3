/**
 * Model and code side by side. After every step of the model the code has done the same, and whatever the code would do next the model
 * allows. Where the code does less than the model allows, it must be for a reason that is known by name (stricter.ts).
 */
import { type Bounds, type Fault, NODE_NAMES } from '../bounds.ts';
import { eligible } from '../coordinator.ts';
import { type GuardName, guardsWithout } from '../guards.ts';
import { AGENT, GROUP as GROUP_STATES, NONE } from '../layout.ts';
import { Machine } from '../machine.ts';
import { MOVES, type MoveName } from '../moves.ts';
import { words } from '../trace.ts';
import { type Choice, type Step, Walk } from '../walk.ts';
import { Code } from './code.ts';
import { differences } from './compare.ts';
import type { Refusal } from './desk.ts';
import { OutOfOrder } from './guard.ts';
import { forbidden } from './probe.ts';
import { NOT_REPLAYED, STRICTER } from './stricter.ts';

/** Of random walks: whatever the model knows. */
export const EVERYTHING: Partial<Record<Fault, number>> = {
  pause: 2,
  crash: 2,
  power: 2,
  guard: 1,
  coordinator: 2,
  'clock-forward': 1,
  'clock-back': 1,
  voters: 2,
  release: 20,
  proof: 1,
};

export class Disagreement extends Error {
  override name = 'Disagreement';
}

export class Lockstep {
  readonly machine: Machine;
  readonly walk: Walk;
  readonly code: Code;
  /** How often a move was done by both, and how often the code refused for a reason of its own. */
  readonly done = new Map<string, number>();
  readonly stricter = new Map<string, number>();

  constructor(bounds: Bounds, dropped: readonly GuardName[] = []) {
    const { nodes, voters } = bounds;
    this.machine = new Machine({ ...bounds, epochs: 9 }, guardsWithout(dropped), false);
    this.walk = new Walk(this.machine, false);
    this.code = new Code(NODE_NAMES.slice(0, nodes), NODE_NAMES.slice(0, voters));
    this.#compare();
  }

  /** Everything both can do next. Throws where the code would do what the model forbids. */
  choices(): Choice[] {
    const choices = this.walk.choices();
    const what = this.#inOrder(() => forbidden(this, choices));
    if (what !== undefined) this.#disagree(what);
    return choices.filter(({ step }) => NOT_REPLAYED[moveName(step)] === undefined);
  }

  /** @returns why the code does not follow; nothing has happened then. */
  take(choice: Choice): Refusal | undefined {
    const refusal = this.#inOrder(() => this.code.probe(() => this.#attempt(choice.step)));
    if (refusal !== undefined) {
      count(this.stricter, `${moveName(choice.step)}: ${refusal}`);
      return refusal;
    }
    this.#attempt(choice.step);
    for (const situation of situations(this.machine, choice.step)) count(this.done, situation);
    this.walk.take(choice);
    count(this.done, moveName(choice.step));
    this.#align();
    this.#compare();
    return undefined;
  }

  mustBeStricter(choice: Choice, refusal: Refusal): void {
    if (STRICTER[refusal] === undefined)
      this.#disagree(`the model lets “${words(choice.step)}” happen, the code refuses: ${refusal}`);
  }

  #inOrder<Result>(attempt: () => Result): Result {
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof OutOfOrder)) throw error;
      return this.#disagree(error.message);
    }
  }

  #attempt(step: Step): Refusal | undefined {
    const { code } = this;
    const { node, other, epoch, extra } = step;
    const move = moveName(step);
    const set = (mask: number) => NODE_NAMES.filter((_, index) => ((mask >> index) & 1) === 1);
    switch (move) {
      case 'time passes':
        return void code.pass();
      case 'learns':
        return code.learn(node, epoch, other);
      case 'extends by answer':
        return code.extend(node, epoch, other, extra);
      case 'extends by promise':
        return code.hearPromise(node, other);
      case 'promises':
        return code.promise(node, other, epoch);
      case 'adopts':
        return code.adopt(node, epoch, other, extra);
      case 'decides to start':
        return code.decideToStart(node);
      case 'starts':
        return code.start(node);
      case 'stops and forgets':
        return this.#forget(node, epoch);
      case 'releases':
        return code.release(node);
      case 'gives back':
        return code.giveBack(node, epoch);
      case 'renews':
        return code.renew(node, epoch, other, extra);
      case 'renews an old epoch':
        return code.renew(node, epoch, (code.node(node).held?.voters.version ?? 1) - 1, 0);
      case 'grants':
        return code.grant(node, 'claim', set(other));
      case 'repeats the grant':
        return code.grant(node, 'claim', []);
      case 'grants to a dead incarnation':
        return code.grant(node, 'oldClaim', set(other));
      case 'hears the release':
        return code.hearRelease(node);
      case 'pauses':
        return void code.pause(node);
      case 'resumes':
        return void code.resume(node);
      case 'crashes':
        return void code.crash(node);
      case 'agent starts again':
        return void code.startAgain(node);
      case 'loses power':
        return void code.losePower(node);
      case 'boots':
        return void code.boot(node);
      case 'loses its guard':
        code.losePower(node);
        return void code.boot(node);
      case 'coordinator restarts':
        return void code.restart();
      case 'clock forward':
        return void code.stepClock(1);
      case 'clock back':
        return void code.stepClock(-1);
      case 'changes voters':
        return code.desk.changeVoters(set(other));
      case 'is proven dead':
        return code.confirmDead(node, extra === 2);
      default:
        return `no counterpart: ${move}`;
    }
  }

  /** The code tells; where its epoch is over, that changes nothing. */
  #forget(node: number, epoch: number): Refusal | undefined {
    const { code } = this;
    if (epoch === code.desk.lease?.epoch && !code.desk.lease.released) return 'says-so';
    return code.release(node) ?? code.hearRelease(node);
  }

  /**
   * The code's lease may be shorter than the model's: another process of the agent does not know who has promised until when, nor of a
   * lease that the guard did not have yet, and a sole voter lengthens its own lease only while its agent runs and the guard has it. Who has less
   * time may always stop; so the model stops as well.
   */
  #align(): void {
    const { at } = this.machine;
    this.code.nodes.forEach((node, index) => {
      const m = this.machine;
      const up = m.get(at.group + index) !== GROUP_STATES.down;
      const runs = m.get(at.agent + index) === AGENT.running;
      const holds = m.get(at.held + index) !== 0 && m.get(at.lost + index) === 0;
      const alone = holds && m.byPromises(m.from, index) === NONE;
      if (alone && !(runs && node.held?.kept === true)) node.shortened = true;
      if (!node.shortened) return;
      if (!runs && up && node.group === 'down') this.#alsoTake('fuse fires early', index);
      const gone = holds ? node.active === undefined : node.held === undefined;
      if (runs && node.runs && m.get(at.held + index) !== 0 && gone) this.#alsoTake('stops and forgets', index);
    });
  }

  #alsoTake(move: MoveName, node: number): void {
    const choice = this.walk.choices().find(({ step }) => moveName(step) === move && step.node === node);
    if (choice === undefined) this.#disagree(`${NODE_NAMES[node]} has stopped, in the model it cannot have`);
    this.walk.take(choice);
    count(this.done, `${move}, after the code`);
  }

  #compare(): void {
    const [difference] = differences(this);
    if (difference !== undefined) this.#disagree(difference);
  }

  #disagree(what: string): never {
    const story = this.walk.steps.map((step, index) => `${index + 1}. ${words(step)}`);
    throw new Disagreement(`${what}\n${story.join('\n')}`);
  }
}

/** What must have come up for walks to prove anything about promises and voters. */
export const SITUATIONS = [
  'lives on promises',
  'takes up, its promise void',
  'granted while it keeps out',
  'granted to a voter, not to everybody',
  'restarts with a promise',
  'restarts with a lease',
  'a change of voters is complete',
] as const;

function situations(m: Machine, { move, node, other }: Step): (typeof SITUATIONS)[number][] {
  const { at } = m;
  switch (MOVES[move]) {
    case 'extends by promise':
      return m.get(at.lease + node) === 0 && m.get(at.group + node) === GROUP_STATES.up ? ['lives on promises'] : [];
    case 'adopts':
      return m.get(at.promise + node) > 0 ? ['takes up, its promise void'] : [];
    case 'grants':
      return [
        ...(m.get(at.promise + node) > 0 ? (['granted while it keeps out'] as const) : []),
        ...(eligible(m) === m.all ? [] : (['granted to a voter, not to everybody'] as const)),
      ];
    case 'agent starts again':
      return [
        ...(m.get(at.promise + node) > 0 ? (['restarts with a promise'] as const) : []),
        ...(m.valid(m.from, node) ? (['restarts with a lease'] as const) : []),
      ];
    case 'renews':
      return m.get(at.pending) !== 0 && other === m.get(at.inForce) + 1 ? ['a change of voters is complete'] : [];
    default:
      return [];
  }
}

export function moveName(step: Step): MoveName {
  return MOVES[step.move] ?? 'time passes';
}

function count(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}
