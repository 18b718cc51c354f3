/**
 * `npm run bench:failover`: how long a client waits when a machine loses power, when everything is moved on purpose, when the web
 * server is killed and when the whole room is switched on; and whether a pulled cable ever makes two owners. For Holdfast, keepalived
 * and Pacemaker in one run: the same hosts, the same nginx behind the same address, the same client that asks every 20 ms.
 */
import { type Client, installNginx, Lab, labUnavailable, monotonicMs, nginx, ocf, VIP } from '../test/lab/index.ts';
import {
  beyond,
  type ContenderName,
  type Measured,
  type OwnTimes,
  overview,
  type Results,
  ratios,
  titles,
} from './lib/failover-tables.ts';
import { startHoldfast } from './lib/holdfast.ts';
import { startKeepalived } from './lib/keepalived.ts';
import { type BenchOptions, benchOptions, wanted } from './lib/options.ts';
import { startPacemaker } from './lib/pacemaker.ts';
import { circumstances, progress, record } from './lib/record.ts';
import { answersSteadily, killAll, pause, type Stack, startClient, whoAnswers } from './lib/stack.ts';
import { summarize } from './lib/summary.ts';

const three = ['alice', 'bob', 'carol'];
const two = ['alice', 'bob'];

interface Contender {
  /** A fault falls anywhere in this time: renewals, adverts and tokens have a phase. */
  readonly rhythmMs: number;
  /** Pause between two looks at the service, where it is looked at in turns: a kill falls anywhere between two of them. */
  readonly pollMs?: number;
  readonly start: (title: string) => Promise<Stack>;
}

const contenders: Record<ContenderName, Contender> = {
  'holdfast-default': {
    rhythmMs: 1_000,
    start: (title) => startHoldfast(title, three, 'default'),
  },
  'holdfast-fast': { rhythmMs: 350, start: (title) => startHoldfast(title, three, 'fast') },
  keepalived: { rhythmMs: 1_000, start: (title) => startKeepalived(title, two, 1) },
  'pacemaker-2': {
    rhythmMs: 1_000,
    pollMs: 10_000,
    start: (title) => startPacemaker(title, two),
  },
  'pacemaker-3': {
    rhythmMs: 1_000,
    pollMs: 10_000,
    start: (title) => startPacemaker(title, three),
  },
};

/** How long a pulled cable stays out: longer than any of them needs to decide. */
const cableOutMs = 15_000;

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
async function ownTimes(lab: Lab, runs: number): Promise<OwnTimes> {
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

function runsOf(options: BenchOptions, scenario: string): number {
  const slow = ['cold', 'cable', 'all-cables'].includes(scenario);
  return slow ? Math.min(options.runs, options.quick ? 1 : 3) : options.runs;
}

async function measure(key: ContenderName, options: BenchOptions, results: Results): Promise<void> {
  const contender = contenders[key];
  progress(`${titles[key]}: starting`);
  const stack = await contender.start(titles[key]);
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
        progress(`${titles[key]}: ${scenario} ${run + 1}: ${Math.round(measured.outageMs)} ms${overlap}`);
      }
    }
    await client.stop();
  } finally {
    await stack.close();
  }
}

async function main(): Promise<void> {
  const missing = labUnavailable();
  if (missing !== undefined) throw new Error(missing);
  const options = benchOptions({ runs: 7, quickRuns: 1 });
  const about = await circumstances();
  const results: Results = {};
  const own = await ownTimesAlone(options);
  for (const key of Object.keys(contenders) as ContenderName[]) {
    if (!wanted(options, key) && options.only?.some((part) => part in contenders)) continue;
    await measure(key, options, results);
  }
  await record(
    about,
    [overview(results), ratios(results), beyond(results, own)].filter((text) => text !== ''),
    { results, own },
  );
}

async function ownTimesAlone(options: BenchOptions): Promise<OwnTimes> {
  await using lab = await Lab.create({ hosts: [] });
  return await ownTimes(lab, Math.min(5, options.runs));
}

await main();
