/** A client that inserts numbered rows through the virtual address all the time, and remembers which were acknowledged. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { monotonicMs, until } from '../lab/index.ts';
import type { Machine } from './machine.ts';
import type { Network } from './network.ts';

const SCHEMA = `CREATE DATABASE IF NOT EXISTS app;
CREATE TABLE IF NOT EXISTS app.written (number BIGINT PRIMARY KEY) ENGINE=InnoDB;
CREATE USER IF NOT EXISTS writer@'%' IDENTIFIED BY '';
GRANT INSERT ON app.written TO writer@'%';`;

interface Outcome {
  /** Left out: it could not even be sent. */
  readonly number?: number;
  readonly sentMs: number;
  readonly atMs: number;
  /** Left out: acknowledged. */
  readonly error?: string;
}

/** A pause between two acknowledgements. */
export interface Gap {
  readonly ms: number;
  readonly fromMs: number;
  readonly toMs: number;
}

export class Writer {
  readonly startedMs = monotonicMs();
  readonly #outcomes: Outcome[] = [];
  readonly #process: ChildProcess;

  private constructor(network: Network, address: string, first: number) {
    const probe = [process.execPath, join(import.meta.dirname, 'writer-probe.ts'), address, String(first)];
    const [program = '', ...args] = network.inside(probe);
    this.#process = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#process.unref();
    const { stdout } = this.#process;
    if (stdout === null) throw new Error('the writer has no output');
    createInterface(stdout).on('line', (line) => this.#outcomes.push(JSON.parse(line)));
  }

  /** Makes the table on the machine that has the database, where it is not there, and begins behind its last row. */
  static async start(network: Network, address: string, owner: Machine): Promise<Writer> {
    await owner.mustExec('mariadb', { input: SCHEMA });
    const last = await owner.mustExec(
      'mariadb --batch --skip-column-names -e "SELECT COALESCE(MAX(number), 0) FROM app.written"',
    );
    // rows that were sent and not acknowledged may still be on their way
    const writer = new Writer(network, address, Number(last) + 1_000);
    await writer.acknowledgedAfter(writer.startedMs, 30_000);
    return writer;
  }

  get acknowledged(): number[] {
    return this.#outcomes.flatMap(({ number, error }) => (number === undefined || error !== undefined ? [] : [number]));
  }

  /** Waits for the acknowledgement of a row that was sent after that. */
  async acknowledgedAfter(sinceMs: number, deadlineMs: number): Promise<void> {
    const there = () => this.#outcomes.some(({ sentMs, error }) => error === undefined && sentMs >= sinceMs);
    const last = () => this.#outcomes.findLast(({ error }) => error !== undefined)?.error ?? 'nothing';
    try {
      await until(there, { deadlineMs, everyMs: 20, what: 'a row to be acknowledged' });
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}; the writer was told: ${last()}`, {
        cause: error,
      });
    }
  }

  /** Those of the acknowledged rows that the database on this machine does not have, with the age of their acknowledgement. */
  async missing(owner: Machine): Promise<string[]> {
    const askedMs = monotonicMs();
    // it goes on: what is acknowledged while the database is asked need not be in the answer
    const acknowledged = this.#outcomes.filter(({ error }) => error === undefined);
    const rows = await owner.mustExec('mariadb --batch --skip-column-names -e "SELECT number FROM app.written"');
    const there = new Set(rows.split('\n').map(Number));
    return acknowledged
      .filter(({ number }) => number === undefined || !there.has(number))
      .map(
        ({ number, atMs }) =>
          `row ${number}, acknowledged ${Math.round(askedMs - atMs)} ms before the database was asked`,
      );
  }

  /** The longest time without an acknowledgement that ended after that. */
  longestGap(sinceMs: number): Gap {
    let longest: Gap = { ms: 0, fromMs: sinceMs, toMs: sinceMs };
    let fromMs = this.startedMs;
    for (const { error, atMs: toMs } of this.#outcomes) {
      if (error !== undefined) continue;
      if (toMs > sinceMs && toMs - fromMs > longest.ms) longest = { ms: toMs - fromMs, fromMs, toMs };
      fromMs = toMs;
    }
    return longest;
  }

  stop(): void {
    this.#process.kill('SIGKILL');
  }
}
