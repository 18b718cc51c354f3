import { join } from 'node:path';
import type { Host, HostProcess } from './host.ts';
import { monotonicMs, until } from './until.ts';

export interface ClientOptions {
  /** `http`: a GET whose body names the host. `mariadb`: the greeting of the database. */
  kind: 'http' | 'mariadb';
  address: string;
  /** 80 or 3306 when left out. */
  port?: number;
  /** Time between two questions; 20 when left out. */
  everyMs?: number;
  /** How long an answer may take; 500 when left out, so that no repeated SYN hides a recovery. */
  timeoutMs?: number;
}

export interface Answer {
  sentMs: number;
  answeredMs: number;
  /** What the service said: for HTTP the body, by which the lab's nginx names its host; for MariaDB its version. */
  text: string;
}

/** A time without answers, longer than the usual pause between two. */
export interface Outage {
  /** When the last answer before it arrived. */
  startMs: number;
  /** When the next one arrived; undefined while it lasts. */
  endMs: number | undefined;
  /** End less start less the interval between questions; up to now while it lasts. */
  ms: number;
  /** Who answered before and after. */
  from: string | undefined;
  to: string | undefined;
}

/** What a client did not get. */
export interface Missed {
  /** Questions that were refused, cut off or not answered in time. */
  readonly unanswered: number;
  /** How long it was not served because of them: from the answer before to the one after, less the interval between questions. */
  readonly downtimeMs: number;
  /** The longest time between two answers, less the time in which the client itself did not come to ask. */
  readonly pauseMs: number;
}

/** Asks a service from a host, as its users would, and measures how long it did not answer. */
export class Client {
  readonly everyMs: number;
  readonly answers: Answer[] = [];
  /** When and why a question was not answered. */
  readonly failures: { sentMs: number; error: string }[] = [];
  readonly #process: HostProcess;
  readonly #startMs: number;

  private constructor(process_: HostProcess, everyMs: number, startMs: number) {
    this.#process = process_;
    this.everyMs = everyMs;
    this.#startMs = startMs;
  }

  /** Begins to ask at once; resolves when the first question has been answered or has failed. */
  static async start(host: Host, options: ClientOptions): Promise<Client> {
    const { kind, address, everyMs = 20, timeoutMs = 500 } = options;
    const port = options.port ?? { http: 80, mariadb: 3306 }[kind];
    const script = join(import.meta.dirname, 'client-probe.ts');
    const argv = [process.execPath, script, kind, address, String(port), String(everyMs), String(timeoutMs)];
    let take: (line: string) => void = () => undefined;
    const probe = await host.spawn(argv, { onLine: (line) => take(line) });
    const client = new Client(probe, everyMs, monotonicMs());
    take = (line) => client.#take(JSON.parse(line));
    const begun = () => client.answers.length + client.failures.length > 0;
    await until(begun, { deadlineMs: 10_000, what: `the client's first question to ${address}` });
    return client;
  }

  #take(line: { sent: number; t: number; answer: string } | { sent: number; t: number; error: string }): void {
    if ('answer' in line) this.answers.push({ sentMs: line.sent, answeredMs: line.t, text: line.answer });
    else this.failures.push({ sentMs: line.sent, error: line.error });
  }

  /** Who answered last. */
  get lastAnswer(): Answer | undefined {
    return this.answers.at(-1);
  }

  /** Waits for an answer to a question that was sent after `sinceMs` (now, when left out). */
  async nextAnswer(deadlineMs: number, sinceMs = monotonicMs()): Promise<Answer> {
    return await until(() => this.answers.findLast((answer) => answer.sentMs >= sinceMs), {
      deadlineMs,
      what: `an answer to the client (last failure: ${this.failures.at(-1)?.error ?? 'none'})`,
    });
  }

  /** Times without answers of at least `minMs` (100) that ended after `sinceMs`, in order. */
  outages({ minMs = 100, sinceMs = 0 }: { minMs?: number; sinceMs?: number } = {}): Outage[] {
    return this.#gaps().filter((gap) => gap.ms >= minMs && (gap.endMs ?? Number.POSITIVE_INFINITY) > sinceMs);
  }

  /** The longest time without an answer that ended after `sinceMs`, in milliseconds; 0 if there was none. */
  longestGap(sinceMs = 0): number {
    return Math.max(0, ...this.outages({ minMs: 0, sinceMs }).map((gap) => gap.ms));
  }

  /**
   * What was missed of the questions sent from `sinceMs` on, up to `untilMs` (now).
   *
   * Each question opens a connection of its own and has half the time after which TCP would send its SYN again. So an address that was away,
   * or a server that did not listen, for as long as one interval shows as a question without an answer: none unanswered means no downtime. What
   * `pauseMs` has below `timeoutMs` is delay, of the machine as well.
   */
  missed(sinceMs: number, untilMs = Number.POSITIVE_INFINITY): Missed {
    const asked = [...this.answers, ...this.failures].map(({ sentMs }) => sentMs).toSorted((a, b) => a - b);
    const unanswered = this.failures.filter(({ sentMs }) => sentMs >= sinceMs && sentMs < untilMs).length;
    let pauseMs = 0;
    let next = 0;
    for (const { startMs, endMs = monotonicMs() } of this.#gaps()) {
      if (endMs <= sinceMs || startMs >= untilMs) continue;
      let ownMs = this.everyMs;
      while (next < asked.length && (asked[next] ?? 0) < startMs) next++;
      for (let index = next; index < asked.length && (asked[index] ?? 0) <= endMs; index++)
        ownMs = Math.max(ownMs, (asked[index] ?? 0) - (asked[index - 1] ?? startMs));
      pauseMs = Math.max(pauseMs, endMs - Math.max(startMs, sinceMs) - ownMs);
    }
    const downtimeMs = this.downtimes(sinceMs)
      .filter(({ startMs }) => startMs < untilMs)
      .reduce((sum, { ms }) => sum + ms, 0);
    return { unanswered, downtimeMs, pauseMs };
  }

  /** Times without an answer in which a question was sent that was not answered, in order, that ended after `sinceMs`. */
  downtimes(sinceMs = 0): Outage[] {
    const failed = this.failures.map(({ sentMs }) => sentMs).toSorted((a, b) => a - b);
    let next = 0;
    return this.#gaps().filter(({ startMs, endMs = monotonicMs(), ms }) => {
      while (next < failed.length && (failed[next] ?? 0) < startMs) next++;
      const sentMs = failed[next];
      return sentMs !== undefined && sentMs < endMs && endMs > sinceMs && ms > 0;
    });
  }

  #gaps(): Outage[] {
    const gaps: Outage[] = [];
    let startMs = this.#startMs;
    let from: string | undefined;
    for (const { answeredMs, text } of this.answers) {
      gaps.push({ startMs, endMs: answeredMs, ms: answeredMs - startMs - this.everyMs, from, to: text });
      startMs = Math.max(startMs, answeredMs);
      from = text;
    }
    if (this.#process.running) {
      gaps.push({ startMs, endMs: undefined, ms: monotonicMs() - startMs - this.everyMs, from, to: undefined });
    }
    return gaps;
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#process.exited;
  }
}
