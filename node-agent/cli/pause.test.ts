/** Pauses, maintenance and holds as an operator asks for them and reads of them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Status, Why } from '../../schemas/api.ts';
import { checkText, groupText, nodeTable, statusText } from './status-text.ts';
import { problem, ran, stubCoordinator } from './testing.ts';
import { verdictOf } from './verdict.ts';
import { changes } from './watch.ts';
import { whyText } from './why-text.ts';

const plain = { paint: (_: unknown, text: string) => text };
const at = '2026-11-22T09:00:00.000Z';
const hour = { since: at, until: '2026-11-22T10:00:00.000Z' };

const db: Status['groups'][string] = {
  state: 'running',
  owner: 'alice',
  epoch: 4,
  since: '2026-11-22T08:00:00.000Z',
  resources: [{ id: 'mysql', state: 'running' }],
  candidates: [
    { node: 'alice', eligible: true, chosen: true, reasons: [{ rule: 'owner' }] },
    { node: 'bob', eligible: true, chosen: false, reasons: [{ rule: 'preference', position: 2 }] },
  ],
};
const node: Status['nodes'][string] = {
  state: 'ready',
  lastSeenMs: 100,
  joined: true,
  agentVersion: '0.1.0',
  refusals: [],
};
const status = (group: Partial<typeof db>, alice: Partial<typeof node> = {}): Status => ({
  schema: 'holdfast/status/v1',
  cluster: 'shop',
  at,
  revision: 2,
  groups: { db: { ...db, ...group } },
  nodes: { alice: { ...node, ...alice }, bob: node },
});
const paused = status({ paused: { ...hour, reason: 'disk swap' } });
const resting = status({}, { maintenance: { ...hour, reason: 'new kernel' } });
const halted = { node: 'alice', resource: 'mysql', reason: 'tables damaged', since: at } as const;
const held = status({ state: 'failed', reason: 'mysql failed', halted: { kind: 'hold', ...halted } });

describe('status', () => {
  it('shows a pause beside the state, with its end, its reason and what ends it', () => {
    assert.equal(
      statusText(paused, plain),
      `shop  DEGRADED: 1 of 1 group paused, every group is served  (revision 2)

GROUP  STATE            NODE   FOR     EPOCH  TAKES OVER
db     running, paused  alice  1h 00m  4      nobody

NODE   STATE  SEEN      AGENT  RUNS
alice  ready  0.1s ago  0.1.0  db
bob    ready  0.1s ago  0.1.0  -

! db is paused until 2026-11-22T10:00:00.000Z, for another 1h 00m (disk swap); nobody takes it over meanwhile -> holdfast group resume db`,
    );
  });

  it('shows maintenance beside the node', () => {
    assert.match(nodeTable(resting, plain), /alice {2}ready, maintenance/);
    assert.match(
      statusText(resting, plain),
      /! alice is in maintenance until .*, for another 1h 00m \(new kernel\); nobody takes over what it runs -> holdfast node ready alice/,
    );
    assert.match(statusText(resting, plain), /4 {6}nobody\n/);
  });

  it('shows a host that is shutting down', () => {
    assert.match(nodeTable(status({}, { note: 'shutting down' }), plain), /alice {2}ready \(shutting down\)/);
  });

  it('says loudly that a group is on hold, and what ends it', () => {
    const { level, text, notes } = verdictOf(held);
    assert.deepEqual([level, text], ['DOWN', '1 of 1 group on hold']);
    assert.deepEqual(notes, [
      'db is ON HOLD: mysql failed on alice (tables damaged); nothing of it is touched until a person decides -> holdfast group cleanup db',
    ]);
    assert.match(statusText(held, plain), /db {5}failed, ON HOLD {2}alice/);
  });

  it('says that a group starts nowhere until a person decides', () => {
    const { level, notes } = verdictOf(status({ state: 'failed', owner: null, halted: { kind: 'stop', ...halted } }));
    assert.equal(level, 'DOWN');
    assert.deepEqual(notes, [
      'db has failed: mysql failed on alice (tables damaged) and it starts nowhere until a person decides -> holdfast group cleanup db',
    ]);
  });

  it('of a paused group that nobody runs says both', () => {
    const { level, notes } = verdictOf(status({ ...waiting, paused: { ...hour, reason: 'disk swap' } }));
    assert.equal(level, 'DOWN');
    assert.equal(notes.length, 2);
  });

  it('of one group shows pause and hold below its headline', () => {
    const both = { ...db, paused: { ...hour, reason: 'disk swap' }, halted: { kind: 'hold', ...halted } } as const;
    const text = groupText('db', both, at, plain);
    assert.match(text, /\n\npaused until .* \(disk swap\); `holdfast group resume db` ends it\n\n! db is ON HOLD/);
  });

  it('of one group shows when a node that failed tries again', () => {
    const reasons = [
      { rule: 'failed-here', resource: 'mysql', detail: 'exit 1', since: at, until: hour.until } as const,
    ];
    const text = groupText(
      'db',
      { ...db, candidates: [{ node: 'bob', eligible: false, chosen: false, reasons }] },
      at,
      plain,
    );
    assert.match(
      text,
      /bob {3}NO {8}mysql failed here \(.*\): exit 1; tried again 2026-11-22T10:00:00.000Z, `holdfast group cleanup db`/,
    );
  });

  for (const [what, of, exit] of [
    ['a degraded group', status({ state: 'degraded', reason: 'log is down' }), 1],
    ['a paused group', paused, 1],
    ['a node in maintenance', resting, 1],
    ['a group on hold', held, 2],
    ['a failed group', status({ state: 'failed', owner: null }), 2],
  ] as const)
    it(`--check: ${what} is ${exit === 1 ? 'a warning' : 'critical'}`, () => {
      assert.equal(checkText(of).exit, exit);
    });

  it('--check counts a degraded group among those that run, and not a node in maintenance among the ready ones', () => {
    assert.match(checkText(status({ state: 'degraded' })).line, /groups_running=1 nodes=2 nodes_ready=2$/);
    assert.match(checkText(resting).line, /nodes_ready=1$/);
  });
});

const waiting = { state: 'waiting', owner: null, reason: 'the group is paused' } as const;

it('watch tells of the beginning and the end of a pause, of a maintenance, and of another end', () => {
  const longer = status({ paused: { ...hour, until: '2026-11-22T11:00:00.000Z', reason: 'disk swap' } });
  assert.deepEqual(changes(status({}), paused), [
    'group db: running on alice (epoch 4) -> running on alice (epoch 4), paused until 2026-11-22T10:00:00.000Z (disk swap)',
  ]);
  assert.equal(changes(paused, longer).length, 1);
  assert.deepEqual(changes(resting, status({})), [
    'node alice: ready, in maintenance until 2026-11-22T10:00:00.000Z (new kernel) -> ready',
  ]);
});

it('why tells of a pause in its headline', () => {
  const { state, owner, epoch, candidates } = db;
  const why: Why = {
    schema: 'holdfast/why/v1',
    group: 'db',
    ...{ state, owner, epoch, candidates },
    paused: { ...hour, reason: 'disk swap' },
    lastGrant: null,
    refusals: [],
  };
  assert.match(
    whyText(why, undefined, plain),
    /^db is running on alice, epoch 4\n {2}paused until .*\(disk swap\).*`holdfast group resume db` ends it\n/,
  );
});

describe('what is asked of the coordinator', () => {
  const cases: [string[], string, unknown, RegExp][] = [
    [
      ['group', 'pause', 'db', '--reason', ' disk swap '],
      '/v1/clusters/shop/groups/db/pause',
      { forMs: 3_600_000, reason: 'disk swap' },
      /^db is paused for 1h: .*`holdfast group resume db` ends it\n$/,
    ],
    [
      ['group', 'pause', '--all', '--reason', 'network', '--for', '30m'],
      '/v1/clusters/shop/pause',
      { forMs: 1_800_000, reason: 'network' },
      /^every group is paused for 30m: .*`holdfast group resume --all` ends it\n$/,
    ],
    [['group', 'resume', 'db'], '/v1/clusters/shop/groups/db/resume', {}, /^db is no longer paused\n$/],
    [['group', 'resume', '--all'], '/v1/clusters/shop/resume', {}, /^no group is paused any more\n$/],
    [
      ['node', 'maintenance', 'alice', '--reason', 'new kernel', '--for', '2h'],
      '/v1/clusters/shop/nodes/alice/maintenance',
      { forMs: 7_200_000, reason: 'new kernel' },
      /^alice is in maintenance for 2h: .*`holdfast node ready alice` ends it\n$/,
    ],
  ];
  for (const [args, path, body, said] of cases)
    it(args.join(' '), async () => {
      const stub = await stubCoordinator(() => ({ body: { done: true } }));
      try {
        const { exit, out } = await ran(args, { env: stub.env });
        assert.equal(exit, 0);
        assert.match(out, said);
        assert.deepEqual(
          stub.asked.map((asked) => [asked.method, asked.path, JSON.parse(asked.body)]),
          [['POST', path, body]],
        );
        const json = await ran([...args, '--json'], { env: stub.env });
        assert.equal(JSON.parse(json.out).schema, 'holdfast/done/v1');
      } finally {
        await stub.close();
      }
    });

  it('what is refused meanwhile says what comes first', async () => {
    const detail = 'db is paused until 2026-11-22T10:00:00.000Z (disk swap); `holdfast group resume db` first';
    const stub = await stubCoordinator(() => ({ status: 409, body: problem('not-possible', 409, detail) }));
    try {
      const { exit, err } = await ran(['move', 'db'], { env: stub.env });
      assert.deepEqual([exit, err], [1, `Error: ${detail}.\n`]);
    } finally {
      await stub.close();
    }
  });
});
