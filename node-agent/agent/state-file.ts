/**
 * What an agent must remember over its own end and the host's: the highest epochs it has seen (they change only at takeovers, and are
 * on disk before an epoch is acted upon), and the configuration it last worked by, so that a host that comes back without a
 * coordinator can still verify that everything is stopped.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { type NodeConfig, nodeConfigSchema } from '../../schemas/wire.ts';
import { errnoOf, writeFileDurably } from '../system/index.ts';

const epochsSchema = z.object({
  history: z.string().nullable(),
  epochs: z.record(z.string(), z.int().nonnegative()),
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

  constructor(stateDir: string) {
    this.#epochsPath = join(stateDir, 'epochs.json');
    this.#configPath = join(stateDir, 'config.json');
  }

  /** @throws {StateFileError} a damaged file is not an empty one. */
  async epochs(): Promise<Epochs> {
    const text = await readIfThere(this.#epochsPath);
    if (text === undefined) return { history: null, epochs: {} };
    const parsed = epochsSchema.safeParse(parseJson(text));
    if (!parsed.success) throw new StateFileError(this.#epochsPath, 'is damaged');
    return parsed.data;
  }

  async saveEpochs(epochs: Epochs): Promise<void> {
    await writeFileDurably(this.#epochsPath, `${JSON.stringify(epochs)}\n`);
  }

  /** @returns undefined if there is none, or it is damaged: the coordinator sends it again. */
  async config(): Promise<NodeConfig | undefined> {
    const text = await readIfThere(this.#configPath);
    if (text === undefined) return undefined;
    const parsed = nodeConfigSchema.safeParse(parseJson(text));
    return parsed.success ? parsed.data : undefined;
  }

  async saveConfig(config: NodeConfig): Promise<void> {
    await writeFileDurably(this.#configPath, `${JSON.stringify(config)}\n`);
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
