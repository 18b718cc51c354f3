/**
 * A cluster product under test, whichever it is: the same hosts, the same web server behind the same address, the same client. The
 * benchmark breaks things by the hosts alone and asks the client; a stack only knows how to be set up, asked and told.
 */
import { readFileSync } from 'node:fs';
import { Client, type Host, type Lab, monotonicMs, type Observer, until, VIP } from '../../test/lab/index.ts';

export interface Stack {
  readonly name: string;
  readonly lab: Lab;
  readonly observer: Observer;
  readonly names: readonly string[];
  /** Does it look after the service, so that a kill is its affair? */
  readonly watchesService: boolean;
  /** Resolves when every node is up and could take over, and nothing is under way. */
  healthy(): Promise<void>;
  /** A planned move of everything away from this node. Resolves when it was asked for, or done. */
  move(from: string, to: string): Promise<void>;
  /** What an operator does after an incident: lifts the constraint of a move, forgets failures, starts what was stopped by hand. */
  tidy(): Promise<void>;
  /** Switches everything on, as after a power failure of the whole room. All hosts are off. */
  coldStart(): Promise<void>;
  /** Own durations of the resources of the group's last start, ms, where the stack tells them. */
  ownStarts(): Promise<Readonly<Record<string, number>>>;
  close(): Promise<void>;
}

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A client that asks the virtual address every 20 ms, once it answers. */
export async function startClient(lab: Lab): Promise<Client> {
  const client = await Client.start(lab.client, { kind: 'http', address: VIP });
  await client.nextAnswer(60_000);
  return client;
}

/** Who answers now: the body of an answer names its host. */
export async function whoAnswers(client: Client): Promise<string> {
  return (await client.nextAnswer(60_000)).text;
}

/** Waits until the client has been answered without a pause for this long, by anyone but `not`; throws after two minutes. */
export async function answersSteadily(client: Client, sinceMs: number, steadyMs: number, not?: string): Promise<void> {
  await until(
    () => {
      const last = client.lastAnswer;
      if (last === undefined || last.answeredMs < sinceMs || last.text === not) return false;
      const now = monotonicMs();
      const lastGapEnd = client.outages({ minMs: 100, sinceMs }).at(-1)?.endMs;
      if (now - last.answeredMs > 200) return false;
      return now - Math.max(lastGapEnd ?? sinceMs, sinceMs) > steadyMs;
    },
    { deadlineMs: 120_000, everyMs: 50, what: 'the service to answer steadily' },
  );
}

/** SIGKILL to every process of that name on a host, at once. */
export function killAll(host: Host, comm: string): number {
  const pids = host.processes().filter((pid) => commOf(pid) === comm);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  return pids.length;
}

/** Name of a process by its pid out here; empty when it has ended. */
export function commOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}
