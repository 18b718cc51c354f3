/** What the tests of this and the neighbouring rooms share. Nothing of it is in the agent. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { Cgroups } from './cgroup.ts';

/** Waits until `probe` gives something other than undefined or false, and returns that; fails with the words at the deadline. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs = 5_000,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end) assert.fail(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export const notRoot = process.geteuid?.() === 0 ? undefined : 'needs root';

/** Why there are no cgroups to test with; undefined where there are. */
export function noCgroups(): string | undefined {
  if (notRoot !== undefined) return notRoot;
  const located = Cgroups.locate();
  return 'problem' in located ? located.problem : undefined;
}

let trees = 0;

/** A tree of its own beside the agent's, killed and removed after the tests of the file. */
export function testCgroups(): Cgroups {
  const located = Cgroups.locate();
  if ('problem' in located) throw new Error(located.problem);
  trees += 1;
  const tree = new Cgroups(join(located.root, `test-${process.pid}-${trees}`));
  after(async () => {
    const all = tree.all();
    await all.kill();
    assert.ok(all.remove(), 'the cgroups of the test are removed');
  });
  return tree;
}

/** Does the process run? One that nobody has reaped yet does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false; // There is no such process.
  }
}
