import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from './until.ts';

/** Where cgroup2 is mounted: /sys/fs/cgroup, or another place on machines that still have version 1. */
export function cgroupMount(): string | undefined {
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [mount, filesystem] = line.split(' - ');
    if (filesystem?.startsWith('cgroup2 ')) return mount?.split(' ')[4];
  }
  return undefined;
}

/** All processes of a cgroup and of those below it, by their pids out here. */
export function cgroupProcesses(cgroup: string): number[] {
  let own: string;
  try {
    own = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8');
  } catch {
    return []; // The cgroup was removed while we looked.
  }
  const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [
    ...own.split('\n').filter(Boolean).map(Number),
    ...below.flatMap((d) => cgroupProcesses(join(cgroup, d.name))),
  ];
}

export async function makeCgroup(cgroup: string): Promise<void> {
  await mkdir(cgroup, { recursive: true });
}

/** Kills what still runs in a cgroup and removes it with everything below. Throws a `DeadlineError` if it stays busy. */
export async function removeCgroup(cgroup: string, deadlineMs = 10_000): Promise<void> {
  await writeFile(join(cgroup, 'cgroup.kill'), '1').catch(ignoreMissing);
  await until(() => removeTree(cgroup), { deadlineMs, what: `the processes of ${cgroup} to end` });
}

async function removeTree(cgroup: string): Promise<boolean> {
  const entries = await readdir(cgroup, { withFileTypes: true }).catch(ignoreMissing);
  for (const entry of entries ?? []) {
    if (entry.isDirectory()) await removeTree(join(cgroup, entry.name));
  }
  await rmdir(cgroup).catch(ignoreMissing);
  return true;
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENODEV'))
    return undefined;
  throw error;
}
