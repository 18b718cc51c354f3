/**
 * The exchange with the other agents, as lan.ts and peers.ts carry it. What makes a message authentic is not simulated, what makes it new
 * is: an old question is heard only where its sender has not been heard since. Answers come late and twice.
 */
import type { KeepEffect } from '../../node-agent/agent/keep.ts';
import type { Question } from '../../node-agent/agent/keep-promises.ts';
import type { PeerAnswer, PeerAsk } from '../../schemas/peer.ts';
import type { Reply } from '../../schemas/wire.ts';
import type { Agent } from './agent.ts';
import type { Host } from './host.ts';

type Ask = Pick<PeerAsk, 'type' | 'id' | 'from' | 'incarnation' | 'sequence' | 'leaseMs' | 'leases'>;
type Answer = Pick<PeerAnswer, 'type' | 'id' | 'from' | 'promised' | 'refused'>;

/** With the address that an answer goes to. */
export type LanMessage = (Ask | Answer) & { readonly source: string };

export class Lan {
  readonly #host: Host;
  readonly #agent: Agent;
  #known: NonNullable<Reply['peers']> | undefined;
  /** The highest sequence heard, by incarnation. */
  readonly #highest = new Map<string, number>();
  /** Where the questions came from that the keeper is about to answer. */
  readonly #open = new Map<string, string>();

  constructor(host: Host, agent: Agent) {
    this.#host = host;
    this.#agent = agent;
    this.#known = host.disk.peers;
  }

  get version(): string | null {
    return this.#known?.version ?? null;
  }

  /** The coordinator has told of other peers. */
  learn(peers: NonNullable<Reply['peers']>): void {
    if (peers.version === this.version) return;
    this.#known = peers;
    this.#agent.process.later(this.#agent.process.random.between(1, 20), () => {
      this.#host.disk.peers = peers;
    });
  }

  #addressOf(node: string): string | undefined {
    return this.#known?.list.find((peer) => peer.node === node)?.addresses[0];
  }

  ask({ to, id, leaseMs, leases }: Question): void {
    const address = this.#addressOf(to);
    if (address === undefined) return;
    const { node, name } = this.#host;
    const sequence = this.#host.nextSequence();
    const { incarnation } = this.#agent;
    const ask: Ask = { type: 'ask', id, from: node, incarnation, sequence, leaseMs, leases: [...leases] };
    this.#host.wires.lan(this.#host, address, { ...ask, source: name });
  }

  answer({ to, id, promised, refused }: Extract<KeepEffect, { kind: 'answer' }>): void {
    const source = this.#open.get(`${to} ${id}`);
    this.#open.delete(`${to} ${id}`);
    if (source === undefined) return;
    const { node, name } = this.#host;
    this.#host.wires.lan(this.#host, source, { type: 'answer', id, from: node, promised, refused, source: name });
  }

  receive(message: LanMessage): void {
    // from no node that this one knows as a peer
    if (this.#addressOf(message.from) === undefined) return;
    if (message.type === 'answer') {
      this.#agent.decide({ type: 'promised', answer: message });
      return;
    }
    if (message.sequence <= (this.#highest.get(message.incarnation) ?? 0)) return;
    this.#highest.set(message.incarnation, message.sequence);
    this.#open.set(`${message.from} ${message.id}`, message.source);
    this.#agent.decide({ type: 'ask', ask: message });
  }
}
