/**
 * `npm run bench:webhooks`: how long a renewal takes while nothing has to be told, while 1,000 notices wait for receivers that take a
 * request and never answer, and while the same 1,000 are delivered; in turn, in one run. Sixteen nodes renew ten times a second each, which
 * is ten times as often as they do; webhooks are an object of their own (docs/decisions/0020-webhooks.md), and this is what that is for.
 */
import type { ServerResponse } from 'node:http';
import { Receiver } from '../test/coordinator/receiver.ts';
import { until } from '../test/lab/index.ts';
import { benchOptions } from './lib/options.ts';
import { circumstances, progress, record } from './lib/record.ts';
import { administer, isNoReply, isRenewal, renewers } from './lib/renewers.ts';
import type { LoadSocket } from './lib/socket.ts';
import { pause } from './lib/stack.ts';
import { percentile, spread, summarize, table } from './lib/summary.ts';
import { type Server, serveCoordinator } from './lib/workerd.ts';

const NODES = 16;
const EVERY_MS = 100;
const WEBHOOKS = 10;
const NOTICES = 1_000;
const CLUSTER = 'busy';
const at = (path: string) => `/v1/clusters/${CLUSTER}/${path}`;

/** Renews at its pace for so long. @returns how long each answer took, ms, sorted. */
async function paced(sockets: readonly LoadSocket[], ms: number): Promise<number[]> {
  const times: number[] = [];
  const sentAt = new Map<LoadSocket, number>();
  let wrong: string | undefined;
  for (const socket of sockets)
    socket.onText((text) => {
      if (isNoReply(text)) return;
      if (!isRenewal(text)) wrong ??= text.toString().slice(0, 500);
      times.push(performance.now() - (sentAt.get(socket) ?? Number.NaN));
      sentAt.delete(socket);
    });
  const send = (socket: LoadSocket) => {
    // one that is not answered yet is waited for: its time counts when it comes
    if (sentAt.has(socket)) return;
    sentAt.set(socket, performance.now());
    socket.send();
  };
  const timers: NodeJS.Timeout[] = [];
  for (const [index, socket] of sockets.entries())
    setTimeout(() => timers.push(setInterval(() => send(socket), EVERY_MS)), (index * EVERY_MS) / sockets.length);
  await pause(ms);
  for (const timer of timers) clearInterval(timer);
  await until(() => sentAt.size === 0, { deadlineMs: 10_000, what: 'the last renewals to be answered' });
  const broken = sockets.find(({ problem }) => problem !== undefined)?.problem;
  if (wrong !== undefined || broken !== undefined) throw new Error(wrong ?? broken);
  return times.toSorted((a, b) => a - b);
}

async function pending(server: Server): Promise<number> {
  const { webhooks } = (await administer(server, 'GET', at('webhooks'))) as { webhooks: { pending: number }[] };
  return webhooks.reduce((sum, webhook) => sum + webhook.pending, 0);
}

/** Makes events until so many notices wait. */
async function fill(server: Server): Promise<void> {
  while ((await pending(server)) < NOTICES) {
    for (let n = 0; n < 10; n++) {
      await administer(server, 'POST', at('groups/g-n1/pause'), { reason: 'to be told' });
      await administer(server, 'POST', at('groups/g-n1/resume'), {});
    }
  }
}

async function main(): Promise<void> {
  const options = benchOptions({ runs: 5, quickRuns: 1 });
  const ms = options.quick ? 2_000 : 10_000;
  const about = await circumstances();
  const server = await serveCoordinator();
  const receiver = await Receiver.start();
  const held: ServerResponse[] = [];
  const hang = () => {
    receiver.answer = (response) => held.push(response);
  };
  const accept = () => {
    receiver.answerWith(204);
    for (const response of held.splice(0)) response.writeHead(204).end();
  };
  const sockets = await renewers(server, CLUSTER, NODES);
  try {
    for (let n = 0; n < WEBHOOKS; n++)
      await administer(server, 'POST', at('webhooks'), { url: receiver.url, allowPrivate: true, events: ['*'] });
    const empty = () =>
      until(async () => (await pending(server)) === 0, { deadlineMs: 120_000, what: 'all notices', everyMs: 100 });
    const stages = { idle: [] as number[][], pending: [] as number[][], delivering: [] as number[][] };
    await paced(sockets, ms / 4);
    for (let run = 0; run < options.runs; run++) {
      await empty();
      stages.idle.push(await paced(sockets, ms));
      hang();
      await fill(server);
      stages.pending.push(await paced(sockets, ms));
      if ((await pending(server)) < NOTICES) throw new Error('notices arrived that were to wait');
      const before = receiver.received.length;
      accept();
      const begun = () => receiver.received.length >= before + WEBHOOKS;
      await until(begun, { deadlineMs: 60_000, what: 'the next attempts' });
      stages.delivering.push(await paced(sockets, ms));
      progress(`run ${run + 1} of ${options.runs}: ${receiver.received.length - before} delivered while it renewed`);
    }
    const p99 = (runs: readonly number[][]) => runs.map((times) => percentile(times, 0.99));
    const idle = p99(stages.idle);
    const rows = Object.entries(stages).map(([name, runs]) => [
      name,
      String(runs.reduce((sum, times) => sum + times.length, 0)),
      spread(summarize(runs.map((times) => percentile(times, 0.5)))),
      spread(summarize(p99(runs))),
      name === 'idle' ? '' : `${spread(summarize(p99(runs).map((value, run) => value / (idle[run] ?? Number.NaN))))} ×`,
    ]);
    const head = ['median (min – max)', 'renewals', 'answer, median ms', 'answer, p99 ms', 'p99 ÷ idle'];
    await record(about, [table(head, rows)], { measureMs: ms, notices: NOTICES, stages });
  } finally {
    for (const socket of sockets) socket.close();
    await receiver.close();
    await server.close();
  }
}

await main();
