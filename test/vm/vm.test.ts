/**
 * The last tier of `npm test`: as many scenarios on virtual machines as there is time for, on one cluster. Each that is not played is
 * named, with the reason and the command that plays it.
 */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { repoRoot } from '../lab/index.ts';
import { packagesBuilt } from './packages.ts';
import { playAsTest, type Scenario, scenariosOf } from './scenario.ts';
import { vmUnavailable } from './tools.ts';

/** For building, booting and playing together. */
const BUDGET_MS = 15 * 60_000;
/** None begins when less is left: nearly all that pass end within it. */
const LONGEST_MS = 4 * 60_000;
/** One that takes much longer than that has failed; it may have booted a cluster of its own, where the one before it broke the shared one. */
const TIMEOUT_MS = LONGEST_MS + 3 * 60_000;
/** When `npm test` as a whole has run for so long nothing is begun: it is ended from outside after 90 minutes. */
const TOO_LATE_MS = 60 * 60_000;

const begunMs = Date.now();
const allBegunMs = Number(process.env.HOLDFAST_TEST_BEGAN_MS ?? begunMs);
const tooLate = begunMs - allBegunMs > TOO_LATE_MS;

async function readied(): Promise<string | undefined> {
  const unavailable = await vmUnavailable();
  if (unavailable !== undefined) return unavailable;
  const failed = await packagesBuilt();
  if (failed !== undefined) throw new Error(`${failed} failed`);
  return undefined;
}

/** Of the first scenario; the others have its answer. */
let ready: Promise<string | undefined> | undefined;

async function whyNot(command: string): Promise<string | undefined> {
  if (tooLate) return `out of time: npm test had run for more than an hour: ${command}`;
  if (Date.now() - begunMs > BUDGET_MS - LONGEST_MS) return `out of time: ${command}`;
  ready ??= readied();
  const reason = await ready;
  return reason === undefined ? undefined : `${reason}: ${command}`;
}

type Placed = Scenario & { readonly command: string };

/** There is never time for all: where it begins is another place every day. */
function fromToday(scenarios: readonly Placed[]): readonly Placed[] {
  const first = (Math.floor(Date.now() / 86_400_000) * 5) % Math.max(1, scenarios.length);
  return [...scenarios.slice(first), ...scenarios.slice(0, first)];
}

const all: Placed[] = [];
for (const file of globSync('test/vm/*.vm.ts', { cwd: repoRoot }).toSorted())
  for (const one of await scenariosOf(() => import(join(repoRoot, file))))
    all.push({ ...one, command: `npm run vm -- ${file}` });
for (const one of fromToday(all))
  playAsTest(one, { timeoutMs: TIMEOUT_MS, skip: async () => await whyNot(one.command) });
