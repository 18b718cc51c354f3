import { deepEqual, equal, match } from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../schemas/config.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { planChange } from './plan.ts';
import { config, Desk } from './testing.ts';

const before = config({ db: ['alice', 'bob'] });
const db = before.groups.db ?? { name: 'db', on: [], resources: [] };
const with_ = (change: Partial<typeof db>): Config => ({ ...before, groups: { db: { ...db, ...change } } });
const mail = { type: 'vip', id: 'mail', address: '192.0.2.11/24', times: {} } as const;

const changes: [string, Config, [string, string, RegExp]][] = [
  ['a group that stays as it is', before, ['db', 'unchanged', /no change/]],
  ['a group that leaves', config({}), ['db', 'removed', /alice stops it/]],
  ['an owner that is not listed any more', config({ db: ['bob'] }), ['db', 'moves', /alice.*starts on bob/]],
  ['another order of nodes', config({ db: ['bob', 'alice'] }), ['db', 'settings', /no restart/]],
  [
    'an added resource',
    with_({ resources: [...db.resources, mail] }),
    ['db', 'restarts', /mail changed.*restart on alice/],
  ],
  ['a removed resource', with_({ resources: [] }), ['db', 'restarts', /ip changed/]],
  [
    'other times of a resource',
    with_({ resources: db.resources.map((one) => ({ ...one, times: { stopMs: 5_000 } })) }),
    ['db', 'settings', /no restart/],
  ],
  ['other lease timing', { ...before, timing: LEASE_PROFILES.wan }, ['*', 'settings', /next renewal; no restart/]],
];
for (const [what, next, [group, effect, detail]] of changes)
  test(`${what} is planned as ${effect}`, () => {
    const desk = new Desk(before);
    desk.runsOn('alice');
    const plan = planChange(desk.state, 'old\n', 'new\n', next);
    const found = plan.effects.find((one) => one.group === group);
    equal(found?.effect, effect);
    match(found?.detail ?? '', detail);
  });

test('a new group is planned first-start on its first node', () => {
  const desk = new Desk(before);
  const plan = planChange(desk.state, '', 'x', config({ db: ['alice', 'bob'], web: ['bob'] }));
  match(plan.effects.find(({ group }) => group === 'web')?.detail ?? '', /starts on bob/);
});

test('what hurts stands first, and the same text changes nothing', () => {
  const desk = new Desk(config({ db: ['alice'], web: ['alice'] }));
  const plan = planChange(desk.state, 'a: 1\n', 'a: 1', config({ db: ['alice'] }));
  deepEqual(
    plan.effects.map(({ effect }) => effect),
    ['removed', 'unchanged'],
  );
  deepEqual([plan.changed, plan.diff], [false, '']);
});
