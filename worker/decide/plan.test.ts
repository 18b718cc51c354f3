import { deepEqual, equal, match } from 'node:assert/strict';
import { test } from 'node:test';
import { type Config, DEFAULT_POLICY, NO_RULES } from '../../schemas/config.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { planChange } from './plan.ts';
import { config, Desk } from './testing.ts';
import { Floor, ruled } from './testing-floor.ts';

const before = config({ db: ['alice', 'bob'] });
const db = before.groups.db ?? { name: 'db', on: [], resources: [], ...NO_RULES };
const with_ = (change: Partial<typeof db>): Config => ({ ...before, groups: { db: { ...db, ...change } } });
const mail = { type: 'vip', id: 'mail', address: '192.0.2.11/24', times: {}, policy: DEFAULT_POLICY } as const;

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
  [
    'another failure policy of a resource',
    with_({ resources: db.resources.map((one) => ({ ...one, policy: { ...DEFAULT_POLICY, onFail: 'hold' } })) }),
    ['db', 'settings', /no restart/],
  ],
  [
    'the same in another order of keys',
    with_({ resources: [{ policy: DEFAULT_POLICY, times: {}, address: '192.0.2.10/24', id: 'ip', type: 'vip' }] }),
    ['db', 'unchanged', /no change/],
  ],
  [
    'that it requires the uplink',
    with_({ requires: 'uplink' }),
    ['db', 'settings', /^no restart; from now on it stops when its node loses the coordinator$/],
  ],
  [
    'that it demands a watchdog, which its owner lacks',
    with_({ fence: 'watchdog' }),
    [
      'db',
      'settings',
      /^no restart; from now on it starts only on nodes with a watchdog; alice, .* has none: it goes on there$/,
    ],
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

const rules: [string, Config, Config, [string, string, RegExp]][] = [
  [
    'a group that is to run with another',
    ruled({ db: { on: ['bob'] }, web: {} }),
    ruled({ db: { on: ['bob'] }, web: { with: ['db'] } }),
    ['web', 'moves', /^it runs with db, which is on bob: stops on alice, starts on bob$/],
  ],
  [
    'a group that is to be apart from another',
    ruled({ db: {}, web: {} }),
    ruled({ db: {}, web: { apart: ['db'] } }),
    ['web', 'moves', /^it is kept apart from db, which runs here; bob can take it: stops on alice, starts on bob$/],
  ],
  [
    'a group that is to be apart and has nowhere to go',
    ruled({ db: { on: ['alice', 'bob'] }, web: { on: ['alice'] } }),
    ruled({ db: { on: ['alice', 'bob'] }, web: { on: ['alice'], apart: ['db'] } }),
    ['web', 'settings', /^no restart$/],
  ],
  [
    'a group that is to come after another',
    ruled({ db: {}, web: {} }),
    ruled({ db: {}, web: { after: ['db'] } }),
    ['web', 'settings', /^no restart$/],
  ],
  [
    'a group that is to go back to a better node',
    ruled({ db: {} }),
    ruled({ db: { prefer: ['carol'], failbackMs: 600_000 } }),
    ['db', 'settings', /^no restart; moves to carol when that has been able to run it for 10m \(failback\)$/],
  ],
  [
    'a new group that runs with another, after a third',
    ruled({ db: {}, log: {} }),
    ruled({ db: {}, log: {}, web: { with: ['db'], after: ['log'] } }),
    ['web', 'created', /^starts where db runs, once log is up$/],
  ],
  [
    'a new group that prefers a node',
    ruled({ db: {} }),
    ruled({ db: {}, web: { prefer: ['carol'] } }),
    ['web', 'created', /^starts on carol, or on the next of its nodes that can$/],
  ],
  [
    'a new group that is to be apart from others',
    ruled({ db: {}, log: {} }),
    ruled({ db: {}, log: {}, web: { apart: ['db', 'log'] } }),
    ['web', 'created', /nodes that can, never beside db or log$/],
  ],
];
for (const [what, old, next, [group, effect, detail]] of rules)
  test(`${what} is planned as ${effect}`, () => {
    const floor = new Floor(old);
    floor.runs(2_000);
    const found = planChange(floor.state, 'old\n', 'new\n', next).effects.find((one) => one.group === group);
    equal(found?.effect, effect);
    match(found?.detail ?? '', detail);
    const text = floor.places[group];
    floor.does({ type: 'apply', config: next });
    floor.runs(2_000);
    equal(floor.place(group) === text, effect === 'settings', 'and so it comes');
  });

test('documents that have too little in common are not compared to the end, in the thread that renewals need', () => {
  const lines = (word: string) => Array.from({ length: 5_000 }, (_, n) => `# ${word} ${n}`).join('\n');
  const plan = planChange(new Desk(before).state, lines('old'), lines('new'), before);
  match(plan.diff, /too little in common/);
});
