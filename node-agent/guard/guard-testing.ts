/** For the tests of the guard: the program, agents that it may kill, and what it reads of the machine. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { isAlive, until } from '../system/testing.ts';
import { GuardClient, type GuardGroup } from './index.ts';
import type { Verb } from './test-agent.ts';

/** Where the sources of the guard are. */
export const here: string = import.meta.dirname;

const CGROUP_MOUNT = / (\/\S+) \S+ (?:\S+ )*?- cgroup2 /;
/** Where the kernel shows its cgroups; undefined where there are none. */
export const cgroupMount: string | undefined = CGROUP_MOUNT.exec(readFileSync('/proc/self/mountinfo', 'utf8'))?.[1];

/** What this machine does not have of what a test needs: root, these programs, cgroups; false when nothing is missing. */
export function missing(tools: readonly string[], cgroups = true): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const tool of tools) if (spawnSync(tool, ['--version']).error !== undefined) return `needs ${tool}`;
  return cgroups && cgroupMount === undefined && 'needs cgroup v2';
}

/** @param sources as a shell finds them; left out: those of the guard. */
export function compile(binary: string, sources = `${here}/*.c`): void {
  execFileSync('sh', ['-c', `cc -O2 -std=gnu11 -Wall -Wextra -Werror -o ${binary} ${sources}`]);
}

/** Writes a program that starts the guard in a mount namespace of its own. */
export function writeApart(program: string, binary: string): void {
  writeFileSync(program, `#!/bin/sh\nexec unshare --mount --propagation private ${binary} "$@"\n`, { mode: 0o755 });
}

/** What a guard in a mount namespace of its own reads of a cgroup, as the test writes it. */
export class ShownCgroup {
  readonly #directory: string;

  constructor(root: string) {
    this.#directory = mkdtempSync(join(root, 'shown-'));
  }

  /** @param events as in cgroup.events. */
  says(events: string): void {
    writeFileSync(join(this.#directory, 'cgroup.events'), events);
    writeFileSync(join(this.#directory, 'cgroup.kill'), '');
  }

  /** From now on, for this guard. */
  standsFor(cgroup: string, guardPid: number): void {
    execFileSync('nsenter', ['--mount', '--target', `${guardPid}`, 'mount', '--bind', this.#directory, cgroup]);
  }
}

/** Kills by id, whatever has become of it. */
export function kill(pid: number): void {
  if (!isAlive(pid)) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A guard, which is killed when the test ends, and a connection that only reads. */
export async function startGuard(
  t: TestContext,
  dir: string,
  program: string,
): Promise<{ pid: number; reader: GuardClient }> {
  const reader = await GuardClient.connect(dir, { spawn: program });
  const pid = Number(readFileSync(join(dir, 'guard.lock'), 'utf8'));
  t.after(() => {
    reader.close();
    kill(pid);
  });
  return { pid, reader };
}

export type FiredGroup = GuardGroup & { readonly state: 'fired' };

/** The group, once it has fired. */
export function fired(reader: GuardClient, group = 'db'): Promise<FiredGroup> {
  return until(`${group} fires`, async () => {
    const found = (await reader.state()).groups.get(group);
    return found?.state === 'fired' && found;
  });
}

/** What the guard answered: `code` when it refused. */
export interface Answer {
  readonly value?: unknown;
  readonly code?: string;
  readonly message?: string;
}

/** An agent in a process of its own, which the guard may kill. */
export class Agent {
  readonly process: ChildProcess;
  readonly exited: Promise<string>;
  readonly #lines: AsyncIterator<string>;

  constructor(t: TestContext, dir: string) {
    const child = spawn(process.execPath, [join(here, 'test-agent.ts'), dir], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process = child;
    this.exited = once(child, 'exit').then(([code, signal]) => String(signal ?? code));
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    t.after(() => kill(this.pid));
  }

  /** One that has said hello. */
  static async ready(t: TestContext, dir: string): Promise<Agent> {
    const agent = new Agent(t, dir);
    await agent.must('hello');
    return agent;
  }

  get pid(): number {
    assert(this.process.pid !== undefined);
    return this.process.pid;
  }

  /** @returns the code `gone` when it has ended without an answer. */
  async call(method: Verb, ...args: unknown[]): Promise<Answer> {
    this.process.stdin?.write(`${JSON.stringify({ method, args })}\n`);
    const { value } = await this.#lines.next();
    return JSON.parse(value ?? '{"code":"gone"}') as Answer;
  }

  /** @returns the code of a refusal; undefined when it was done. */
  async code(method: Verb, ...args: unknown[]): Promise<string | undefined> {
    return (await this.call(method, ...args)).code;
  }

  async must(method: Verb, ...args: unknown[]): Promise<void> {
    assert.deepEqual({ method, args, code: await this.code(method, ...args) }, { method, args, code: undefined });
  }
}
