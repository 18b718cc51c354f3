/** What happens to each group while a forecast runs: for how long it is not served, and what that time consists of. */
import type { ResourceDeclaration } from '../../../schemas/config.ts';
import type { ResourceReport } from '../../../schemas/wire.ts';
import type { ClusterState, NewDecision } from '../state.ts';

/** How long starts take, as nodes have last measured them. */
export class StartTimes {
  readonly #measured: ReadonlyMap<string, number>;

  constructor(state: ClusterState) {
    this.#measured = new Map(
      Object.values(state.durable.groups).flatMap(({ name, run }) =>
        (run?.resources ?? []).flatMap(({ id, startMs }) =>
          startMs === undefined ? [] : [[`${name}/${id}`, startMs] as const],
        ),
      ),
    );
  }

  /** Those of these resources, one after the other. `known`: all of them were measured; what was not counts nothing. */
  of(group: string, resources: readonly ResourceDeclaration[]): { readonly ms: number; readonly known: boolean } {
    const each = resources.map(({ id }) => this.#measured.get(`${group}/${id}`));
    return { ms: each.reduce<number>((sum, ms) => sum + (ms ?? 0), 0), known: !each.includes(undefined) };
  }

  /** As the node that starts them would report them. */
  reported(group: string, resources: readonly ResourceDeclaration[], state: ResourceReport['state']): ResourceReport[] {
    return resources.map(({ id }) => {
      const startMs = this.#measured.get(`${group}/${id}`);
      return { id, state, ...(startMs === undefined ? {} : { startMs }) };
    });
  }
}

export interface Entry {
  /** Since when it is not served; null: it is. */
  downSince: number | null;
  /** Times over all its interruptions until it was served again: until a node was given it, and from then until it ran. */
  waitedMs: number;
  startedMs: number;
  /** Every start in it was measured before. */
  startsKnown: boolean;
  /** It ceased to be served at least once. */
  interrupted: boolean;
  grantedAt: number | null;
  lastGrant: NewDecision | null;
}

export class Ledger {
  readonly #entries = new Map<string, Entry>();

  entry(group: string): Entry {
    const known = this.#entries.get(group);
    if (known !== undefined) return known;
    const entry: Entry = {
      downSince: null,
      waitedMs: 0,
      startedMs: 0,
      startsKnown: true,
      interrupted: false,
      grantedAt: null,
      lastGrant: null,
    };
    this.#entries.set(group, entry);
    return entry;
  }

  /** It is not served when the forecast begins. */
  isDown(group: string, at: number): void {
    this.entry(group).downSince = at;
  }

  stops(group: string, at: number): void {
    const entry = this.entry(group);
    if (entry.downSince !== null) return;
    entry.downSince = at;
    entry.grantedAt = null;
    entry.interrupted = true;
  }

  granted(group: string, at: number): void {
    this.entry(group).grantedAt = at;
  }

  runs(group: string, at: number, startsKnown: boolean): void {
    const entry = this.entry(group);
    if (entry.downSince === null) return;
    const since = Math.max(entry.grantedAt ?? entry.downSince, entry.downSince);
    entry.waitedMs += since - entry.downSince;
    entry.startedMs += at - since;
    entry.startsKnown &&= startsKnown;
    entry.downSince = null;
  }
}
