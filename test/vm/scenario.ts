/** A scenario as a test, on a cluster that it shares with the others. */
import { after, test } from 'node:test';
import { VmCluster } from './cluster.ts';
import { playOn, type Stage } from './play.ts';
import { vmUnavailable } from './tools.ts';

const SCENARIO_MS = 900_000;

export type Scenario = SharedScenario | OwnScenario;

interface SharedScenario {
  readonly name: string;
  /** Does the harm and waits until the group runs again. */
  readonly play: (stage: Stage) => Promise<void>;
  /** Makes of the healthy cluster what the scenario needs, before it is watched. */
  readonly prepare: (cluster: VmCluster) => Promise<void>;
}

interface OwnScenario {
  readonly name: string;
  /** Makes its own machines and switches them off in the end, or at once when the signal comes. */
  readonly alone: (say: (text: string) => void, signal: AbortSignal) => Promise<void>;
}

export interface Limits {
  /** After this the scenario has failed, ms; 15 minutes when left out. */
  readonly timeoutMs?: number;
  /** Asked when its turn has come: why it is not played, in the words of a skipped test. */
  readonly skip?: () => Promise<string | undefined>;
}

/** One cluster for all scenarios: a boot takes longer than most of them. One that failed is not used again. */
let shared: Promise<VmCluster> | undefined;
let collected: Scenario[] | undefined;

/**
 * A test on two virtual machines. After `play` it is looked whether every acknowledged row is there, and exactly one node is Primary
 * and has the address. What is broken then is mended for the next.
 */
export function scenario(
  name: string,
  play: SharedScenario['play'],
  prepare: SharedScenario['prepare'] = async () => undefined,
): void {
  register({ name, play, prepare });
}

/** A test on machines of its own. The shared ones are switched off before it. */
export function scenarioAlone(name: string, alone: OwnScenario['alone']): void {
  register({ name, alone });
}

function register(one: Scenario): void {
  if (collected === undefined) playAsTest(one);
  else collected.push(one);
}

/** @returns the scenarios of modules, which are loaded by `load` and register no tests then. */
export async function scenariosOf(load: () => Promise<unknown>): Promise<readonly Scenario[]> {
  const found: Scenario[] = [];
  collected = found;
  try {
    await load();
  } finally {
    collected = undefined;
  }
  return found;
}

/** Registers the test. */
export function playAsTest(one: Scenario, limits: Limits = {}): void {
  const { timeoutMs = SCENARIO_MS, skip = vmUnavailable } = limits;
  void test(one.name, { timeout: timeoutMs }, async (t) => {
    const why = await skip();
    if (why !== undefined) return t.skip(why);
    if ('alone' in one) {
      await closeShared();
      return await one.alone((text) => t.diagnostic(text), t.signal);
    }
    const { name, play, prepare } = one;
    shared ??= VmCluster.start();
    const own = shared;
    const giveUp = () => {
      if (shared === own) shared = undefined;
    };
    let ended = false;
    // The runner ends the test when its time is up, and not what it does: its cluster is taken from under it, and the next has one of its own.
    t.signal.addEventListener('abort', () => {
      if (ended) return;
      giveUp();
      own.then((cluster) => cluster.close()).catch(() => undefined);
    });
    try {
      const cluster = await own;
      await prepare(cluster);
      await playOn(cluster, play, (text) => t.diagnostic(text));
    } catch (error) {
      giveUp();
      const cluster = await own.catch(() => undefined);
      const failure =
        (await cluster?.failed(name, error)) ?? (error instanceof Error ? error : new Error(String(error)));
      // the reporter has it at its end, which may be far
      process.stderr.write(`vm: ${name}: ${failure.message}\n`);
      throw failure;
    } finally {
      ended = true;
    }
  });
}

async function closeShared(): Promise<void> {
  const cluster = await shared?.catch(() => undefined);
  shared = undefined;
  await cluster?.close();
}

after(closeShared);
