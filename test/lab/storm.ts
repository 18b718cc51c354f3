/**
 * `npm run storm`: random faults on real processes, real kernels' addresses and real time, with a client that asks every 20 ms and the observer
 * of the laboratory watching all the time.
 *
 * The seed decides which faults come, in which order, how long they last and where they strike; when a process gets the processor is
 * its own affair, so a repeated run meets the same faults and not the same microseconds. Ends with 1 if two hosts ever had an address or ran nginx at
 * the same time, or if the cluster does not come to rest after its faults were mended.
 */
import { parseArgs } from 'node:util';
import { LEASE_PROFILES, MAX_NODES } from '../../schemas/limits.ts';
import { Random } from '../sim/random.ts';
import { Client, Cluster, labUnavailable, monotonicMs, resources, until, VIP } from './index.ts';
import { type End, type Fault, type Field, hostFor, isOn, kinds, nextEpisode } from './storm-faults.ts';
import { type Struck, Tally } from './storm-tally.ts';

const NAMES = ['alice', 'bob', 'carol', 'dora', 'erik', 'frida', 'gustav', 'hanna'].slice(0, MAX_NODES);
/** After its faults were mended, everything must run again within this time. */
const REST_MS = 90_000;
/** A group that does not run so long after that is given to an operator's cleanup: a node with a bad cable has given it up. */
const CLEANUP_AFTER_MS = 4_000;

const USAGE = `npm run storm [-- OPTION…]
  --minutes N       how long faults go on (5); the cluster comes to rest after that
  --seed S          the faults of this seed; another one at every run when left out, told at the end
  --hosts N         nodes, 2 to ${NAMES.length} (3)
  --lease PROFILE   fast (the default here) or default
  --only KIND,…     these kinds of fault: ${kinds.join(', ')}
  --json            the report as JSON
Ends with 1 if two hosts ever had an address or ran the web server at once, or if the cluster did not come to rest.`;

class UsageError extends Error {}

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly hosts: readonly string[];
  readonly lease: 'fast' | 'default';
  readonly only: readonly string[] | undefined;
  readonly json: boolean;
}

/** @returns undefined when only help is asked for. @throws UsageError. */
function optionsOf(argv: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      minutes: { type: 'string', default: '5' },
      seed: { type: 'string' },
      hosts: { type: 'string', default: '3' },
      lease: { type: 'string', default: 'fast' },
      only: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  const [minutes, hosts, { lease }] = [Number(values.minutes), Number(values.hosts), values];
  const only = values.only?.split(',');
  if (!(minutes > 0)) throw new UsageError('--minutes: more than 0');
  if (!Number.isInteger(seed) || seed < 0) throw new UsageError('--seed: a whole number');
  if (!Number.isInteger(hosts) || hosts < 2 || hosts > NAMES.length)
    throw new UsageError(`--hosts: 2 to ${NAMES.length}`);
  if (lease !== 'fast' && lease !== 'default') throw new UsageError('--lease: fast or default');
  const unknown = (only ?? []).filter((kind) => !kinds.includes(kind));
  if (unknown.length > 0)
    throw new UsageError(`--only: no fault ${unknown.join(', ')}; there are: ${kinds.join(', ')}`);
  return { minutes, seed, hosts: NAMES.slice(0, hosts), lease, only, json: values.json };
}

/** The web server, and groups of one address each that begin on every node in turn; the last one requires its uplink. */
function fieldOf(hosts: readonly string[], lease: string): { document: string; addresses: Map<string, string> } {
  const addresses = new Map([['web', VIP]]);
  const patience = '        failures: { count: 20, window: 1m }';
  const lines = [
    `cluster: lab\nnodes: [${hosts.join(', ')}]\nlease: ${lease}\ngroups:`,
    `  web:\n    resources:\n${resources.vip}\n${patience}\n${resources.server}\n${patience}`,
  ];
  for (let index = 0; index < 4; index++) {
    const [name, address] = [`g${index}`, `192.0.2.${20 + index}`];
    addresses.set(name, address);
    const on = [...hosts.slice(index % hosts.length), ...hosts.slice(0, index % hosts.length)].join(', ');
    const requires = index === 3 ? '    requires: uplink\n' : '';
    lines.push(`  ${name}:\n    on: [${on}]\n${requires}    resources:\n      - vip: ${address}/24\n${patience}`);
  }
  return { document: `${lines.join('\n')}\n`, addresses };
}

class Storm {
  readonly #options: Options;
  readonly #field: Field;
  readonly #client: Client;
  readonly #tally: Tally;
  readonly #beganMs = monotonicMs();
  #episodes = 0;

  constructor(options: Options, field: Field, client: Client) {
    this.#options = options;
    this.#field = field;
    this.#client = client;
    this.#tally = new Tally(field, client);
  }

  get tally(): Tally {
    return this.#tally;
  }

  /** @returns what went wrong, if something did. */
  async run(): Promise<string | undefined> {
    const { seed, minutes, lease, only } = this.#options;
    const random = new Random(seed);
    const { takeoverMs } = LEASE_PROFILES[lease];
    while (monotonicMs() - this.#beganMs < minutes * 60_000) {
      const { planned, hasty } = nextEpisode(random, (own) => new Random(own), takeoverMs);
      const wanted = planned.filter(({ fault }) => only?.includes(fault.kind) ?? true);
      if (wanted.length === 0) continue;
      const problem = await this.#episode(wanted, hasty);
      if (problem !== undefined) return problem;
    }
    return await this.#rest();
  }

  async #episode(planned: ReturnType<typeof nextEpisode>['planned'], hasty: boolean): Promise<string | undefined> {
    const number = ++this.#episodes;
    const sinceMs = monotonicMs();
    const taken = new Set<string>();
    const struck: Struck[] = [];
    await Promise.all(
      planned.map(async ({ fault, place, delayMs, lastsMs, draw }) => {
        await sleep(delayMs);
        const begun = await this.#begin(fault, place, draw, taken);
        if (begun === undefined) return;
        struck.push(begun.struck);
        this.#tally.struck(begun.struck);
        await sleep(lastsMs);
        await begun.end();
        begun.struck.endMs = monotonicMs();
      }),
    );
    const mendedMs = monotonicMs();
    const problem = hasty ? await this.#served() : await this.#rest();
    const restMs = monotonicMs() - mendedMs;
    const found = await this.#tally.since(sinceMs);
    const names = struck.map(({ kind, where, beganMs, endMs = beganMs }) => {
      const ms = endMs - beganMs;
      return `${kind} ${where}${ms < 100 ? '' : ` ${(ms / 1_000).toFixed(1)} s`}`;
    });
    this.#say(
      `#${number} ${names.join(' + ') || 'nothing struck'}: ${found.changes} changes of owner, ${found.downtimeMs.toFixed(0)} ms without the web server, ${hasty ? 'served' : 'at rest'} ${(restMs / 1_000).toFixed(1)} s after`,
    );
    if (problem !== undefined) return problem;
    return found.overlaps.length === 0 ? undefined : `two owners: ${JSON.stringify(found.overlaps)}`;
  }

  async #begin(
    fault: Fault,
    place: number,
    draw: Random,
    taken: Set<string>,
  ): Promise<{ readonly struck: Struck; readonly end: End } | undefined> {
    let where: string = fault.on;
    let begin: () => Promise<End | undefined>;
    if (fault.on === 'host') {
      const host = hostFor(this.#field, place, taken);
      if (host === undefined || !isOn(host)) return undefined;
      where = host.name;
      begin = () => fault.begin(this.#field, host);
    } else begin = () => fault.begin(this.#field, draw);
    if (taken.has(where)) return undefined;
    taken.add(where);
    const struck: Struck = { kind: fault.kind, where, beganMs: monotonicMs(), endMs: undefined };
    const end = await begin();
    return { struck, end: end ?? (async () => undefined) };
  }

  /** The web server answers, or nobody can be expected to answer so soon. */
  async #served(): Promise<string | undefined> {
    const sinceMs = monotonicMs();
    const answered = () => (this.#client.lastAnswer?.sentMs ?? 0) >= sinceMs || monotonicMs() - sinceMs > 3_000;
    await until(answered, { deadlineMs: 5_000, everyMs: 20, what: 'a moment' });
    return undefined;
  }

  /** Everything runs, on nodes that are all there. @returns what does not. */
  async #rest(): Promise<string | undefined> {
    const { cluster, addresses } = this.#field;
    const { product } = cluster;
    const sinceMs = monotonicMs();
    let last = '';
    let cleanedMs = sinceMs;
    const well = async () => {
      const unheld = [...addresses].filter(([, address]) => cluster.observer.holders(address).length !== 1);
      const soon = monotonicMs() - sinceMs < 2_000;
      if (unheld.length > 0 && soon) return false;
      const asked = await product.cli(['status', '--json']);
      if (asked.code !== 0) return false;
      const { groups, nodes } = JSON.parse(asked.stdout) as Awaited<ReturnType<Cluster['status']>>;
      for (const [node, { state }] of Object.entries(nodes))
        if (state === 'standby') await product.cli(['node', 'ready', node]);
      const down = Object.entries(groups).filter(([, { state }]) => state !== 'running');
      const absent = Object.entries(nodes).filter(([, { state }]) => state !== 'ready');
      last = JSON.stringify({ down, absent: absent.map(([node, { state }]) => [node, state]), unheld });
      if (down.length > 0 && monotonicMs() - cleanedMs > CLEANUP_AFTER_MS) {
        cleanedMs = monotonicMs();
        for (const [group] of down) await product.cli(['group', 'cleanup', group, '--wait', '0s']);
      }
      return down.length + absent.length + unheld.length === 0;
    };
    try {
      await until(well, { deadlineMs: REST_MS, everyMs: 200, what: 'everything to run again' });
      await this.#client.nextAnswer(10_000);
      return undefined;
    } catch (error) {
      return `not at rest: ${error instanceof Error ? error.message : String(error)}; ${last}`;
    }
  }

  #say(text: string): void {
    const out = this.#options.json ? process.stderr : process.stdout;
    out.write(`[${((monotonicMs() - this.#beganMs) / 1_000).toFixed(0).padStart(5)} s] ${text}\n`);
  }
}

/** When faults come and how long they last is what the seed decides; nothing is waited for by it. */
async function sleep(ms: number): Promise<void> {
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
}

async function main(): Promise<number> {
  let options: Options | undefined;
  try {
    options = optionsOf(process.argv.slice(2));
  } catch (error) {
    // parseArgs has a TypeError for what it does not know
    if (!(error instanceof UsageError) && !(error instanceof TypeError)) throw error;
    process.stderr.write(`${error.message}\n\n${USAGE}\n`);
    return 2;
  }
  if (options === undefined) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const missing = labUnavailable();
  if (missing !== undefined) {
    process.stderr.write(`No storm on this machine: ${missing}.\n`);
    return 1;
  }
  const { document, addresses } = fieldOf(options.hosts, options.lease);
  await using cluster = await Cluster.start({ hosts: options.hosts, services: ['server'], document });
  await until(async () => Object.values((await cluster.status()).groups).every(({ state }) => state === 'running'), {
    deadlineMs: 40_000,
    everyMs: 200,
    what: 'everything to run before the storm',
  });
  await cluster.healthy();
  const client = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  await client.nextAnswer(10_000);
  const storm = new Storm(options, { cluster, addresses }, client);
  let problem = await storm.run().catch((error: unknown) => String(error));
  problem ??= await storm.tally.epochsOutOfOrder();
  const report = await storm.tally.report(options.seed, options.hosts.length, options.lease);
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : `\n${storm.tally.text(report)}\n`);
  await client.stop();
  if (problem === undefined && report.overlapMs === 0) return 0;
  process.stderr.write(`${problem ?? 'two owners'}\n`);
  for (const [group, address] of addresses)
    process.stderr.write(`${group}: ${(await cluster.observer.history(address)).slice(-8).join('; ')}\n`);
  process.stderr.write(`${await cluster.lab.logs()}\n`);
  return 1;
}

process.exitCode = await main();
