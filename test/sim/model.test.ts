/**
 * A small part of `npm run model` (docs/model.md): the protocol within small bounds, and some guards without which it fails. And the
 * product's decision code beside the model, step by step.
 */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { boundsOf, boundsText } from './model/bounds.ts';
import { Explorer } from './model/explore.ts';
import { GUARD_NAMES, type GuardName, guardsWithout } from './model/guards.ts';
import { MUTANTS } from './model/mutants.ts';
import { show } from './model/replay/counterexamples.ts';
import { SITUATIONS } from './model/replay/lockstep.ts';
import { walkTogether } from './model/replay/walks.ts';
import { check, counterexample, verdict } from './model/report.ts';
import { SMOKE } from './model/suite.ts';

describe('the lease protocol, exhaustively within small bounds', () => {
  for (const bounds of SMOKE)
    test(`no two nodes run the group at once: ${boundsText(bounds)}`, () => {
      const result = check(bounds);
      ok(result.complete, [verdict(result), ...counterexample(result)].join('\n'));
    });

  const SAMPLE: readonly GuardName[] = [
    'send-time',
    'wait-claimant',
    'promise-check',
    'confirm',
    'proof-clean',
    'proof-base',
  ];
  for (const guard of SAMPLE)
    test(`without ${guard} two do`, () => {
      const mutant = MUTANTS.find(({ drop }) => drop.length === 1 && drop[0] === guard);
      ok(mutant, `no mutant without ${guard}`);
      equal(check(mutant.bounds, mutant.drop).violation, 'two');
    });

  test('every guard has a mutant of its own', () => {
    const dropped = new Set(MUTANTS.flatMap(({ drop }) => (drop.length === 1 ? drop : [])));
    deepEqual(
      GUARD_NAMES.filter((name) => !dropped.has(name)),
      [],
    );
  });

  test('the reductions change no verdict: neither of the protocol nor of a mutant', () => {
    for (const [faults, dropped] of [
      [{ pause: 1 }, []],
      [{ release: 1 }, ['repeat-renews']],
      [{ pause: 1 }, ['arm-first']],
      [{ drift: 2 }, []],
    ] as const) {
      const run = (reduced: boolean) =>
        new Explorer(boundsOf(2, faults), guardsWithout(dropped), { reduced }).run({ states: 1e6, seconds: 60 });
      equal(run(true).violation, run(false).violation);
    }
  });
});

describe('the decision code beside the model', () => {
  test('does step by step what the model does, and nothing that the model forbids', (t) => {
    const done = new Map<string, number>();
    for (const [nodes, voters, seeds] of [
      [2, 2, 50],
      [3, 2, 50],
      [3, 3, 40],
    ] as const)
      for (let seed = 1; seed <= seeds; seed++)
        for (const [move, times] of walkTogether(seed, nodes, voters, 100).done)
          done.set(move, (done.get(move) ?? 0) + times);
    t.diagnostic([...done].map(([move, times]) => `${times} × ${move}`).join(', '));
    const moves = [
      'grants',
      'adopts',
      'starts',
      'learns',
      'hears the release',
      'is proven dead',
      'gives back',
    ] as const;
    for (const wanted of [...moves, ...SITUATIONS])
      ok((done.get(wanted) ?? 0) > 0, `no walk in which something “${wanted}”`);
  });

  /** The step at which the code no longer goes along, or after which it is in another state than the mutant, and why. */
  const REFUSED: readonly (readonly [readonly GuardName[], RegExp])[] = [
    [['send-time'], /extends epoch 1: what remains of the lease on alice: 2 in the model, 1 in the code/],
    [['request-ids'], /hears the promise of bob, .*: nothing-sent/],
    [['all-voters'], /time passes: the group on alice: 2 in the model, 0 in the code/],
    [['lost-is-lost', 'refuse-lower', 'refuse-holder'], /bob promises alice .*: held/],
    [['stop-at-deadline', 'fuse'], /time passes: the group on alice: 2 in the model, 0 in the code/],
    [['fuse'], /time passes: the group on alice: 2 in the model, 0 in the code/],
    [['fuse-margin'], /time passes: the group on alice: 2 in the model, 0 in the code/],
    [['arm-first'], /time passes: the group on bob: 1 in the model, 0 in the code/],
    [['release-stopped'], /sends its release .*: the group on alice: 2 in the model, 0 in the code/],
    [['release-final'], /alice hears that it was granted epoch 1 .*: not-adopted/],
    [['promise-length'], /bob hears that it was granted epoch 2 .*: not-adopted/],
    [['start-valid'], /bob hears that it was granted epoch 2 .*: not-adopted/],
    [['promise-check'], /bob hears that it was granted epoch 2 .*: not-adopted/],
    [['void-by-release'], /bob hears that it was granted epoch 2 .*: not-adopted/],
    // nobody is heard as a node whose incarnation before was heard within a lease
    [['quarantine'], /GRANTS epoch 2 to bob .*: nothing-sent/],
    [['quarantine-length'], /GRANTS epoch 2 to bob .*: nothing-sent/],
    [['restart-stops'], /guard on alice dies.*: the group on alice: 2 in the model, 0 in the code/],
    [['guard-keeps-promise'], /starts again .*: what remains of the promise of bob: 0 in the model, 2 in the code/],
    [['guard-keeps-lease'], /starts again .*: epoch of the lease on alice: undefined in the model, 1 in the code/],
    [['guard-keeps-voters'], /starts again .*: version of the voters on alice: 1 in the model, 2 in the code/],
    [['incarnation', 'highest-durable'], /alice boots .*: highest epoch that alice has seen: 0 in the model, 1 in the/],
    [['renew-match'], /renews epoch 1 of alice, which is over: not-renewed/],
    [['doubt-cleared'], /GRANTS epoch 2 to bob after the wait, .*: lease-runs, coordinator/],
    [['wait-coordinator', 'wait-claimant'], /GRANTS epoch 2 to bob after the wait, .*: lease-runs, coordinator/],
    [['wait-claimant'], /GRANTS epoch 2 to bob after the wait, .*: lease-runs, claimant/],
    [['takeover-length'], /GRANTS epoch 2 to bob after the wait, .*: lease-runs, coordinator/],
    [['repeat-renews'], /alice hears an answer .*: nothing-sent/],
    [['restart-doubt'], /GRANTS epoch 2 to bob after the wait, .*: lease-runs, coordinator/],
    [['eligible'], /GRANTS epoch 2 to carol .*: not-voter/],
    [['current-voters'], /GRANTS epoch 3 to carol .*: not-voter/],
    [['pending-voters'], /GRANTS epoch 2 to bob .*: not-voter/],
    [['confirm'], /GRANTS epoch 3 to carol .*: not-voter/],
    [['proof-true'], /told that alice is off.*: node-alive/],
    [['proof-base'], /GRANTS epoch 3 to carol after the proof of death, .*: not-voter/],
  ];
  for (const [dropped, expected] of REFUSED)
    test(`refuses a step of the counterexample without ${dropped.join(' and ')}`, () => {
      match(refusal(dropped, true), expected);
    });

  /** The code takes up only what it may start upon. No counterexample without one of these is left then: it never comes to them. */
  const SPARE: readonly GuardName[] = [
    'release-clean',
    'refuse-lower',
    'highest-durable',
    'proof-waits',
    'proof-clean',
  ];
  for (const guard of SPARE)
    test(`does not come to where ${guard} is needed: it ignores the grant on the way there`, () => {
      match(refusal([guard], false), /bob hears that it was granted epoch 2 .*: not-adopted/);
    });

  test('is shown every mutant but those of the shells', () => {
    const shells: readonly GuardName[] = ['output-gate', 'one-instance'];
    const shown = new Set([...REFUSED.map(([dropped]) => dropped.join()), ...SPARE, ...shells]);
    const killed = MUTANTS.filter(({ redundant }) => redundant !== true).map(({ drop }) => drop.join());
    deepEqual(
      killed.filter((dropped) => !shown.has(dropped)),
      [],
    );
  });

  function refusal(dropped: readonly GuardName[], strict: boolean): string {
    const mutant = MUTANTS.find(({ drop }) => drop.join() === dropped.join());
    ok(mutant, `no mutant without ${dropped.join(', ')}`);
    const { refused, steps } = show({ ...mutant.bounds, strict }, dropped);
    ok(refused, `the code went along with all ${steps} steps`);
    return `${refused.step}: ${refused.why}`;
  }
});
