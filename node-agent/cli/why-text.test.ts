import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Why } from '../../schemas/api.ts';
import { whyText } from './why-text.ts';

const plain = { paint: (_: unknown, text: string) => text };

const failedOver: Why = {
  schema: 'holdfast/why/v1',
  group: 'db',
  state: 'running',
  owner: 'bob',
  epoch: 41,
  candidates: [
    {
      node: 'alice',
      eligible: false,
      chosen: false,
      reasons: [{ rule: 'lost', lastSeen: '2026-11-22T09:00:00.100Z' }],
    },
    { node: 'bob', eligible: true, chosen: true, reasons: [{ rule: 'owner' }] },
  ],
  lastGrant: {
    seq: 9,
    at: '2026-11-22T09:00:04.260Z',
    group: 'db',
    kind: 'grant',
    node: 'bob',
    epoch: 41,
    cause: 'lease-expired',
    from: 'alice',
    reasons: [],
    candidates: [
      { node: 'bob', eligible: true, chosen: true, reasons: [{ rule: 'preference', position: 2 }] },
      {
        node: 'carol',
        eligible: false,
        chosen: false,
        reasons: [{ rule: 'refuses', resource: 'nginx', detail: 'not in policy.yaml' }],
      },
    ],
    lastRenewalAt: '2026-11-22T09:00:00.100Z',
    runningAt: '2026-11-22T09:00:04.700Z',
  },
  refusals: [
    {
      seq: 10,
      at: '2026-11-22T09:01:00.000Z',
      group: 'db',
      kind: 'refusal',
      node: 'carol',
      epoch: 41,
      reasons: [{ rule: 'better-candidate', node: 'bob' }],
      candidates: [],
      lastRenewalAt: null,
      runningAt: null,
    },
  ],
};

it('why tells where and why, the story of the last failover with the measured outage, and what was refused', () => {
  assert.equal(
    whyText(failedOver, undefined, plain),
    `db is running on bob, epoch 41

NODE   ELIGIBLE  WHY
alice  NO        is lost, last seen 2026-11-22T09:00:00.100Z
bob    runs it   has it, or had it last (stay put)

Last change: the lease of alice expired: it stopped renewing
  alice -> bob, epoch 41, decision 9
  last renewal  2026-11-22T09:00:00.100Z
  granted       2026-11-22T09:00:04.260Z  +4.16 s
  running       2026-11-22T09:00:04.700Z  +4.60 s
  outage        4.60 s at most (last renewal to running)
  passed over then:
    carol: refuses nginx: not in policy.yaml

Refused since then:
  2026-11-22T09:01:00.000Z  carol: bob ranks higher`,
  );
});

it('why --on tells only of that node', () => {
  assert.equal(
    whyText(failedOver, 'alice', plain),
    `db is running on bob, epoch 41

NODE   ELIGIBLE  WHY
alice  NO        is lost, last seen 2026-11-22T09:00:00.100Z

For alice to be chosen:
  its agent has to run there and reach the coordinator`,
  );
});

const scored: Why = {
  ...failedOver,
  candidates: [
    {
      node: 'bob',
      eligible: true,
      chosen: true,
      score: 1_016,
      reasons: [
        { rule: 'owner', weight: 1_000 },
        { rule: 'preference', position: 1, weight: 16 },
      ],
    },
    {
      node: 'carol',
      eligible: true,
      chosen: false,
      score: 215,
      reasons: [
        { rule: 'prefer', entry: 'disk=ssd', weight: 200 },
        { rule: 'preference', position: 2, weight: 15 },
      ],
    },
    {
      node: 'alice',
      eligible: false,
      chosen: false,
      score: 14,
      reasons: [
        { rule: 'not-with', group: 'cache', owner: 'bob' },
        { rule: 'not-apart', group: 'batch' },
        { rule: 'preference', position: 3, weight: 14 },
      ],
    },
  ],
};

it('why shows the score of each node and what it is the sum of', () => {
  assert.match(
    whyText(scored, undefined, plain),
    /NODE {3}ELIGIBLE {2}SCORE {2}WHY\nbob {4}runs it {3}1016 {3}has it, or had it last \(stay put\) \+1000; number 1 of the `on` list \+16\ncarol {2}yes {7}215 {4}preferred \(disk=ssd\) \+200; number 2 of the `on` list \+15\n/,
  );
});

it('why --on tells what would have to change for the node to be chosen', () => {
  assert.match(
    whyText(scored, 'carol', plain),
    /For carol to be chosen:\n {2}bob ranks higher, 1016 to 215; `holdfast move db --to carol` moves it here\n/,
  );
  assert.match(
    whyText(scored, 'alice', plain),
    /For alice to be chosen:\n {2}cache has to come here.*`holdfast move cache --to alice`\n {2}batch has to leave: `holdfast move batch`/,
  );
  assert.doesNotMatch(whyText(scored, 'bob', plain), /to be chosen/);
});

it('why does not measure an outage that has not ended, nor one at the first start', () => {
  const grant = failedOver.lastGrant;
  assert.ok(grant);
  const open = whyText({ ...failedOver, lastGrant: { ...grant, runningAt: null } }, undefined, plain);
  assert.match(open, /running {7}not yet/);
  assert.doesNotMatch(open, /outage/);
  const { from: _, ...first } = grant;
  const start = whyText(
    { ...failedOver, lastGrant: { ...first, cause: 'first-start', lastRenewalAt: null } },
    undefined,
    plain,
  );
  assert.match(start, /Last change: first start\n {2}bob, epoch 41/);
  assert.doesNotMatch(start, /outage/);
});

it('why --on of a node that has promised to keep out says what has to happen', () => {
  const promising: Why = {
    ...failedOver,
    state: 'degraded',
    owner: 'alice',
    reason: 'alice does not reach the coordinator and runs it on by the promise of bob',
    candidates: [
      { node: 'bob', eligible: true, chosen: true, reasons: [{ rule: 'promised', owner: 'alice', epoch: 41 }] },
      { node: 'alice', eligible: false, chosen: false, reasons: [{ rule: 'lost', lastSeen: null }] },
    ],
  };
  const text = whyText(promising, 'bob', plain);
  assert.match(text, /^db is degraded on alice, epoch 41\n {2}because alice does not reach the coordinator/);
  assert.match(
    text,
    /bob {3}yes, next {2}has promised alice, which asks it and runs the group, to keep out of epoch 41/,
  );
  assert.match(text, /For bob to be chosen:\n {2}alice has to stop asking it to keep out/);
});
