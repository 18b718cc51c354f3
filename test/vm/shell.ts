/**
 * Commands for a virtual machine, by ssh. One connection carries them all: a handshake takes an emulated processor half a second, which
 * would be taken from what is measured.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type Finished, until, within } from '../lab/index.ts';

export interface ExecOptions {
  input?: string | Buffer;
  /** After this the command is given up and a `DeadlineError` thrown; 60 s when left out. It may still run in the machine. */
  deadlineMs?: number;
}

export interface ShellOptions {
  /** The ssh program, with what stands before it to run it in the right namespace. */
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly key: string;
  readonly address: string;
  /** Where the socket of the connection is. */
  readonly socket: string;
}

const CONNECT_MS = 20_000;

export class Shell {
  readonly #options: ShellOptions;
  #connection: ChildProcess | undefined;
  #connecting: Promise<void> | undefined;

  constructor(options: ShellOptions) {
    this.#options = options;
  }

  /** Runs a command of the machine's shell to its end. Throws when the machine cannot be reached. */
  async exec(command: string, options: ExecOptions = {}): Promise<Finished> {
    if (this.#connection === undefined) {
      this.#connecting ??= this.#connect().finally(() => {
        this.#connecting = undefined;
      });
      await this.#connecting;
    }
    const child = this.#spawn([command], 'pipe');
    let [stdout, stderr] = ['', ''];
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin?.on('error', () => {
      // The command does not read its input, or the machine is gone; its exit code tells.
    });
    child.stdin?.end(options.input ?? '');
    const ended = once(child, 'close').then(([code, signal]): Finished => ({ code, signal, stdout, stderr }));
    const wait = { deadlineMs: options.deadlineMs ?? 60_000, what: `"${command}" at ${this.#options.address}` };
    return await within(ended, wait).finally(() => child.kill('SIGKILL'));
  }

  async #connect(): Promise<void> {
    const { socket, address } = this.#options;
    await rm(socket, { force: true });
    const connection = this.#spawn(['-M', '-N'], 'ignore');
    let ended = false;
    connection.once('exit', () => {
      ended = true;
      if (this.#connection === connection) this.#connection = undefined;
    });
    connection.unref();
    try {
      await until(() => ended || existsSync(socket), { deadlineMs: CONNECT_MS, what: `ssh to ${address}` });
    } catch (error) {
      connection.kill('SIGKILL');
      throw error;
    }
    if (ended) throw new Error(`${address} takes no commands`);
    this.#connection = connection;
  }

  /** @param words options without a command, or a command. */
  #spawn(words: readonly string[], stdio: 'pipe' | 'ignore'): ChildProcess {
    const { argv, env, key, address, socket } = this.#options;
    const settings = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR'];
    settings.push('ConnectTimeout=5', 'ServerAliveInterval=5', 'ServerAliveCountMax=3', 'IdentitiesOnly=yes');
    const options = ['-F', 'none', '-i', key, '-S', socket, ...settings.flatMap((setting) => ['-o', setting])];
    const isCommand = !words[0]?.startsWith('-');
    const [program = '', ...args] = [...argv, ...options, ...(isCommand ? [] : words), `root@${address}`];
    return spawn(program, isCommand ? [...args, ...words] : args, { env, stdio });
  }

  /** Forgets the connection, because the machine at its other end is gone. */
  close(): void {
    this.#connection?.kill('SIGKILL');
    this.#connection = undefined;
  }
}
