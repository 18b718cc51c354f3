/** Answers under way: of each kind the youngest, for an older one does nothing that it does not do. */
import type { KeepEvent } from '../../../../node-agent/agent/keep.ts';
import type { Reply } from '../../../../schemas/wire.ts';
import type { Answer } from './agent.ts';

/** The coordinator's. */
export interface UnderWay {
  readonly index: number;
  readonly kind: 'renewal' | 'grant';
  readonly epoch: number;
  /** Of the newest voters that it tells of, as the model counts it. */
  readonly version: number;
  readonly reply: Reply;
  readonly atMs: number;
}

/** A voter's. */
export interface Promise {
  readonly owner: number;
  readonly voter: number;
  /** The voter's name. */
  readonly from: string;
  readonly answer: Answer;
  readonly atMs: number;
}

type Kind = Pick<UnderWay, 'index' | 'kind' | 'epoch' | 'version'>;

export class Post {
  replies: readonly UnderWay[] = [];
  promises: readonly Promise[] = [];
  /** To processes that are no more. */
  #stale: readonly (UnderWay | Promise)[] = [];

  /** @returns what puts everything back as it is now. */
  save(): () => void {
    const { replies, promises } = this;
    const stale = this.#stale;
    return () => {
      this.replies = replies;
      this.promises = promises;
      this.#stale = stale;
    };
  }

  reply({ kind, index, epoch, version }: Kind): UnderWay | undefined {
    return this.replies.find(
      (one) => one.kind === kind && one.index === index && one.epoch === epoch && one.version === version,
    );
  }

  answer(reply: UnderWay): void {
    const known = this.reply(reply);
    if (known !== undefined && known.atMs > reply.atMs) return;
    this.replies = [...this.replies.filter((one) => one !== known), reply];
  }

  promise(owner: number, voter: number): Promise | undefined {
    return this.promises.find((one) => one.owner === owner && one.voter === voter);
  }

  promised(promise: Promise): void {
    const known = this.promise(promise.owner, promise.voter);
    this.promises = [...this.promises.filter((one) => one !== known), promise];
  }

  /** The process on this node has ended. */
  forget(index: number): void {
    const ended = [...this.replies, ...this.promises].filter((one) => isTo(one, index));
    this.#stale = [...this.#stale, ...ended].slice(-8);
    this.replies = this.replies.filter((one) => !isTo(one, index));
    this.promises = this.promises.filter((one) => !isTo(one, index));
  }

  /** What is under way to this node: answers of the coordinator first. */
  events(index: number): KeepEvent[] {
    return [...this.replies, ...this.promises].filter((one) => isTo(one, index)).map(eventOf);
  }

  /** What may still arrive at the next process of a node, and must mean nothing to it. */
  stale(index: number): KeepEvent[] {
    return this.#stale.filter((one) => isTo(one, index)).map(eventOf);
  }
}

function isTo(one: UnderWay | Promise, index: number): boolean {
  return ('owner' in one ? one.owner : one.index) === index;
}

export function eventOf(one: UnderWay | Promise): KeepEvent {
  if (!('owner' in one)) return { type: 'reply', reply: one.reply };
  const { id, promised } = one.answer;
  return { type: 'promised', answer: { id, from: one.from, promised } };
}
