import type { Holding } from '../resources/resource.ts';
import { unescapeOctal } from '../system/index.ts';

/** What every group in the guard has: the lease it was last told of. Times are CLOCK_BOOTTIME, ms. */
interface GroupLease {
  readonly epoch: number;
  readonly deadlineMs: number;
  readonly fireAtMs: number;
  readonly voters: readonly string[];
  /** What the group may hold exclusively here; an address as `192.0.2.10/24`. */
  readonly holdings: readonly Holding[];
}

/** A group as the guard knows it: still armed, or fired and not yet disarmed. */
export type GuardGroup =
  | (GroupLease & { readonly state: 'armed' })
  | (GroupLease & {
      readonly state: 'fired';
      readonly firedAtMs: number;
      /** How long after the instant to fire the guard began, µs. */
      readonly latenessUs: number;
      /** The last look found nothing of it held any more. */
      readonly clean: boolean;
    });

/** Everything the guard remembers; what a restarted agent goes on from. */
export interface GuardState {
  readonly incarnation: string | undefined;
  readonly notes: ReadonlyMap<string, string>;
  readonly groups: ReadonlyMap<string, GuardGroup>;
}

interface Draft extends GroupLease {
  readonly holdings: Holding[];
  fired?: { readonly firedAtMs: number; readonly latenessUs: number; readonly clean: boolean };
}

/**
 * Reads the answer to `state`, without its closing `end`.
 * @throws Error naming the line that is not understood.
 */
export function parseGuardState(lines: readonly string[]): GuardState {
  let incarnation: string | undefined;
  const notes = new Map<string, string>();
  const drafts = new Map<string, Draft>();
  for (const line of lines) {
    const [kind, name = '', ...rest] = line.split(' ');
    const draft = drafts.get(name);
    if (kind === 'incarnation') {
      incarnation = name === '-' ? undefined : name;
    } else if (kind === 'note') {
      notes.set(name, rest.join(' '));
    } else if (kind === 'group') {
      const [epoch, deadlineMs, fireAtMs, , voters = '-'] = rest;
      drafts.set(name, {
        epoch: Number(epoch),
        deadlineMs: Number(deadlineMs),
        fireAtMs: Number(fireAtMs),
        voters: voters === '-' ? [] : voters.split(','),
        holdings: [],
      });
    } else if (kind === 'hold' && draft !== undefined) {
      draft.holdings.push(holdingOf(rest, line));
    } else if (kind === 'fired' && draft !== undefined) {
      const [, firedAtMs, latenessUs, result] = rest;
      draft.fired = { firedAtMs: Number(firedAtMs), latenessUs: Number(latenessUs), clean: result === 'clean' };
    } else {
      throw new Error(`the guard's state has a line that is not understood: ${line}`);
    }
  }
  const groups = [...drafts].map(([name, { fired, ...lease }]): [string, GuardGroup] => [
    name,
    fired === undefined ? { ...lease, state: 'armed' } : { ...lease, state: 'fired', ...fired },
  ]);
  return { incarnation, notes, groups: new Map(groups) };
}

function holdingOf([kind, first, address]: readonly string[], line: string): Holding {
  if (kind === 'vip' && first !== undefined && address !== undefined) return { kind, interface: first, address };
  if (kind === 'mount' && first !== undefined && address !== undefined)
    return { kind, device: first, path: unescapeOctal(address) };
  if (kind === 'cgroup' && first !== undefined) return { kind, path: first };
  throw new Error(`the guard's state has a line that is not understood: ${line}`);
}
