/** The disk of a host: what survives its agent and its power, and how it gets there (node-agent/agent/state-file.ts). */
import type { NodeConfig, Reply } from '../../schemas/wire.ts';
import type { Process } from './process.ts';

export interface Epochs {
  readonly history: string | null;
  readonly epochs: Readonly<Record<string, number>>;
  readonly promiseMs: number;
  /** The newest start of the coordinator that was heard. */
  readonly coordinator: { readonly generation: number; readonly instance: string } | null;
}

export const NO_EPOCHS: Epochs = { history: null, epochs: {}, promiseMs: 0, coordinator: null };

export interface Disk {
  epochs: Epochs;
  config: NodeConfig | undefined;
  peers: Reply['peers'];
}

export const emptyDisk = (): Disk => ({
  epochs: NO_EPOCHS,
  config: undefined,
  peers: undefined,
});

/** Something that ends, well or not; whoever asks later is told at once. */
export class Ending<T> {
  #outcome: { readonly value: T } | undefined;
  #waiting: ((value: T) => void)[] = [];

  once(act: (value: T) => void): void {
    if (this.#outcome === undefined) this.#waiting.push(act);
    else act(this.#outcome.value);
  }

  end(value: T): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = { value };
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const act of waiting) act(value);
  }
}

export const ended = <T>(value: T): Ending<T> => {
  const ending = new Ending<T>();
  ending.end(value);
  return ending;
};

interface Write {
  epochs: Epochs;
  readonly written: Ending<boolean>;
}

export interface Speed {
  /** What a write takes at most. */
  persistMs: number;
  /** It is full, or read-only. */
  diskFails: boolean;
}

/** One write at a time; what is asked for meanwhile shares the next. */
export class EpochsFile {
  readonly #disk: Disk;
  readonly #process: Process;
  readonly #speed: Speed;
  #next: Write | undefined;
  #writing: Write | undefined;

  constructor(disk: Disk, process: Process, speed: Speed) {
    this.#disk = disk;
    this.#process = process;
    this.#speed = speed;
  }

  /** @returns whether it could be written. */
  save(epochs: Epochs): Ending<boolean> {
    if (this.#next !== undefined) {
      this.#next.epochs = epochs;
      return this.#next.written;
    }
    const write: Write = { epochs, written: new Ending() };
    this.#next = write;
    if (this.#writing === undefined) this.#write();
    return write.written;
  }

  #write(): void {
    const write = this.#next;
    this.#next = undefined;
    this.#writing = write;
    if (write === undefined) return;
    this.#process.later(this.#process.random.between(1, this.#speed.persistMs), () => {
      const ok = !this.#speed.diskFails;
      if (ok) this.#disk.epochs = write.epochs;
      this.#writing = undefined;
      this.#write();
      write.written.end(ok);
    });
  }

  /** The process has ended: what it was writing is there, or not. */
  abandon(): void {
    if (this.#writing !== undefined && this.#process.random.chance(0.5)) this.#disk.epochs = this.#writing.epochs;
    this.#writing = undefined;
    this.#next = undefined;
  }
}
