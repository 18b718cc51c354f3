import type { Holding } from '../resources/resource.ts';
import { unescapeOctal } from '../system/index.ts';

/** V of a lease (protocol.md C3). To the guard it is one opaque field. */
export interface GuardVoters {
  readonly version: number;
  readonly names: readonly string[];
}

/** What this node promised about a group (protocol.md P1). */
export interface GuardPromise {
  readonly epoch: number;
  /** CLOCK_BOOTTIME, ms: this node does not take the group over before. */
  readonly untilMs: number;
  readonly owner: string;
}

/** What every group in the guard has: the lease it was last told of. Times are CLOCK_BOOTTIME, ms. */
interface GroupLease {
  readonly epoch: number;
  readonly deadlineMs: number;
  readonly fireAtMs: number;
  readonly voters: GuardVoters;
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
  /** By group, those that still ran when it answered. */
  readonly promises: ReadonlyMap<string, GuardPromise>;
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
  const promises = new Map<string, GuardPromise>();
  for (const line of lines) {
    const [kind, name = '', ...rest] = line.split(' ');
    const draft = drafts.get(name);
    if (kind === 'incarnation') {
      incarnation = name === '-' ? undefined : name;
    } else if (kind === 'note') {
      notes.set(name, rest.join(' '));
    } else if (kind === 'group') {
      const [epoch, deadlineMs, fireAtMs, , voters] = rest;
      drafts.set(name, {
        epoch: Number(epoch),
        deadlineMs: Number(deadlineMs),
        fireAtMs: Number(fireAtMs),
        voters: votersOf(voters, line),
        holdings: [],
      });
    } else if (kind === 'hold' && draft !== undefined) {
      draft.holdings.push(holdingOf(rest, line));
    } else if (kind === 'fired' && draft !== undefined) {
      const [, firedAtMs, latenessUs, result] = rest;
      draft.fired = { firedAtMs: Number(firedAtMs), latenessUs: Number(latenessUs), clean: result === 'clean' };
    } else if (kind === 'promise' && rest.length === 3) {
      const [epoch, untilMs, owner = ''] = rest;
      promises.set(name, { epoch: Number(epoch), untilMs: Number(untilMs), owner });
    } else {
      throw notUnderstood(line);
    }
  }
  const groups = [...drafts].map(([name, { fired, ...lease }]): [string, GuardGroup] => [
    name,
    fired === undefined ? { ...lease, state: 'armed' } : { ...lease, state: 'fired', ...fired },
  ]);
  return { incarnation, notes, groups: new Map(groups), promises };
}

/** `<version>:<a,b,c>`, with `-` for no names; `votersOf` reads it. */
export function textOfVoters({ version, names }: GuardVoters): string {
  return `${version}:${names.length === 0 ? '-' : names.join(',')}`;
}

function votersOf(text: string | undefined, line: string): GuardVoters {
  const [, version, names] = /^(\d+):(.+)$/.exec(text ?? '') ?? [];
  if (version === undefined || names === undefined) throw notUnderstood(line);
  return { version: Number(version), names: names === '-' ? [] : names.split(',') };
}

function notUnderstood(line: string): Error {
  return new Error(`the guard's state has a line that is not understood: ${line}`);
}

function holdingOf([kind, first, address]: readonly string[], line: string): Holding {
  if (kind === 'vip' && first !== undefined && address !== undefined) return { kind, interface: first, address };
  if (kind === 'mount' && first !== undefined && address !== undefined)
    return { kind, device: first, path: unescapeOctal(address) };
  if (kind === 'cgroup' && first !== undefined) return { kind, path: first };
  if (kind === 'drbd' && first !== undefined) return { kind, resource: first };
  throw notUnderstood(line);
}
