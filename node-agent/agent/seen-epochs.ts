/**
 * What this node has seen and promised, on its way to the disk (P1, P2): an epoch is acted upon, and a promise answered, only when it is
 * there.
 */
import { FileWriteError, type Log } from '../system/index.ts';
import { type Identity, updateNodeFile } from './identity.ts';
import type { Journal } from './journal.ts';
import { type KeepEffect, type KeepState, persisted } from './keep.ts';
import type { StateFile } from './state-file.ts';

type Persist = Extract<KeepEffect, { kind: 'persist' }>;

export interface SeenEpochsOptions {
  readonly stateDir: string;
  readonly identity: Identity;
  readonly files: StateFile;
  readonly journal: Journal;
  readonly log: Log;
}

export class SeenEpochs {
  readonly #options: SeenEpochsOptions;
  #saved: Promise<void> = Promise.resolve();
  /** What failed and was told, until something is written again: a full disk is met at every ask of every neighbour. */
  readonly #told = new Set<string>();

  constructor(options: SeenEpochsOptions) {
    this.#options = options;
  }

  /** The newest write; rejects when it failed. */
  get saved(): Promise<void> {
    return this.#saved;
  }

  save(effect: Persist): void {
    this.#saved = this.#write(effect);
    // a failure is judged where something waits for it; a history alone is written again with the next epoch
    this.#saved.catch((error: unknown) => this.notWritable(error));
  }

  /** Everything seen so far is on disk; what could not be written is tried again. @throws FileWriteError. */
  async onDisk(newest: () => KeepState): Promise<void> {
    try {
      await this.#saved;
    } catch {
      this.save(persisted(newest()));
      await this.#saved;
    }
  }

  /** Tells each failure once, in the log and as an event. */
  notWritable(error: unknown): void {
    const { journal, log, stateDir } = this.#options;
    const reason = error instanceof FileWriteError ? error.message : String(error);
    if (this.#told.has(reason)) return;
    this.#told.add(reason);
    log.warn(`state cannot be written: ${reason}`);
    journal.add({
      kind: 'agent.state-not-writable',
      severity: 'error',
      detail: `${reason}; free space in ${stateDir}`,
    });
  }

  async #write({ history, epochs, promiseMs, coordinator }: Persist): Promise<void> {
    const { files, stateDir, identity, log } = this.#options;
    await files.saveEpochs({ history, epochs: { ...epochs }, promiseMs, coordinator });
    if (history !== identity.history) await updateNodeFile(stateDir, { history });
    if (this.#told.size === 0) return;
    this.#told.clear();
    log.info(`state can be written again in ${stateDir}`);
  }
}
