import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Status } from '../../schemas/api.ts';
import { checkText, groupText, statusText, verdictOf } from './status-text.ts';

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

! web waits: bob is lost; when its lease has run out, nobody takes over -> holdfast why web
! bob has not reported for 47s -> holdfast events
! carol is configured but has not joined -> holdfast node token create --node carol
! alice refuses web/nginx: policy.yaml:9 does not list it
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

! alice was declared dead and has not started again -> holdfast agent, on alice, brings it back
! the agent of bob ended and has not started again for 2.0s -> holdfast agent, on bob
! carol has joined, but its agent has not started -> holdfast agent, on carol`,
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
