/** What a group demands of the fuse of its nodes, and what the nodes tell of theirs. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reasonText } from '../../schemas/reasons.ts';
import { statusOf } from './explain.ts';
import { rank } from './placement.ts';
import { config, Desk } from './testing.ts';

const watchdog = { kind: 'watchdog', timeoutMs: 1_000 } as const;

/** db demands a watchdog. */
function fenced(): Desk {
  const plain = config({ db: ['alice', 'bob', 'carol'] });
  const db = plain.groups.db;
  if (db === undefined) throw new Error('no group');
  return new Desk({ ...plain, groups: { db: { ...db, fence: 'watchdog' } } });
}

const against = (desk: Desk, node: string) =>
  rank(desk.state, desk.group(), desk.now)
    .find((candidate) => candidate.node === node)
    ?.reasons.filter(({ rule }) => rule === 'no-watchdog' || rule === 'fuse-unfit');

describe('a group that demands a watchdog', () => {
  test('is granted to no node without one, and `why` names it', () => {
    const desk = fenced();
    desk.hears('alice', { fuse: { kind: 'guard' } });
    desk.hears('bob', { fuse: { kind: 'sysrq' } });
    deepEqual(against(desk, 'alice'), [{ rule: 'no-watchdog', has: 'guard' }]);
    deepEqual(against(desk, 'bob'), [{ rule: 'no-watchdog', has: 'sysrq' }]);
    deepEqual(
      against(desk, 'carol'),
      [{ rule: 'no-watchdog', has: null }],
      'an agent of an older version tells nothing',
    );
    deepEqual(desk.claims('alice', {}, { fuse: { kind: 'guard' } }).grants, []);
    match(reasonText({ rule: 'no-watchdog', has: 'guard' }, { group: 'db' }), /has no watchdog, and db starts only/);
  });

  test('is granted to a node that has one', () => {
    const desk = fenced();
    desk.hears('bob', { fuse: watchdog });
    deepEqual(against(desk, 'bob'), []);
    equal(desk.claims('bob').grants[0]?.group, 'db');
    const { groups, nodes } = statusOf(desk.state, desk.now);
    equal(groups.db?.fence, 'watchdog');
    deepEqual(nodes.bob?.fuse, watchdog);
    equal(nodes.alice?.fuse, undefined);
  });

  test('is told to its nodes', () => {
    const desk = fenced();
    equal(desk.hears('bob', { revision: 0 }).config?.groups[0]?.fence, 'watchdog');
  });
});

describe('the fuse of a node', () => {
  test('counts until the node tells another, whatever the reports in between leave out', () => {
    const desk = fenced();
    desk.hears('bob', { fuse: watchdog });
    desk.hears('bob');
    deepEqual(against(desk, 'bob'), []);
    desk.hears('bob', { fuse: { kind: 'guard' } });
    deepEqual(against(desk, 'bob'), [{ rule: 'no-watchdog', has: 'guard' }]);
  });

  test('is not known any more when another incarnation or another program reports without it', () => {
    for (const changes of [{ incarnation: 'bob-2' }, { agentVersion: '0.0.9' }]) {
      const desk = fenced();
      desk.hears('bob', { fuse: watchdog });
      desk.passes(10_000, ['alice', 'carol']);
      desk.hears('bob', changes);
      deepEqual(against(desk, 'bob'), [{ rule: 'no-watchdog', has: null }], JSON.stringify(changes));
    }
  });

  test('that cannot be used keeps every group away, whatever it demands', () => {
    const desk = new Desk();
    desk.hears('bob', { fuse: { ...watchdog, problem: 'too slow' } });
    deepEqual(against(desk, 'bob'), [{ rule: 'fuse-unfit', detail: 'too slow' }]);
    desk.hears('bob', { fuse: watchdog });
    deepEqual(against(desk, 'bob'), []);
  });
});
