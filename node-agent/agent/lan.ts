/**
 * The exchange with the other nodes, as the loop sees it: where this node is found, whom it knows, questions and answers. What is known
 * of the peers is on disk, so that an agent that starts during an outage of the coordinator goes on asking and answering.
 */
import type { KeyObject } from 'node:crypto';
import type { Peer, PeerAnswer, PeerAsk, PeerEndpoint } from '../../schemas/peer.ts';
import type { Reply } from '../../schemas/wire.ts';
import { bootMs, type Log, textOf } from '../system/index.ts';
import type { Question } from './keep-promises.ts';
import { Peers } from './peers.ts';
import type { StateFile } from './state-file.ts';

/** Its own addresses are looked up again after this time. */
const ADDRESSES_MS = 10_000;
const LISTEN_AGAIN_MS = 5_000;

type KnownPeers = NonNullable<Reply['peers']>;
type Verdict = Pick<PeerAnswer, 'promised' | 'refused'>;

export interface LanOptions {
  readonly node: string;
  readonly cluster: string;
  readonly incarnation: string;
  readonly key: KeyObject;
  readonly listen: { readonly address?: string | undefined; readonly port: number };
  readonly files: StateFile;
  readonly log: Log;
  /** Addresses that wander with a group: nobody is found by them. */
  readonly virtualAddresses: () => ReadonlySet<string>;
  readonly onAsk: (ask: PeerAsk) => void;
  readonly onAnswer: (answer: PeerAnswer) => void;
  /** How long until it tries again to listen, ms; 5,000. */
  readonly listenAgainMs?: number;
}

export class Lan {
  readonly #options: LanOptions;
  readonly #peers: Peers;
  /** Questions of peers that the keeper is about to answer. */
  readonly #open = new Map<string, (verdict: Verdict) => void>();
  #known: KnownPeers | undefined;
  #listens = false;
  #closed = false;
  #again: NodeJS.Timeout | undefined;
  #endpoint: PeerEndpoint | null = null;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: LanOptions) {
    this.#options = options;
    const { node, cluster, incarnation, key, listen, log } = options;
    this.#peers = new Peers({
      node,
      cluster,
      incarnation,
      key,
      listen,
      bootMs,
      log,
      onAsk: (ask, answer) => {
        this.#open.set(nameOf(ask.from, ask.id), answer);
        options.onAsk(ask);
      },
      onAnswer: options.onAnswer,
    });
  }

  /**
   * Listens, with the peers that are on disk. Where it cannot listen (its address is not there yet, the port is taken), the node runs without
   * promises, says so, and tries again.
   */
  async start(): Promise<void> {
    const saved = await this.#options.files.peers();
    if (saved !== undefined) this.#use(saved);
    await this.#listen(undefined);
  }

  /** @param before what it failed by the last time, which is not said again. */
  async #listen(before: string | undefined): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#peers.start();
      this.#listens = !this.#closed;
      if (before !== undefined) this.#options.log.info('listens for the other nodes now: promises are exchanged');
    } catch (error) {
      const problem = textOf(error);
      if (problem !== before)
        this.#options.log.warn(
          `no promises: ${problem}; it is tried again. Until this is mended the groups here stop when the coordinator is away for longer than a lease`,
        );
      this.#again = setTimeout(() => void this.#listen(problem), this.#options.listenAgainMs ?? LISTEN_AGAIN_MS);
    }
  }

  /** Version of the list that is worked by. */
  get version(): string | null {
    return this.#known?.version ?? null;
  }

  /** Where this node is found; null while it does not listen. */
  endpoint(): PeerEndpoint | null {
    if (!this.#listens) return null;
    if (bootMs() < this.#lookedAtMs + ADDRESSES_MS) return this.#endpoint;
    this.#lookedAtMs = bootMs();
    this.#endpoint = this.#peers.endpoint(this.#options.virtualAddresses());
    return this.#endpoint;
  }

  /** How long ago each peer was last heard, ms; null: not since this agent started. */
  heard(): Record<string, number | null> {
    const nowMs = bootMs();
    return Object.fromEntries(
      (this.#known?.list ?? []).map(({ node }) => {
        const atMs = this.#peers.lastHeard(node);
        return [node, atMs === undefined ? null : nowMs - atMs];
      }),
    );
  }

  /** The coordinator has told of other peers. */
  learn(peers: KnownPeers): void {
    if (peers.version === this.version) return;
    this.#use(peers);
    this.#options.files
      .savePeers(peers)
      .catch((error: unknown) => this.#options.log.warn(`the list of peers was not saved: ${textOf(error)}`));
  }

  ask({ to, id, leaseMs, leases }: Question): void {
    this.#peers.ask(to, { id, leaseMs, leases: [...leases] });
  }

  /** @param verdict undefined: there is none, nothing is answered. */
  answer(to: string, id: string, verdict: Verdict | undefined): void {
    const name = nameOf(to, id);
    const answer = this.#open.get(name);
    this.#open.delete(name);
    if (verdict !== undefined) answer?.(verdict);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#peers.close();
  }

  #use(peers: KnownPeers): void {
    this.#known = peers;
    this.#peers.setPeers(peers.list satisfies readonly Peer[]);
  }
}

function nameOf(peer: string, id: string): string {
  return `${peer} ${id}`;
}
