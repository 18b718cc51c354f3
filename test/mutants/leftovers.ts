/** What a test leaves behind that had to be killed: processes, networks, cgroups. Only what it made, by its directory or its process id. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { join, relative } from 'node:path';

export function endGroup(leader: number | undefined): void {
  if (leader !== undefined) end(-leader);
}

/** Ends what works in this directory: a guard outlives the test that started it, and is in no process group of it. */
export function endStrays(directory: string): void {
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const place = workingDirectory(pid);
    if (place !== undefined && !relative(directory, place).startsWith('..')) end(pid);
  }
}

/** Networks and cgroups that tests of the guard and of the agent name by the id of their process. */
export function removeLeftovers(pid: number | undefined): void {
  for (const name of [`hfg-${pid}`, `hfg-${pid}-n`])
    if (existsSync(`/run/netns/${name}`)) execFileSync('ip', ['netns', 'del', name]);
  const mount = / (\/\S+) \S+ (?:\S+ )*?- cgroup2 /.exec(readFileSync('/proc/self/mountinfo', 'utf8'))?.[1];
  if (mount === undefined) return;
  for (const name of [`hfg-${pid}`, `hfgf-${pid}`, `loop-guards-${pid}`]) removeCgroup(join(mount, name));
}

/** One in which something still dies stays. */
function removeCgroup(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(path, entry.name));
  try {
    rmdirSync(path);
  } catch {
    // nothing depends on it
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended meanwhile
  }
}

function workingDirectory(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined; // it has ended, or is a thread of the kernel
  }
}
