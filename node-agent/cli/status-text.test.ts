import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Status } from '../../schemas/api.ts';
import type { Reason } from '../../schemas/reasons.ts';
import { checkText, groupText, statusText } from './status-text.ts';
import { verdictOf } from './verdict.ts';

const plain = { paint: (_: unknown, text: string) => text };

const healthy: Status = {
  schema: 'holdfast/status/v1',
  cluster: 'shop',
  at: '2026-11-22T09:00:10.000Z',
  revision: 17,
  groups: {
    db: {
      state: 'running',
      owner: 'alice',
      epoch: 4,
      since: '2026-11-22T06:55:10.000Z',
      resources: [
        { id: 'vip-192.0.2.10', state: 'running' },
        { id: 'nginx', state: 'running', reason: 'restarted\nonce' },
      ],
      candidates: [
        {
          node: 'alice',
          eligible: true,
          chosen: true,
          reasons: [{ rule: 'owner' }, { rule: 'preference', position: 1 }],
        },
        { node: 'bob', eligible: true, chosen: false, reasons: [{ rule: 'preference', position: 2 }] },
      ],
    },
  },
  nodes: {
    alice: { state: 'ready', lastSeenMs: 800, joined: true, agentVersion: '0.1.0', refusals: [] },
    bob: { state: 'ready', lastSeenMs: 120, joined: true, agentVersion: '0.1.0', refusals: [] },
  },
};
const [db] = Object.values(healthy.groups);
assert.ok(db);

const troubled: Status = {
  ...healthy,
  groups: {
    db: { ...db, candidates: db.candidates.map((one) => ({ ...one, eligible: one.node === 'alice' })) },
    web: {
      ...db,
      state: 'waiting',
      owner: null,
      reason: 'bob is lost; when its lease has run out, nobody takes over',
      candidates: [],
    },
  },
  nodes: {
    alice: {
      state: 'ready',
      lastSeenMs: 800,
      joined: true,
      agentVersion: '0.1.0',
      refusals: [{ group: 'web', resource: 'nginx', reason: 'policy.yaml:9 does not list it' }],
    },
    bob: { state: 'lost', lastSeenMs: 47_000, joined: true, agentVersion: '0.1.0', refusals: [] },
    carol: { state: 'lost', lastSeenMs: null, joined: false, agentVersion: null, refusals: [] },
  },
};

describe('status', () => {
  it('of a healthy cluster is a verdict and two tables', () => {
    assert.equal(
      statusText(healthy, plain),
      `shop  OK: 1 group runs  (revision 17)

GROUP  STATE    NODE   FOR     EPOCH  TAKES OVER
db     running  alice  2h 05m  4      bob

NODE   STATE  SEEN      AGENT  RUNS
alice  ready  0.8s ago  0.1.0  db
bob    ready  0.1s ago  0.1.0  -`,
    );
  });

  it('names a few of many groups on a node, and how many more there are', () => {
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`g${index}`, db]));
    const runs = (count: number) =>
      /^alice .*0\.1\.0 {2}(.*)$/m.exec(statusText({ ...healthy, groups: many(count) }, plain))?.[1];
    assert.equal(runs(200), 'g0 g1 g2 g3 g4 g5 g6 g7 and 192 more');
    assert.equal(runs(9), 'g0 g1 g2 g3 g4 g5 g6 g7 g8');
  });

  it('puts what differs before the tables where the end may not be seen', () => {
    const lines = statusText(troubled, plain, 'notes-first').split('\n');
    const first = lines.findIndex((line) => line.startsWith('! '));
    assert.ok(first > 0 && first < lines.findIndex((line) => line.startsWith('GROUP')), lines.join('\n'));
  });

  it('of a cluster in trouble says what differs, worst first, each with the next command', () => {
    assert.equal(
      statusText(troubled, plain),
      `shop  DOWN: 1 of 2 groups not served, 1 of 3 nodes lost, 1 of 3 nodes not joined, 1 of 2 groups without a second node  (revision 17)

GROUP  STATE    NODE   FOR     EPOCH  TAKES OVER
db     running  alice  2h 05m  4      nobody
web    waiting  -      2h 05m  4      -

NODE   STATE       SEEN      AGENT  RUNS
alice  ready       0.8s ago  0.1.0  db
bob    LOST        47s ago   0.1.0  -
carol  not joined  -         -      -

! web is waiting: bob is lost; when its lease has run out, nobody takes over -> holdfast why web
! bob has not reported for 47s -> holdfast events
! carol is configured but has not joined -> holdfast node token create --node carol
! alice refuses web/nginx: policy.yaml:9 does not list it -> holdfast doctor, on alice
! no other node could take db over from alice -> holdfast why db`,
    );
  });

  it('of one group shows its resources and every candidate with its reasons', () => {
    assert.equal(
      groupText('db', db, healthy.at, plain),
      `db  running on alice for 2h 05m, epoch 4

RESOURCE        STATE    NOTE
vip-192.0.2.10  running
nginx           running  restarted once

NODE   ELIGIBLE  WHY
alice  runs it   has it, or had it last (stay put); number 1 of the \`on\` list
bob    yes       number 2 of the \`on\` list`,
    );
  });

  it('calls one lost node degraded as long as every group is served', () => {
    const verdict = verdictOf({ ...troubled, groups: healthy.groups });
    assert.equal(verdict.level, 'DEGRADED');
    assert.equal(verdict.text, '1 of 3 nodes lost, 1 of 3 nodes not joined, every group is served');
  });

  it('does not alarm about what an operator stopped, nor about nothing', () => {
    assert.equal(
      verdictOf({ ...healthy, groups: { db: { ...db, state: 'stopped', owner: null } } }).text,
      '0 groups run, 1 group stopped on purpose',
    );
    assert.deepEqual(verdictOf({ ...healthy, revision: 0, groups: {}, nodes: {} }), {
      level: 'OK',
      text: 'nothing is configured yet',
      notes: [],
    });
  });

  it('does not call a group served that is stopped on purpose', () => {
    const stopped = { ...db, state: 'stopped', owner: null } as const;
    const text = (groups: Status['groups']) => verdictOf({ ...troubled, groups }).text;
    assert.match(text({ db: stopped }), /not joined, 1 group stopped on purpose$/);
    assert.match(text({ db: stopped, web: db }), /every other group is served, 1 group stopped on purpose$/);
  });

  it('a group that follows another, or waits for a person, lacks no successor; one that is kept apart does', () => {
    const besides = (reason: Reason): Status => ({
      ...healthy,
      groups: {
        db: {
          ...db,
          candidates: [
            ...db.candidates.slice(0, 1),
            {
              node: 'bob',
              eligible: false,
              chosen: false,
              reasons: [reason, { rule: 'preference', position: 2, weight: 15 }],
            },
          ],
        },
      },
    });
    assert.equal(verdictOf(besides({ rule: 'not-with', group: 'web', owner: 'alice' })).level, 'OK');
    assert.equal(verdictOf(besides({ rule: 'manual-failover' })).level, 'OK');
    assert.equal(verdictOf(besides({ rule: 'not-apart', group: 'web' })).level, 'DEGRADED');
    const takesOver = (reason: Reason) => /^db .* {2}(\S.*)$/m.exec(statusText(besides(reason), plain))?.[1];
    assert.equal(takesOver({ rule: 'not-with', group: 'web', owner: 'alice' }), 'with web');
    assert.equal(takesOver({ rule: 'manual-failover' }), 'by hand');
    assert.equal(takesOver({ rule: 'not-apart', group: 'web' }), 'nobody');
  });

  it('tells why a node does not report, and what to do there', () => {
    const lost = { state: 'lost', joined: true, refusals: [] } as const;
    const nodes: Status['nodes'] = {
      alice: { ...lost, refusals: [], lastSeenMs: 61_000, agentVersion: '0.1.0', note: 'declared dead' },
      bob: { ...lost, refusals: [], lastSeenMs: 2_000, agentVersion: '0.1.0', note: 'agent ended' },
      carol: { ...lost, refusals: [], lastSeenMs: null, agentVersion: null, note: 'joined, agent not started' },
    };
    assert.equal(
      statusText({ ...healthy, groups: {}, nodes }, plain),
      `shop  DEGRADED: 2 of 3 nodes lost, 1 of 3 nodes not started  (revision 17)

NODE   STATE                      SEEN        AGENT  RUNS
alice  LOST (declared dead)       1m 01s ago  0.1.0  -
bob    LOST (agent ended)         2.0s ago    0.1.0  -
carol  joined, agent not started  -           -      -

! alice was declared dead and has not started again -> systemctl enable --now holdfast, on alice, brings it back
! the agent of bob ended and has not started again for 2.0s -> systemctl enable --now holdfast, on bob
! carol has joined, but its agent has not started -> systemctl enable --now holdfast, on carol`,
    );
  });

  it('does not alarm while a coordinator that has just started has not heard of the second node yet', () => {
    const candidates: typeof db.candidates = db.candidates.map((one) =>
      one.node === 'bob' ? { ...one, eligible: false, reasons: [{ rule: 'unheard' }] } : one,
    );
    const status = { ...healthy, groups: { db: { ...db, candidates } } };
    assert.equal(checkText(status).exit, 0);
    assert.match(statusText(status, plain), /4 {6}\?\n/);
  });

  it('does not alarm about a group that was given one node on purpose', () => {
    const single = { ...db, candidates: db.candidates.slice(0, 1) };
    assert.equal(verdictOf({ ...healthy, groups: { db: single } }).level, 'OK');
  });

  it('says loudly that a restored coordinator holds everything back', () => {
    const verdict = verdictOf({ ...healthy, restored: { since: healthy.at, waitingFor: ['bob'] } });
    assert.equal(verdict.level, 'DEGRADED');
    assert.match(verdict.notes.join(), /waiting for bob -> holdfast cluster confirm-history/);
  });
});

type Outage = NonNullable<Status['groups'][string]['outage']>;
const outage: Outage = { survives: true, takeover: true, voters: ['alice', 'bob'] };
const withOutage = (differs: Partial<Outage>): Status => ({
  ...healthy,
  groups: { db: { ...db, outage: { ...outage, ...differs } } },
});
const alone: Partial<Outage> = {
  takeover: false,
  voters: ['alice'],
  reason: 'alice is its only voter, so no other node may take it over (bob is lost)',
};

describe('what an outage of the coordinator would mean', () => {
  const takesOver = (status: Status) => /^db .* {2}(\S.*)$/m.exec(statusText(status, plain))?.[1];

  it('is not mentioned while nothing is missing', () => {
    assert.equal(statusText(withOutage({}), plain), statusText(healthy, plain));
  });

  it('is a warning where it would stop the group, with what is missing', () => {
    const exposed = withOutage({ survives: false, reason: 'bob listens for no peers' });
    const { level, text, notes } = verdictOf(exposed);
    assert.deepEqual(
      [level, text],
      ['DEGRADED', '1 of 1 group not safe from an outage of the coordinator, every group is served'],
    );
    assert.deepEqual(notes, [
      'an outage of the coordinator would stop db: bob listens for no peers -> holdfast status db',
    ]);
    assert.equal(checkText(exposed).exit, 1);
  });

  it('is none where it is meant so, not known yet, or nobody runs the group', () => {
    const unsafe = { survives: false, reason: 'x' };
    assert.equal(verdictOf(withOutage({ ...unsafe, requires: 'uplink' })).level, 'OK');
    assert.equal(verdictOf(withOutage({ ...unsafe, settling: true })).level, 'OK');
    const stopped: typeof db = { ...db, state: 'stopped', owner: null, outage: { ...outage, ...unsafe, voters: [] } };
    assert.deepEqual(verdictOf({ ...healthy, groups: { db: stopped } }).notes, []);
  });

  it('an owner that is the only voter has no automatic takeover, whatever speaks for the other nodes', () => {
    const status = withOutage(alone);
    assert.equal(takesOver(status), 'nobody');
    const { level, text, notes } = verdictOf(status);
    assert.deepEqual([level, text], ['DEGRADED', '1 of 1 group without a second node, every group is served']);
    assert.deepEqual(notes, [`no automatic takeover of db: ${alone.reason} -> holdfast why db`]);
  });

  it('does not alarm while the other node is about to vote, nor about a group of one node', () => {
    const settling = withOutage({ ...alone, settling: true });
    assert.deepEqual([verdictOf(settling).level, takesOver(settling)], ['OK', '?']);
    const single = { ...db, candidates: db.candidates.slice(0, 1), outage: { ...outage, ...alone } };
    assert.equal(verdictOf({ ...healthy, groups: { db: single } }).level, 'OK');
  });

  it('a group that waits for a person does so in vain when its owner is the only voter', () => {
    const candidates = [
      ...db.candidates.slice(0, 1),
      { node: 'bob', eligible: false, chosen: false, reasons: [{ rule: 'manual-failover' as const }] },
    ];
    const manual = (differs: Partial<Outage>) => ({
      ...healthy,
      groups: { db: { ...db, candidates, outage: { ...outage, ...differs } } },
    });
    assert.equal(takesOver(manual({})), 'by hand');
    assert.equal(takesOver(manual(alone)), 'nobody');
    assert.equal(verdictOf(manual(alone)).level, 'DEGRADED');
  });

  it('stands whole in the status of one group', () => {
    const text = (differs: Partial<Outage>) => {
      const { db: group } = withOutage(differs).groups;
      assert.ok(group);
      return groupText('db', group, healthy.at, plain);
    };
    assert.match(
      text({}),
      /\n\nvoters {4}alice, bob\noutage {4}one of the coordinator that begins now costs it nothing: by the promises of bob\n\n/,
    );
    assert.match(
      text({ survives: false, reason: 'bob listens for no peers' }),
      /\noutage {4}one of the coordinator would stop it: bob listens for no peers\n/,
    );
    assert.match(
      text(alone),
      /nobody’s promise\ntakeover {2}no automatic takeover: alice is its only voter.*bob is lost/,
    );
    assert.match(text({ ...alone, settling: true }), /\n\(not settled yet/);
  });
});

describe('status --check', () => {
  it('is one line with performance data and the exit code of a Nagios plug-in', () => {
    assert.deepEqual(checkText(healthy), {
      exit: 0,
      line: 'HOLDFAST OK - shop: 1 group runs | groups=1 groups_running=1 nodes=2 nodes_ready=2',
    });
    const bad = checkText(troubled);
    assert.equal(bad.exit, 2);
    assert.match(
      bad.line,
      /^HOLDFAST CRITICAL - shop: 1 of 2 groups not served.*nobody takes over \| groups=2 groups_running=1/,
    );
    assert.equal(checkText({ ...troubled, groups: healthy.groups }).exit, 1);
  });
});

describe('a watchdog that a group demands', () => {
  const lacks = (node: string): Status => ({
    ...healthy,
    groups: {
      db: {
        ...db,
        fence: 'watchdog',
        candidates: db.candidates.map((one) =>
          one.node === node
            ? { ...one, eligible: false, reasons: [{ rule: 'no-watchdog', has: 'guard' }, ...one.reasons] }
            : one,
        ),
      },
    },
  });

  it('and that a node lacks is said with the node', () => {
    const { level, text, notes } = verdictOf(lacks('bob'));
    assert.equal(level, 'DEGRADED');
    assert.match(text, /1 of 1 group with nodes that lack its watchdog/);
    assert.match(
      notes.join('\n'),
      /bob has no watchdog, which db demands: it does not start there -> holdfast doctor, on bob/,
    );
  });

  it('and that its owner lacks is said louder', () => {
    assert.match(verdictOf(lacks('alice')).notes.join('\n'), /db runs on alice WITHOUT the watchdog that it demands/);
  });

  it('is not missed on a node that is lost: that is what is said of it', () => {
    const status = lacks('bob');
    const { bob } = status.nodes;
    assert.ok(bob);
    const lost: Status = { ...status, nodes: { ...status.nodes, bob: { ...bob, state: 'lost' } } };
    assert.doesNotMatch(verdictOf(lost).notes.join('\n'), /watchdog/);
  });

  it('and that a node cannot use keeps everything away from it, which is said with the sum', () => {
    const { bob } = healthy.nodes;
    assert.ok(bob);
    const fuse = { kind: 'watchdog', timeoutMs: 2_000, problem: 'watchdog 2000 + reset 200 = 2200 ms' } as const;
    const { text, notes } = verdictOf({ ...healthy, nodes: { ...healthy.nodes, bob: { ...bob, fuse } } });
    assert.match(text, /1 of 2 nodes without a watchdog that works/);
    assert.match(
      notes.join('\n'),
      /bob cannot use the watchdog .* starts nothing: watchdog 2000 \+ reset 200 = 2200 ms/,
    );
  });
});
