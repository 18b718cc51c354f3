import { equal, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_GROUPS, MAX_RELATED_GROUPS } from '../../schemas/limits.ts';
import { config, Desk } from './testing.ts';

/** Judged by itself, each claim costs about as much as all together do when they are judged by one state: 70 times as much for 200 were seen. */
const AT_MOST_TIMES = 20;

/** Processor time, which other work on the machine does not lengthen. */
function costMs(act: () => void): number {
  const before = process.cpuUsage();
  act();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

test('a report with every claim that a document can have, each waiting for as many groups as it can, costs about as much as one with a single claim', (t) => {
  const names = Array.from({ length: MAX_GROUPS }, (_, index) => `g${index}`);
  const plain = config(Object.fromEntries(names.map((name) => [name, ['alice', 'bob', 'carol']])));
  const groups = Object.values(plain.groups).map((group, index) => ({
    ...group,
    after: names.slice(Math.max(0, index - MAX_RELATED_GROUPS), index),
  }));
  const ruled = { ...plain, groups: Object.fromEntries(groups.map((group) => [group.name, group])) };
  const claims = names.map((group) => ({ group, renewal: null, seenForMs: 0 }));
  const last = new Desk(ruled);
  const oneMs = costMs(() => last.hears('alice', { claims: claims.slice(-1) }));
  const desk = new Desk(ruled);
  let reply = desk.hears('alice');
  const allMs = costMs(() => {
    reply = desk.hears('alice', { claims });
  });
  equal(reply.grants.length, 1);
  equal(reply.refused.length, MAX_GROUPS - 1);
  t.diagnostic(`one claim ${oneMs.toFixed(1)} ms, all of them ${allMs.toFixed(1)} ms`);
  ok(allMs < AT_MOST_TIMES * oneMs, `${allMs} ms for all, ${oneMs} ms for one`);
  equal(desk.effects.filter(({ kind }) => kind === 'decision').length, MAX_GROUPS);
  desk.hears('alice', { claims: claims.slice(1) });
  equal(desk.effects.filter(({ kind }) => kind === 'decision').length, 0, 'each refusal is recorded once');
});

test('the same claim many times in one report is recorded once', () => {
  const desk = new Desk();
  desk.runsOn('alice');
  const claim = { group: 'db', renewal: null, seenForMs: 0 };
  desk.hears('bob', { claims: [claim, claim, claim] });
  equal(desk.effects.filter(({ kind }) => kind === 'decision').length, 1);
});
