/**
 * Asks the segment all the time who has the virtual address, and keeps who answered: what a switch or a client would see. Each
 * question is a broadcast, so that two holders would both answer it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { monotonicMs } from '../lab/index.ts';
import type { Network } from './network.ts';
import type { Tools } from './tools.ts';

export interface Reply {
  readonly mac: string;
  readonly atMs: number;
}

export class AddressWatch {
  readonly replies: Reply[] = [];
  readonly #process: ChildProcess;
  #problem: string | undefined;

  private constructor(child: ChildProcess) {
    this.#process = child;
  }

  static start(network: Network, tools: Tools, address: string): AddressWatch {
    const [program = '', ...args] = network.inside([tools.path('arping'), '-b', '-I', 'lan', address]);
    const child = spawn(program, args, { env: tools.qemuEnv, stdio: ['ignore', 'pipe', 'pipe'] });
    const watch = new AddressWatch(child);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.once('exit', (code, signal) => {
      watch.#problem = `arping ended (${signal ?? code}): ${said.trim()}`;
    });
    createInterface(child.stdout).on('line', (line) => {
      const mac = /reply from \S+ \[([0-9A-F:]{17})\]/i.exec(line)?.[1];
      if (mac !== undefined) watch.replies.push({ mac: mac.toLowerCase(), atMs: monotonicMs() });
    });
    for (const stream of [child.stdout, child.stderr])
      if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
    child.unref();
    return watch;
  }

  /** Who answered since then, in order, without repetitions one after the other. Throws if nobody was asked any more. */
  turns(sinceMs: number): string[] {
    if (this.#problem !== undefined) throw new Error(`the address was not watched to the end: ${this.#problem}`);
    const macs = this.replies.filter(({ atMs }) => atMs >= sinceMs).map(({ mac }) => mac);
    return macs.filter((mac, index) => mac !== macs[index - 1]);
  }

  stop(): void {
    this.#process.kill('SIGKILL');
  }
}
