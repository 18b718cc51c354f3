/** A short run of the simulator (`npm run sim`, docs/simulator.md), and the seeds that failed once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MUTANTS } from './mutants.ts';
import { Tally } from './report.ts';
import { FAILED } from './seeds.ts';
import { type StormOptions, storm } from './storm.ts';

const SEEDS = 200;
/** What has to come up in a storm that is worth its name. */
const REACHED = [
  'grant: lease-expired',
  'grant: released',
  'grant: declared-dead',
  'change of host',
  'lease lost',
  'fuse fired',
  'stuck',
  'event while paused',
  'hands off',
  'handed over',
  'continuation on promises',
  'continuation alone',
  'takeover after a continuation',
  'voters changed',
  'promise refused',
  // a planned move that does not wait for the promise that its new owner has given to the old one
  'move past a promise',
  'grant lost',
  'outage watched',
];

function explain(options: StormOptions): string {
  const { violation, timeline } = storm({ ...options, record: true });
  const only = options.only === undefined ? '' : ` --only ${options.only.join(',')}`;
  return `${timeline}\nseed ${options.seed}: ${violation ?? 'no violation'}\nreplay it: npm run sim -- --seed ${options.seed}${only}`;
}

test('no storm makes two hosts run a group at once, lets an outage of the coordinator cost anything, or leaves a group down after it', (t) => {
  const tally = new Tally();
  for (let seed = 1; seed <= SEEDS; seed++) {
    tally.add(seed, storm({ seed }));
    if (tally.failed !== undefined) assert.fail(explain({ seed }));
  }
  t.diagnostic(tally.text());
  for (const what of REACHED)
    assert.ok(tally.count(what) >= SEEDS / 10, `hardly any “${what}”: these storms blow past the protocol`);
});

for (const { bug, ...options } of FAILED)
  test(`seed ${options.seed} holds, which failed once: ${bug}`, () => {
    const { violation } = storm(options);
    if (violation !== undefined) assert.fail(explain(options));
  });

/** Those that are found out soonest; all of them: `npm run sim -- --mutants`. */
for (const name of ['promise-check', 'all-voters', 'asked-all-the-time', 'pets'])
  test(`without ${name} a storm fails: ${MUTANTS[name]?.about}`, () => {
    const mutant = MUTANTS[name];
    assert.ok(mutant);
    const found = Array.from({ length: 40 }, (_, index) => index + 1).find((seed) => {
      const { product, only } = mutant;
      return storm({ seed, product, ...(only === undefined ? {} : { only }) }).violation !== undefined;
    });
    assert.ok(found !== undefined, `${name} is not missed in 40 seeds`);
  });
