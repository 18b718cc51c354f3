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
alice  NO        is lost, last seen 2026-11-22T09:00:00.100Z`,
  );
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
