/**
 * What an agent must remember over its own end and the host's: the highest epochs it has seen (they change only at takeovers, and are
 * on disk before an epoch is acted upon), and the configuration it last worked by, so that a host that comes back without a
 * coordinator can still verify that everything is stopped.
 */
import { join } from 'node:path';
import * as z from 'zod';
import { type NodeConfig, nodeConfigSchema, type Reply, replySchema } from '../../schemas/wire.ts';
import { parseJson, readIfThere, writeFileDurably } from '../system/index.ts';

const epochsSchema = z.object({
  history: z.string().nullable(),
  epochs: z.record(z.string(), z.int().nonnegative()),
  /** The longest promise that this node has given and that may still run, ms (P3). */
  promiseMs: z.int().nonnegative().default(0),
  /** The newest start of the coordinator that this node has heard (C7). */
  coordinator: z.object({ generation: z.int().nonnegative(), instance: z.string() }).nullable().default(null),
});
export type Epochs = z.infer<typeof epochsSchema>;

/** The file exists and cannot be used. Without its epochs this node must not act. */
export class StateFileError extends Error {
  constructor(path: string, why: string) {
    super(
      `${path} ${why}; it holds the highest epochs this node has seen. Restore it, or remove the node from the cluster, delete the state directory and join again`,
    );
    this.name = 'StateFileError';
  }
}

export class StateFile {
  readonly #epochsPath: string;
  readonly #configPath: string;
  readonly #peersPath: string;
  /** What the next write of the epochs will hold, and its end; it has not begun. */
  #next: { epochs: Epochs; readonly written: Promise<void> } | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(stateDir: string) {
    this.#epochsPath = join(stateDir, 'epochs.json');
    this.#configPath = join(stateDir, 'config.json');
    this.#peersPath = join(stateDir, 'peers.json');
  }

  /** @throws {StateFileError} a damaged file is not an empty one. */
  async epochs(): Promise<Epochs> {
    const text = await readIfThere(this.#epochsPath);
    if (text === undefined) return { history: null, epochs: {}, promiseMs: 0, coordinator: null };
    const parsed = epochsSchema.safeParse(parseJson(text));
    if (!parsed.success) throw new StateFileError(this.#epochsPath, 'is damaged');
    return parsed.data;
  }

  /**
   * Epochs only rise, so the newest are as good for everybody who waits: what is asked for while a write is on its way shares the
   * next one. Otherwise the last of many groups that come at once would wait longer for the disk than its lease lasts.
   */
  saveEpochs(epochs: Epochs): Promise<void> {
    if (this.#next !== undefined) {
      this.#next.epochs = epochs;
      return this.#next.written;
    }
    const write = async (): Promise<void> => {
      const { epochs: newest = epochs } = this.#next ?? {};
      this.#next = undefined;
      await writeFileDurably(this.#epochsPath, `${JSON.stringify(newest)}\n`);
    };
    const written = this.#writing.then(write, write);
    this.#writing = written;
    this.#next = { epochs, written };
    return written;
  }

  /** @returns undefined if there is none, or it is damaged: the coordinator sends it again. */
  async config(): Promise<NodeConfig | undefined> {
    const text = await readIfThere(this.#configPath);
    if (text === undefined) return undefined;
    const parsed = nodeConfigSchema.safeParse(parseJson(text));
    return parsed.success ? parsed.data : undefined;
  }

  /** @returns undefined if there are none, or the file is damaged: the coordinator sends them again. */
  async peers(): Promise<Reply['peers']> {
    const text = await readIfThere(this.#peersPath);
    return text === undefined ? undefined : replySchema.shape.peers.safeParse(parseJson(text)).data;
  }

  async savePeers(peers: NonNullable<Reply['peers']>): Promise<void> {
    await writeFileDurably(this.#peersPath, `${JSON.stringify(peers)}\n`);
  }

  async saveConfig(config: NodeConfig): Promise<void> {
    await writeFileDurably(this.#configPath, `${JSON.stringify(config)}\n`);
  }
}
