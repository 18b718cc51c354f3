/**
 * `npm run bench:failover`: how long a client waits when a machine loses power, when everything is moved on purpose, when the web
 * server is killed and when the whole room is switched on; and whether a pulled cable ever makes two owners. For Holdfast, keepalived
 * and Pacemaker in one run: the same hosts, the same nginx behind the same address, the same client that asks every 20 ms.
 */
import {
  type Client,
  installNginx,
  type Lab,
  labUnavailable,
  monotonicMs,
  nginx,
  ocf,
  VIP,
} from '../test/lab/index.ts';
import { startHoldfast } from './lib/holdfast.ts';
import { startKeepalived } from './lib/keepalived.ts';
import { type BenchOptions, benchOptions, wanted } from './lib/options.ts';
import { startPacemaker } from './lib/pacemaker.ts';
import { circumstances, progress, record } from './lib/record.ts';
import { answersSteadily, killAll, pause, type Stack, startClient, whoAnswers } from './lib/stack.ts';
import { type Summary, spread, summarize, table } from './lib/summary.ts';

const three = ['alice', 'bob', 'carol'];
const two = ['alice', 'bob'];

interface Contender {
  readonly title: string;
  /** A fault falls anywhere in this time: renewals, adverts and tokens have a phase. */
  readonly rhythmMs: number;
  /** Pause between two looks at the service, where it is looked at in turns: a kill falls anywhere between two of them. */
  readonly pollMs?: number;
  readonly start: (title: string) => Promise<Stack>;
}

const contenders: Record<string, Contender> = {
  'holdfast-default': {
    title: 'Holdfast default',
    rhythmMs: 1_000,
    start: (title) => startHoldfast(title, three, 'default'),
  },
  'holdfast-fast': { title: 'Holdfast fast', rhythmMs: 350, start: (title) => startHoldfast(title, three, 'fast') },
  keepalived: { title: 'keepalived 1 s', rhythmMs: 1_000, start: (title) => startKeepalived(title, two, 1) },
  'pacemaker-2': {
    title: 'Pacemaker 2 nodes',
    rhythmMs: 1_000,
    pollMs: 10_000,
    start: (title) => startPacemaker(title, two),
  },
  'pacemaker-3': {
    title: 'Pacemaker 3 nodes',
    rhythmMs: 1_000,
    pollMs: 10_000,
    start: (title) => startPacemaker(title, three),
  },
};

/** How long a pulled cable stays out: longer than any of them needs to decide. */
const cableOutMs = 15_000;

interface Measured {
  outageMs: number;
  /** The resources' own starts of that takeover, as the stack reports them. */
  startsMs?: Readonly<Record<string, number>>;
  /** Two owners of the address at once, by the kernel's own events. */
  overlapMs?: number;
  note?: string;
}

type Scenario = (stack: Stack, client: Client, rhythmMs: number) => Promise<Measured>;

const scenarios: Record<string, Scenario> = {
  power: async (stack, client, rhythmMs) => {
    const owner = await whoAnswers(client);
    await pause(Math.random() * rhythmMs);
    const cutMs = monotonicMs();
    await stack.lab.host(owner).powerCut();
    await answersSteadily(client, cutMs, 2_000, owner);
    const outageMs = client.longestGap(cutMs);
    const startsMs = await stack.ownStarts();
    const overlapMs = await overlapSince(stack, cutMs);
    await stack.lab.host(owner).boot();
    return { outageMs, startsMs, overlapMs };
  },

  move: async (stack, client) => {
    const owner = await whoAnswers(client);
    const to = stack.names.find((name) => name !== owner) ?? owner;
    const movedMs = monotonicMs();
    await stack.move(owner, to);
    await answersSteadily(client, movedMs, 2_000, owner);
    const outageMs = client.longestGap(movedMs);
    const startsMs = await stack.ownStarts();
    await stack.tidy();
    return { outageMs, startsMs, overlapMs: await overlapSince(stack, movedMs) };
  },

  kill: async (stack, client, rhythmMs) => {
    const owner = await whoAnswers(client);
    await pause(Math.random() * rhythmMs);
    const killedMs = monotonicMs();
    if (killAll(stack.lab.host(owner), 'nginx') === 0) throw new Error(`no nginx runs on ${owner}`);
    await answersSteadily(client, killedMs, 2_000);
    const startsMs = await stack.ownStarts();
    const outageMs = client.longestGap(killedMs);
    // The next kill must be the first failure of its place again, not one of a series that makes the stack give the place up.
    const answering = await whoAnswers(client);
    const to = stack.names.find((name) => name !== answering) ?? answering;
    await stack.move(answering, to);
    await answersSteadily(client, monotonicMs(), 1_000, answering);
    await stack.tidy();
    return { outageMs, startsMs, ...(answering === owner ? {} : { note: `answered by ${answering} instead` }) };
  },

  cold: async (stack, client) => {
    await Promise.all([...stack.lab.hosts.values(), stack.lab.arbiter].map((host) => host.powerCut()));
    await pause(3_000);
    const onMs = monotonicMs();
    await stack.coldStart();
    const answer = await client.nextAnswer(120_000, onMs);
    const startsMs = await stack.ownStarts();
    if (stack.lab.arbiter.state.is === 'off') await stack.lab.arbiter.boot();
    return { outageMs: answer.answeredMs - onMs, startsMs, overlapMs: await overlapSince(stack, onMs) };
  },

  cable: (stack, client, rhythmMs) => pullCable(stack, client, rhythmMs, 'lan'),
  'all-cables': (stack, client, rhythmMs) => pullCable(stack, client, rhythmMs, undefined),
};

async function pullCable(stack: Stack, client: Client, rhythmMs: number, link: 'lan' | undefined): Promise<Measured> {
  const owner = await whoAnswers(client);
  await pause(Math.random() * rhythmMs);
  const cutMs = monotonicMs();
  await stack.lab.host(owner).cut(link);
  await pause(cableOutMs);
  const overlapMs = await overlapSince(stack, cutMs);
  const outageMs = client.longestGap(cutMs);
  const mendedMs = monotonicMs();
  await stack.lab.host(owner).mend(link);
  await answersSteadily(client, mendedMs, 4_000);
  await stack.tidy();
  const answered = client.outages({ minMs: 0, sinceMs: cutMs })[0]?.endMs;
  const note =
    answered === undefined || answered > mendedMs ? 'answered again only when the cable was back' : undefined;
  return { outageMs, overlapMs, ...(note === undefined ? {} : { note }) };
}

/** How long two living hosts had the address since then, ms. */
async function overlapSince(stack: Stack, sinceMs: number): Promise<number> {
  const found = await stack.observer.overlaps({ address: VIP, sinceMs });
  const seen = found.filter(({ source }) => source === 'events').map(({ ms }) => ms);
  return seen.reduce((sum, ms) => sum + ms, 0);
}

/** What nginx's OCF agent takes by itself on an idle host of this laboratory: the part of every outage that is nobody's merit. */
async function ownTimes(lab: Lab, runs: number): Promise<{ start: Summary; stop: Summary }> {
  const host = lab.arbiter;
  await installNginx(host);
  const times = { start: [] as number[], stop: [] as number[] };
  for (let run = 0; run < runs; run++) {
    for (const action of ['start', 'stop'] as const) {
      const begun = monotonicMs();
      const { code, stderr } = await ocf(host, nginx, action);
      if (code !== 0) throw new Error(`nginx ${action} by hand: ${code} ${stderr}`);
      times[action].push(monotonicMs() - begun);
    }
  }
  return { start: summarize(times.start), stop: summarize(times.stop) };
}

type Results = Record<string, Record<string, Measured[]>>;

function runsOf(options: BenchOptions, scenario: string): number {
  const slow = ['cold', 'cable', 'all-cables'].includes(scenario);
  return slow ? Math.min(options.runs, options.quick ? 1 : 3) : options.runs;
}

async function measure(key: string, options: BenchOptions, results: Results): Promise<void> {
  const contender = contenders[key];
  if (contender === undefined) return;
  progress(`${contender.title}: starting`);
  const stack = await contender.start(contender.title);
  try {
    const client = await startClient(stack.lab);
    for (const [scenario, carryOut] of Object.entries(scenarios)) {
      if (!wanted(options, scenario) && options.only?.some((part) => part in scenarios)) continue;
      if (scenario === 'kill' && !stack.watchesService) continue;
      if (scenario === 'all-cables' && !key.startsWith('holdfast')) continue;
      for (let run = 0; run < runsOf(options, scenario); run++) {
        await stack.healthy();
        const rhythmMs = scenario === 'kill' ? (contender.pollMs ?? contender.rhythmMs) : contender.rhythmMs;
        const measured = await carryOut(stack, client, rhythmMs);
        results[key] ??= {};
        results[key][scenario] ??= [];
        results[key][scenario].push(measured);
        const overlap = measured.overlapMs === undefined ? '' : `, two owners ${Math.round(measured.overlapMs)} ms`;
        progress(`${contender.title}: ${scenario} ${run + 1}: ${Math.round(measured.outageMs)} ms${overlap}`);
      }
    }
    await client.stop();
  } finally {
    await stack.close();
  }
}

const seconds = (values: readonly number[]) =>
  `${spread(summarize(values.map((ms) => ms / 1_000)))} s, n ${values.length}`;
const sumOf = (starts: Readonly<Record<string, number>> | undefined) =>
  Object.values(starts ?? {}).reduce((sum, ms) => sum + ms, 0);

const titles: Record<string, string> = {
  power: 'power loss → service answers',
  move: 'planned move',
  kill: 'web server killed → answers',
  cold: 'cold start → service answers',
  cable: 'LAN cable pulled for 15 s',
  'all-cables': 'all cables pulled for 15 s',
};

function overview(results: Results): string {
  const keys = Object.keys(contenders).filter((key) => key in results);
  const cell = (key: string, scenario: string): string => {
    const found = results[key]?.[scenario];
    if (found === undefined) return '–';
    return seconds(found.map(({ outageMs }) => outageMs));
  };
  const overlap = (key: string, scenario: string): string => {
    const found = (results[key]?.[scenario] ?? []).flatMap(({ overlapMs }) => overlapMs ?? []);
    if (found.length === 0) return '–';
    return Math.max(...found) === 0 ? `never, n ${found.length}` : seconds(found);
  };
  const rows = Object.keys(scenarios).map((scenario) => [
    titles[scenario] ?? scenario,
    ...keys.map((key) => cell(key, scenario)),
  ]);
  for (const scenario of ['power', 'move', 'cold', 'cable', 'all-cables'])
    rows.push([`${titles[scenario]}: two owners`, ...keys.map((key) => overlap(key, scenario))]);
  return table(['median (min – max)', ...keys.map((key) => contenders[key]?.title ?? key)], rows);
}

/** Ours over theirs, by the medians of this run. */
function ratios(results: Results): string {
  const peers = ['keepalived', 'pacemaker-2', 'pacemaker-3'].filter((key) => key in results);
  const median = (key: string, scenario: string) => {
    const found = results[key]?.[scenario];
    return found === undefined ? undefined : summarize(found.map(({ outageMs }) => outageMs)).median;
  };
  const rows = ['holdfast-default', 'holdfast-fast'].flatMap((ours) =>
    ['power', 'move', 'kill', 'cold'].map((scenario) => {
      const own = median(ours, scenario);
      const cells = peers.map((peer) => {
        const theirs = median(peer, scenario);
        return own === undefined || theirs === undefined ? '–' : `${(own / theirs).toFixed(2)} ×`;
      });
      return [contenders[ours]?.title ?? ours, titles[scenario] ?? scenario, ...cells];
    }),
  );
  return table(['ours ÷ theirs', '', ...peers.map((key) => contenders[key]?.title ?? key)], rows);
}

/** What the resources themselves took is subtracted: of a takeover their starts, of a move also nginx's stop. */
function beyond(results: Results, own: { start: Summary; stop: Summary }): string {
  const rows: string[][] = [];
  for (const key of Object.keys(results)) {
    if (key === 'keepalived') continue;
    for (const scenario of ['power', 'move', 'kill', 'cold']) {
      const found = results[key]?.[scenario];
      if (found === undefined) continue;
      const starts = found.map(({ startsMs }) => sumOf(startsMs) || own.start.median);
      const stops = scenario === 'move' ? own.stop.median : 0;
      const rest = found.map(({ outageMs }, run) => outageMs - (starts[run] ?? 0) - stops);
      rows.push([
        contenders[key]?.title ?? key,
        titles[scenario] ?? scenario,
        seconds(rest),
        `${(summarize(starts).median / 1_000).toFixed(2)} s + ${(stops / 1_000).toFixed(2)} s`,
      ]);
    }
  }
  return table(['', '', 'beyond the resources’ own', 'start + stop subtracted'], rows);
}

async function main(): Promise<void> {
  const missing = labUnavailable();
  if (missing !== undefined) throw new Error(missing);
  const options = benchOptions({ runs: 7, quickRuns: 1 });
  const about = await circumstances();
  const results: Results = {};
  const own = await ownTimesAlone(options);
  for (const key of Object.keys(contenders)) {
    if (!wanted(options, key) && options.only?.some((part) => part in contenders)) continue;
    await measure(key, options, results);
  }
  const byHand = `nginx by its OCF agent, by hand on an idle host: start ${seconds(own.start.values)}; stop ${seconds(own.stop.values)}`;
  await record(about, [overview(results), ratios(results), `${beyond(results, own)}\n${byHand}`], { results, own });
}

async function ownTimesAlone(options: BenchOptions): Promise<{ start: Summary; stop: Summary }> {
  const { Lab: Laboratory } = await import('../test/lab/index.ts');
  await using lab = await Laboratory.create({ hosts: [] });
  return await ownTimes(lab, Math.min(5, options.runs));
}

await main();
