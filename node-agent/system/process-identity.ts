import { readFileSync } from 'node:fs';
import { errnoOf } from './errors.ts';

/**
 * What tells a process from a later one of the same pid: pid and start time (proc(5), field 22 of stat).
 * @returns undefined if there is no such process, or only its zombie.
 */
export function processIdentity(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
  // the name in parentheses may hold anything, also blanks and parentheses
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  return state === 'Z' || state === 'X' ? undefined : `${pid}:${fields[19]}`;
}
