/**
 * What the storm counts: who had which address by the kernel's own events, which questions of the client were not answered, and what the
 * cluster has told.
 */
import { eventPageSchema } from '../../schemas/api.ts';
import type { ClusterEvent } from '../../schemas/events.ts';
import { MAX_EVENTS_PER_PAGE } from '../../schemas/limits.ts';
import type { Client } from './client.ts';
import { VIP } from './cluster.ts';
import { rememberedEpochs } from './faults.ts';
import type { Field } from './storm-faults.ts';
import type { Overlap } from './timeline.ts';
import { monotonicMs } from './until.ts';

/** A fault that came. */
export interface Struck {
  readonly kind: string;
  readonly where: string;
  readonly beganMs: number;
  /** Undefined while it lasts. */
  endMs: number | undefined;
}

interface Found {
  readonly changes: number;
  readonly downtimeMs: number;
  readonly overlaps: readonly Overlap[];
}

export interface StormReport {
  readonly schema: 'holdfast/storm/v1';
  readonly seed: number;
  readonly hosts: number;
  readonly lease: string;
  readonly minutes: number;
  /** How often each kind came. */
  readonly faults: Readonly<Record<string, number>>;
  /** How often an address came up on another host than before. */
  readonly changes: number;
  /** Changes of owner that nobody asked for: leases that ran out, groups given up or stopped by force. And those in order. */
  readonly failovers: number;
  readonly moves: number;
  readonly failoversPerMinute: number;
  /** How long two hosts had an address or ran nginx at the same time, together. */
  readonly overlapMs: number;
  readonly overlaps: readonly Overlap[];
  /** How often a group went on without the coordinator's word, and how often its lease ended all the same. */
  readonly continuations: number;
  readonly continuationsLost: number;
  readonly questions: number;
  readonly unanswered: number;
  /** Without the web server, by what had struck when it began, the longest first. */
  readonly downtime: readonly {
    readonly cause: string;
    readonly times: number;
    readonly totalMs: number;
    readonly longestMs: number;
  }[];
  readonly downtimeMs: number;
  readonly repeat: string;
}

/** A fault that is over at once may cost the group its lease, which ends only some time later. */
const LEASE_MS = 3_000;
/** What begins so soon after a fault has ended is still its doing: a machine that boots, a lease that runs out. */
const AFTERMATH_MS = 10_000;

export class Tally {
  readonly #field: Field;
  readonly #client: Client;
  readonly #struck: Struck[] = [];
  readonly #events: ClusterEvent[] = [];
  #lastSeq = 0;
  readonly #beganMs = monotonicMs();

  constructor(field: Field, client: Client) {
    this.#field = field;
    this.#client = client;
  }

  struck(fault: Struck): void {
    this.#struck.push(fault);
  }

  /** What came of everything since then. Throws if the observation has a hole. */
  async since(sinceMs: number): Promise<Found> {
    await this.#listen();
    return {
      changes: await this.#changes(sinceMs),
      downtimeMs: this.#client.downtimes(sinceMs).reduce((sum, { ms }) => sum + ms, 0),
      overlaps: await this.#overlaps(sinceMs),
    };
  }

  async #overlaps(sinceMs: number): Promise<Overlap[]> {
    const { observer } = this.#field.cluster;
    return [...(await observer.overlaps({ sinceMs })), ...(await observer.processOverlaps('nginx', sinceMs))];
  }

  async #changes(sinceMs: number): Promise<number> {
    let changes = 0;
    for (const address of this.#field.addresses.values()) {
      const spans = await this.#field.cluster.observer.holdings(address);
      changes += spans.filter(
        ({ host, fromMs }, index) => index > 0 && fromMs >= sinceMs && spans[index - 1]?.host !== host,
      ).length;
    }
    return changes;
  }

  /** Takes up what the cluster has told since the last time; nothing while the coordinator is away. */
  async #listen(): Promise<void> {
    const { product } = this.#field.cluster;
    for (;;) {
      const path = `/v1/clusters/${product.cluster}/events?after=${this.#lastSeq}&limit=${MAX_EVENTS_PER_PAGE}`;
      const asked = await product.api('GET', path).catch(() => undefined);
      if (asked?.status !== 200) return;
      const { events, next } = eventPageSchema.parse(asked.body);
      this.#events.push(...events);
      this.#lastSeq = next;
      if (events.length < MAX_EVENTS_PER_PAGE) return;
    }
  }

  /** @returns what is wrong with the epochs that were granted; undefined if each is above the one before. */
  async epochsOutOfOrder(): Promise<string | undefined> {
    await this.#listen();
    const highest = new Map<string, number>();
    for (const { kind, group = '', epoch = 0, seq } of this.#events) {
      if (kind !== 'group.granted') continue;
      const before = highest.get(group) ?? 0;
      if (epoch <= before) return `event ${seq}: epoch ${epoch} of ${group} was granted after ${before}`;
      highest.set(group, epoch);
    }
    for (const host of this.#field.cluster.lab.hosts.values())
      for (const [group, epoch] of Object.entries(await rememberedEpochs(host)))
        if (epoch > (highest.get(group) ?? 0))
          return `${host.name} remembers epoch ${epoch} of ${group}, never granted`;
    return undefined;
  }

  /** Grants to another node than before, by whether the one before gave the group back in order. */
  #grants(): { failovers: number; moves: number } {
    const owners = new Map<string, string>();
    const inOrder = new Map<string, boolean>();
    const found = { failovers: 0, moves: 0 };
    for (const { kind, group = '', node = '', detail } of [...this.#events.values()].toSorted(
      (a, b) => a.seq - b.seq,
    )) {
      if (kind === 'group.released') inOrder.set(group, detail === 'stopped and released');
      if (kind !== 'group.granted') continue;
      const before = owners.get(group);
      if (before !== undefined && before !== node) found[inOrder.get(group) === true ? 'moves' : 'failovers'] += 1;
      owners.set(group, node);
      inOrder.delete(group);
    }
    return found;
  }

  #continuations(): { begun: number; lost: number } {
    const events = this.#events;
    const name = ({ node, group, epoch }: ClusterEvent) => `${node} ${group} ${epoch}`;
    const begun = events.filter(({ kind }) => kind === 'agent.lives-on-promises');
    const lost = new Set(events.filter(({ kind }) => kind === 'agent.lease-lost').map(name));
    return { begun: begun.length, lost: begun.filter((event) => lost.has(name(event))).length };
  }

  /** What had struck when something began. */
  #causeOf(atMs: number): string {
    const during = this.#struck.filter(
      ({ beganMs, endMs }) => beganMs <= atMs + 1_000 && (endMs ?? Number.POSITIVE_INFINITY) >= atMs - LEASE_MS,
    );
    if (during.length > 0) return [...new Set(during.map(({ kind }) => kind))].toSorted().join(' + ');
    const after = this.#struck.findLast(
      ({ endMs }) => endMs !== undefined && endMs < atMs && endMs > atMs - AFTERMATH_MS,
    );
    return after === undefined ? 'nothing' : `after ${after.kind}`;
  }

  #downtime(): StormReport['downtime'] {
    const byCause = new Map<string, number[]>();
    for (const { startMs, ms } of this.#client.downtimes(this.#beganMs)) {
      const cause = this.#causeOf(startMs);
      byCause.set(cause, [...(byCause.get(cause) ?? []), ms]);
    }
    return [...byCause]
      .map(([cause, list]) => ({
        cause,
        times: list.length,
        totalMs: Math.round(list.reduce((sum, ms) => sum + ms, 0)),
        longestMs: Math.round(Math.max(...list)),
      }))
      .toSorted((a, b) => b.longestMs - a.longestMs);
  }

  async report(seed: number, hosts: number, lease: string): Promise<StormReport> {
    await this.#listen();
    const minutes = (monotonicMs() - this.#beganMs) / 60_000;
    const overlaps = await this.#overlaps(0);
    const { failovers, moves } = this.#grants();
    const { begun, lost } = this.#continuations();
    const downtime = this.#downtime();
    const faults: Record<string, number> = {};
    for (const { kind } of this.#struck) faults[kind] = (faults[kind] ?? 0) + 1;
    const { answers, failures } = this.#client;
    return {
      schema: 'holdfast/storm/v1',
      seed,
      hosts,
      lease,
      minutes: Math.round(minutes * 100) / 100,
      faults,
      changes: await this.#changes(0),
      failovers,
      moves,
      failoversPerMinute: Math.round((failovers / minutes) * 10) / 10,
      overlapMs: Math.round(overlaps.reduce((sum, { ms }) => sum + ms, 0) * 1_000) / 1_000,
      overlaps,
      continuations: begun,
      continuationsLost: lost,
      questions: answers.length + failures.length,
      unanswered: failures.length,
      downtime,
      downtimeMs: downtime.reduce((sum, { totalMs }) => sum + totalMs, 0),
      repeat: `npm run storm -- --minutes ${Math.ceil(minutes)} --seed ${seed} --hosts ${hosts} --lease ${lease}`,
    };
  }

  text(report: StormReport): string {
    const { faults, downtime } = report;
    const struck = Object.entries(faults).toSorted(([, a], [, b]) => b - a);
    const seconds = (ms: number) => `${(ms / 1_000).toFixed(2)} s`;
    return [
      `${report.minutes} min, seed ${report.seed}, ${report.hosts} hosts, lease ${report.lease}`,
      `failovers     ${report.failovers} (${report.failoversPerMinute} a minute), and ${report.moves} moves in order; addresses changed hosts ${report.changes} times`,
      `overlap       ${report.overlapMs} ms`,
      `continuations ${report.continuations} on promises, of which ${report.continuationsLost} ended with the lease`,
      `client        ${report.questions} questions, ${report.unanswered} unanswered; without ${VIP} for ${seconds(report.downtimeMs)}`,
      `faults        ${struck.map(([kind, times]) => `${times} ${kind}`).join(', ')}`,
      'downtime by cause (times, longest, all):',
      ...downtime.map(
        ({ cause, times, longestMs, totalMs }) =>
          `  ${String(times).padStart(4)}  ${seconds(longestMs).padStart(9)}  ${seconds(totalMs).padStart(9)}  ${cause}`,
      ),
      `again: ${report.repeat}`,
    ].join('\n');
  }
}
