/**
 * `npm run bench:renew`: durable renewals a second of the real coordinator on bare workerd, against an object on the same workerd that
 * does only the group commit; and what authentication and the schema check of a report cost against an echo. Closed loop: every socket
 * sends its next message when the last one was answered.
 */
import { BenchNode } from './lib/agent.ts';
import { benchOptions, wanted } from './lib/options.ts';
import { circumstances, progress, record } from './lib/record.ts';
import { isNoReply, isRenewal, renewers } from './lib/renewers.ts';
import { idPlaceholder, LoadSocket } from './lib/socket.ts';
import { pause } from './lib/stack.ts';
import { figure, percentile, type Summary, spread, summarize, table } from './lib/summary.ts';
import { type Server, serveBare, serveCoordinator } from './lib/workerd.ts';

interface Load {
  readonly sockets: readonly LoadSocket[];
  /** Is this the answer that was hoped for? */
  readonly good: (text: Buffer) => boolean;
  /** Anything else that may arrive meanwhile, and does not count. */
  readonly aside?: (text: Buffer) => boolean;
}

interface Measurement {
  readonly perSecond: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

/** Runs the closed loop for so long and counts what was answered. Throws at the first wrong answer or broken socket. */
async function drive(load: Load, ms: number): Promise<Measurement> {
  const times: number[] = [];
  let running = true;
  let wrong: string | undefined;
  const sentAt = new Map<LoadSocket, number>();
  const next = (socket: LoadSocket) => {
    sentAt.set(socket, performance.now());
    socket.send();
  };
  const idle = new Set<LoadSocket>();
  for (const socket of load.sockets) {
    socket.onText((text) => {
      if (load.aside?.(text) === true) return;
      if (!load.good(text)) {
        wrong ??= text.toString().slice(0, 1_000);
        running = false;
      }
      times.push(performance.now() - (sentAt.get(socket) ?? 0));
      if (running) next(socket);
      else idle.add(socket);
    });
  }
  const begun = performance.now();
  for (const socket of load.sockets) next(socket);
  await pause(ms);
  const [count, seconds] = [times.length, (performance.now() - begun) / 1_000];
  running = false;
  for (let waited = 0; idle.size < load.sockets.length && waited < 2_000; waited += 10) await pause(10);
  const broken = load.sockets.find(({ problem }) => problem !== undefined)?.problem;
  if (wrong !== undefined) throw new Error(`a wrong answer: ${wrong}`);
  if (broken !== undefined) throw new Error(`a socket broke: ${broken}`);
  if (idle.size < load.sockets.length)
    throw new Error(`${load.sockets.length - idle.size} messages were never answered`);
  const sorted = times.toSorted((a, b) => a - b);
  return { perSecond: count / seconds, medianMs: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
}

/** A message of the size and shape of a renewal. */
function sample(node: BenchNode): string {
  const leases = [{ group: `g-${node.name}`, epoch: 1 }];
  return JSON.stringify(node.report({ id: idPlaceholder, history: '0'.repeat(32), revision: 1, leases }));
}

async function plainSockets(server: Server, paths: readonly string[]): Promise<LoadSocket[]> {
  return await Promise.all(
    paths.map(async (path, index) => {
      const socket = await LoadSocket.open(server.origin + path);
      socket.prepare(sample(new BenchNode(`n${index + 1}`)));
      return socket;
    }),
  );
}

async function checkedSockets(server: Server, count: number): Promise<LoadSocket[]> {
  const sockets: LoadSocket[] = [];
  for (let index = 0; index < count; index++) {
    const node = new BenchNode(`n${index + 1}`);
    const path = '/checked/one';
    const enrolled = await fetch(`${server.origin}${path}?node=${node.name}&key=${node.publicKey}`, { method: 'POST' });
    const { nonce, clusterKey } = (await enrolled.json()) as { nonce: string; clusterKey: string };
    const session = node.upgrade('bench', clusterKey, path, nonce);
    const socket = await LoadSocket.open(server.origin + path, session);
    socket.prepare(sample(node));
    sockets.push(socket);
  }
  return sockets;
}

interface Comparison {
  readonly title: string;
  readonly ours: Load;
  readonly theirs: Load;
  readonly oursIs: string;
  readonly theirsIs: string;
}

interface Compared {
  readonly title: string;
  readonly ours: readonly Measurement[];
  readonly theirs: readonly Measurement[];
  /** Of each pair of neighbouring measurements. */
  readonly ratio: Summary;
}

/** Ours and theirs in turn, so that whatever else the machine does falls on both. */
async function compare(comparison: Comparison, runs: number, ms: number): Promise<Compared> {
  const { title } = comparison;
  await drive(comparison.ours, ms / 4);
  await drive(comparison.theirs, ms / 4);
  const [ours, theirs]: [Measurement[], Measurement[]] = [[], []];
  for (let run = 0; run < runs; run++) {
    ours.push(await drive(comparison.ours, ms));
    theirs.push(await drive(comparison.theirs, ms));
    progress(`${title}: ${figure(ours.at(-1)?.perSecond ?? 0)} to ${figure(theirs.at(-1)?.perSecond ?? 0)} a second`);
  }
  const ratios = ours.map(({ perSecond }, run) => perSecond / (theirs[run]?.perSecond ?? Number.NaN));
  return { title, ours, theirs, ratio: summarize(ratios) };
}

const any = () => true;

async function main(): Promise<void> {
  const options = benchOptions({ runs: 7, quickRuns: 2 });
  const ms = options.quick ? 1_000 : 4_000;
  const about = await circumstances();
  const coordinator = await serveCoordinator();
  const bare = await serveBare();
  const results: Compared[] = [];
  const rows: string[][] = [];
  const open: LoadSocket[] = [];
  const keep = <T extends readonly LoadSocket[]>(sockets: T): T => {
    open.push(...sockets);
    return sockets;
  };
  const many = options.quick ? 100 : 400;
  const clusters = many / 16;
  const comparisons: Record<string, () => Promise<Comparison>> = {
    one: async () => ({
      title: 'one cluster, 16 sockets',
      ours: { sockets: keep(await renewers(coordinator, 'one', 16)), good: isRenewal, aside: isNoReply },
      theirs: {
        sockets: keep(
          await plainSockets(
            bare,
            Array.from({ length: 16 }, () => '/group-commit/one'),
          ),
        ),
        good: any,
      },
      oursIs: 'durable renewals of the coordinator',
      theirsIs: 'group commit only',
    }),
    check: async () => ({
      title: `one object, ${many} sockets`,
      ours: { sockets: keep(await checkedSockets(bare, many)), good: any },
      theirs: {
        sockets: keep(
          await plainSockets(
            bare,
            Array.from({ length: many }, () => '/echo/one'),
          ),
        ),
        good: any,
      },
      oursIs: 'authenticated, schema-checked echo',
      theirsIs: 'bare echo',
    }),
    clusters: async () => {
      const ours: LoadSocket[] = [];
      for (let index = 0; index < clusters; index++) ours.push(...(await renewers(coordinator, `c${index + 1}`, 16)));
      const paths = Array.from({ length: ours.length }, (_, index) => `/group-commit/c${Math.floor(index / 16) + 1}`);
      return {
        title: `${Math.floor(ours.length / 16)} clusters, ${ours.length} sockets`,
        ours: { sockets: keep(ours), good: isRenewal, aside: isNoReply },
        theirs: { sockets: keep(await plainSockets(bare, paths)), good: any },
        oursIs: 'durable renewals of the coordinator',
        theirsIs: 'group commit only, as many objects',
      };
    },
  };
  try {
    for (const [name, prepare] of Object.entries(comparisons)) {
      if (!wanted(options, name)) continue;
      const comparison = await prepare();
      progress(`${comparison.title}: connected`);
      const result = await compare(comparison, options.runs, ms);
      results.push(result);
      const row = (what: string, measured: readonly Measurement[], ratio: string) => {
        const of = (key: keyof Measurement) => summarize(measured.map((one) => one[key]));
        return [
          comparison.title,
          what,
          spread(of('perSecond')),
          spread(of('medianMs')),
          spread(of('p99Ms')),
          String(measured.length),
          ratio,
        ];
      };
      rows.push(
        row(comparison.oursIs, result.ours, `${spread(result.ratio)} ×`),
        row(comparison.theirsIs, result.theirs, ''),
      );
    }
  } finally {
    for (const socket of open) socket.close();
    await coordinator.close();
    await bare.close();
  }
  const head = ['median (min – max)', '', 'a second', 'answer, median ms', 'answer, p99 ms', 'n', 'ours ÷ theirs'];
  await record(about, [table(head, rows)], { measureMs: ms, results });
}

await main();
