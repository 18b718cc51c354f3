import { readFileSync, readlinkSync } from 'node:fs';

/** When a process began, in clock ticks since boot (field 22 of proc(5) stat), or undefined if there is no such process. */
export function startTicks(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = afterName[0];
  return state === 'Z' || state === 'X' ? undefined : afterName[19];
}

function pidNamespace(): string {
  return /\[(\d+)\]/.exec(readlinkSync('/proc/self/ns/pid'))?.[1] ?? '0';
}

const base36 = (digits: string) => BigInt(digits).toString(36);

/**
 * A name that says who made a thing: process, its start, its PID namespace, and a random end, as in `hf4711-9x2k-gs3k-4f`.
 * Pids are used again, the pair of pid and start is not.
 */
export function ownedName(): string {
  const ticks = startTicks(process.pid);
  if (ticks === undefined) throw new Error('cannot read /proc/self/stat: is /proc mounted?');
  const random = Math.floor(Math.random() * 36 ** 3).toString(36);
  return `hf${process.pid}-${base36(ticks)}-${base36(pidNamespace())}-${random}`;
}

/** True only if `name` is an owned name of this PID namespace whose process is gone. Other names are nobody's business. */
export function ownerIsDead(name: string): boolean {
  const match = /^hf(\d+)-([0-9a-z]+)-([0-9a-z]+)-[0-9a-z]+$/.exec(name);
  if (match === null || match[3] !== base36(pidNamespace())) return false;
  const ticks = startTicks(Number(match[1]));
  return ticks === undefined || base36(ticks) !== match[2];
}
