import { deepEqual, doesNotMatch, equal, match } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Config, DEFAULT_POLICY } from '../../schemas/config.ts';
import type { Copy } from '../../schemas/copies.ts';
import { type Reason, reasonText } from '../../schemas/reasons.ts';
import { statusOf } from './explain.ts';
import { rank } from './placement.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';

const replicated = { type: 'drbd', id: 'drbd-r0', resource: 'r0', times: {}, policy: DEFAULT_POLICY } as const;

function withDrbd(on: readonly string[] = ['alice', 'bob']): Config {
  const made = config({ db: on });
  const { db } = made.groups;
  if (db === undefined) throw new Error('no group');
  return { ...made, groups: { db: { ...db, resources: [replicated, ...db.resources] } } };
}

type Peer = Copy['peers'][number];
/** Machines have the names of their nodes, with an `h` before them. */
const peer = (node: string, differs: Partial<Peer> = {}): Peer => ({
  host: `h${node}`,
  connection: 'Connected',
  role: 'Secondary',
  disk: 'UpToDate',
  ...differs,
});
const lost = (node: string): Peer => peer(node, { connection: 'Connecting', role: 'Unknown', disk: 'DUnknown' });

function copy(node: string, peers: readonly Peer[], differs: Partial<Copy> = {}): Copy {
  return {
    group: 'db',
    resource: 'drbd-r0',
    name: 'r0',
    host: `h${node}`,
    role: 'Secondary',
    disk: 'UpToDate',
    guarded: true,
    peers: [...peers],
    ...differs,
  };
}

/** Alice and bob, in sync. */
function pair(): Desk {
  const desk = new Desk(withDrbd());
  desk.hears('alice', { copies: [copy('alice', [peer('bob')])] });
  desk.hears('bob', { copies: [copy('bob', [peer('alice')])] });
  return desk;
}

/** … and alice is Primary. */
function running(): Desk {
  const desk = pair();
  const epoch = desk.runsOn('alice');
  desk.renews('alice', epoch, { copies: [copy('alice', [peer('bob')], { role: 'Primary' })] });
  return desk;
}

/** Alice dies; bob notices that he has lost her. */
function aliceDies(desk: Desk, differs: Partial<Copy> = {}): void {
  desk.passes(TAKEOVER_MS + 10, ['bob', 'carol']);
  desk.hears('bob', { copies: [copy('bob', [lost('alice')], differs)] });
}

const against = (desk: Desk, node: string): Reason[] => {
  const found = rank(desk.state, desk.group(), desk.now, { exceptOwner: true }).find((one) => one.node === node);
  return (found?.reasons ?? []).filter((reason) => /^(copy-|split)/.test(reason.rule));
};
const rules = (desk: Desk, node: string) => against(desk, node).map(({ rule }) => rule);

describe('a group is granted where its data is complete', () => {
  it('and nowhere before the node has told of it', () => {
    const desk = new Desk(withDrbd());
    deepEqual(rules(desk, 'alice'), ['copy-unknown']);
    equal(desk.claims('alice').grants.length, 0);
    desk.hears('alice', { copies: [copy('alice', [peer('bob')])] });
    deepEqual(rules(desk, 'alice'), []);
    equal(desk.claims('alice').grants.length, 1);
  });

  it('never to a disk that is not UpToDate', () => {
    for (const disk of [
      'Inconsistent',
      'Outdated',
      'Diskless',
      'Failed',
      'Negotiating',
      'DUnknown',
      'Unconfigured',
      'Quantum',
    ]) {
      const desk = running();
      aliceDies(desk, { disk });
      deepEqual(rules(desk, 'bob'), ['copy-unfit'], disk);
      equal(desk.claims('bob').grants.length, 0, disk);
    }
  });

  it('and nobody is told to force a disk that was catching up with one that is gone', () => {
    const desk = running();
    aliceDies(desk, { disk: 'Inconsistent' });
    const detail = desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'o1' }).refused?.detail ?? '';
    match(detail, /it was being synchronised, and goes on when alice is back, which wrote last/);
    doesNotMatch(detail, /--force/);
  });

  it('to the peer that had everything when its Primary died', () => {
    const desk = running();
    aliceDies(desk);
    equal(desk.claims('bob').grants.length, 1);
  });

  it('not to a peer that the Primary had lost before it died, whatever that peer believes', () => {
    const desk = running();
    const reply = desk.renews('alice', 1, {
      copies: [copy('alice', [lost('bob')], { role: 'Primary', frozen: true })],
    });
    equal(reply.leases[0]?.verdict === 'renewed' && reply.leases[0].copies, 'stored', 'the handler may answer now');
    aliceDies(desk);
    deepEqual(rules(desk, 'bob'), ['copy-behind']);
    equal(desk.claims('bob').grants.length, 0);
    match(
      reasonText(against(desk, 'bob')[0] ?? { rule: 'removed' }, { group: 'db', node: 'bob' }),
      /may lack writes: alice.*Connecting, DUnknown.*--accept-risk=lose-newer-writes/,
    );
    match(statusOf(desk.state, desk.now).groups.db?.reason ?? '', /bob may lack writes/);
    desk.restarts();
    desk.hears('bob');
    deepEqual(rules(desk, 'bob'), ['copy-behind'], 'it is kept');
  });

  it('to that peer again as soon as the Primary has it back: nothing has to be removed', () => {
    const desk = running();
    desk.renews('alice', 1, { copies: [copy('alice', [lost('bob')], { role: 'Primary' })] });
    desk.renews('alice', 1, { copies: [copy('alice', [peer('bob', { disk: 'Inconsistent' })], { role: 'Primary' })] });
    deepEqual(rules(desk, 'bob'), ['copy-behind'], 'while it is synchronised');
    const before = desk.nudged.length;
    desk.renews('alice', 1, { copies: [copy('alice', [peer('bob')], { role: 'Primary' })] });
    deepEqual(rules(desk, 'bob'), []);
    equal(desk.nudged.includes('bob') && before >= 0, true, 'bob hears of it at once');
    aliceDies(desk);
    equal(desk.claims('bob').grants.length, 1);
  });

  it('after a loss of power of both to the one that returns, if no write can be missing there', () => {
    const guarded = running();
    aliceDies(guarded, { disk: 'Consistent' });
    deepEqual(rules(guarded, 'bob'), [], 'alice would have told before she went on without him');
    const unguarded = running();
    unguarded.renews('alice', 1, { copies: [copy('alice', [peer('bob')], { role: 'Primary', guarded: false })] });
    aliceDies(unguarded, { disk: 'Consistent' });
    deepEqual(rules(unguarded, 'bob'), ['copy-unfit']);
    const behind = running();
    behind.renews('alice', 1, { copies: [copy('alice', [lost('bob')], { role: 'Primary' })] });
    aliceDies(behind, { disk: 'Consistent' });
    deepEqual(rules(behind, 'bob'), ['copy-behind']);
  });

  it('to the node that wrote last, also when it comes back alone', () => {
    const desk = running();
    desk.renews('alice', 1, { copies: [copy('alice', [lost('bob')], { role: 'Primary' })] });
    desk.passes(TAKEOVER_MS + 10, ['carol']);
    desk.hears('alice', { incarnation: 'alice-2', copies: [copy('alice', [lost('bob')], { disk: 'Consistent' })] });
    deepEqual(rules(desk, 'alice'), []);
  });

  it('counts who is about to be Primary as the one that wrote last', () => {
    const desk = running();
    aliceDies(desk);
    const epoch = desk.claims('bob').grants[0]?.epoch ?? 0;
    desk.renews('bob', epoch, { copies: [copy('bob', [lost('alice')], { role: 'Promoting' })] });
    equal(desk.group().writer, 'bob');
    deepEqual(rules(desk, 'alice'), ['copy-behind']);
  });

  it('does not take the word of a node without the lease for that of the Primary', () => {
    const desk = running();
    desk.hears('bob', { copies: [copy('bob', [lost('alice')], { role: 'Primary' })] });
    equal(desk.group().writer, 'alice');
  });

  it('where the copy is backed by another, of two that are equal otherwise', () => {
    const desk = new Desk(withDrbd(['alice', 'bob', 'carol']));
    desk.hears('alice', { copies: [copy('alice', [lost('bob'), lost('carol')])] });
    desk.hears('bob', { copies: [copy('bob', [lost('alice'), peer('carol')])] });
    desk.hears('carol', { copies: [copy('carol', [lost('alice'), peer('bob')])] });
    const ranked = rank(desk.state, desk.group(), desk.now);
    deepEqual(
      ranked.map(({ node }) => node),
      ['bob', 'carol', 'alice'],
    );
    match(
      ranked[0]?.reasons.map((reason) => reasonText(reason)).join('; ') ?? '',
      /drbd-r0 is UpToDate here, 1 of its peers/,
    );
  });

  it('and a group without replicated data is not concerned', () => {
    const desk = new Desk();
    deepEqual(rules(desk, 'alice'), []);
    equal(desk.claims('alice').grants.length, 1);
  });
});

describe('newer writes are given up only in words', () => {
  const forced = { type: 'move', group: 'db', to: 'bob', operation: 'o1', acceptsLoss: true } as const;

  it('and never while somebody has the group', () => {
    const desk = running();
    desk.renews('alice', 1, { copies: [copy('alice', [lost('bob')], { role: 'Primary' })] });
    const { acceptsLoss: _unsaid, ...unforced } = forced;
    const plain = desk.does(unforced);
    match(plain.refused?.detail ?? '', /bob cannot take db: it may lack writes/);
    match(desk.does(forced).refused?.detail ?? '', /alice has db, and its copy is the newest/);
  });

  it('then the node takes it, and is the one that wrote last', () => {
    const desk = running();
    desk.renews('alice', 1, { copies: [copy('alice', [lost('bob')], { role: 'Primary' })] });
    aliceDies(desk);
    equal(desk.claims('bob').grants.length, 0);
    equal(desk.does(forced).refused, undefined);
    match(desk.events.map(({ detail }) => detail).join('; '), /may be lost/);
    const epoch = desk.claims('bob').grants[0]?.epoch;
    equal(epoch, 2);
    desk.renews('bob', 2, { copies: [copy('bob', [lost('alice')], { role: 'Primary' })] });
    deepEqual(rules(desk, 'alice'), ['copy-behind']);
  });

  it('but not for a disk that has no complete data at all', () => {
    const desk = running();
    aliceDies(desk, { disk: 'Inconsistent' });
    match(desk.does(forced).refused?.detail ?? '', /has no complete copy: drbd-r0 is Inconsistent here/);
  });
});

describe('a split brain', () => {
  const ancestor = 'A000000000000000';
  const apart = (node: string, other: string, current: string, differs: Partial<Copy> = {}) =>
    copy(node, [peer(other, { connection: 'StandAlone', role: 'Unknown', disk: 'DUnknown', behindKiB: 64 })], {
      generation: `${current}:${ancestor}:0000000000000000:0000000000000000`,
      ...differs,
    });

  it('is told once, with both sides, and speaks against the side that is not served', () => {
    const desk = running();
    desk.hears('bob', { copies: [apart('bob', 'alice', 'B000000000000001')] });
    deepEqual(
      desk.kinds.filter((kind) => kind === 'copy.split-brain'),
      [],
    );
    desk.renews('alice', 1, { copies: [apart('alice', 'bob', 'C000000000000001', { role: 'Primary' })] });
    const event = desk.events.find(({ kind }) => kind === 'copy.split-brain');
    match(
      event?.detail ?? '',
      /alice is Primary, UpToDate, generation C0+1:A0+, 64 KiB written.*; bob is Secondary, UpToDate, was Primary when it last wrote, generation B0+1:A0+.*resolve-split-brain r0/,
    );
    deepEqual(rules(desk, 'bob'), ['split-brain']);
    desk.renews('alice', 1, {
      copies: [apart('alice', 'bob', 'C000000000000001', { role: 'Primary', disk: 'Failed' })],
    });
    equal(desk.kinds.includes('copy.split-brain'), false, 'once');
  });

  it('is none when one side has only gone on', () => {
    const desk = running();
    desk.hears('bob', { copies: [apart('bob', 'alice', ancestor)] });
    desk.renews('alice', 1, { copies: [apart('alice', 'bob', 'C000000000000001', { role: 'Primary' })] });
    equal(desk.kinds.includes('copy.split-brain'), false);
    deepEqual(rules(desk, 'bob'), ['copy-behind']);
  });

  it('is over when they are connected', () => {
    const desk = running();
    desk.hears('bob', { copies: [apart('bob', 'alice', 'B000000000000001')] });
    desk.renews('alice', 1, { copies: [apart('alice', 'bob', 'C000000000000001', { role: 'Primary' })] });
    desk.renews('alice', 1, { copies: [copy('alice', [peer('bob')], { role: 'Primary' })] });
    desk.hears('bob', { copies: [copy('bob', [peer('alice', { role: 'Primary' })])] });
    deepEqual(rules(desk, 'bob'), []);
  });
});

it('what becomes of a copy is told as it changes', () => {
  const desk = running();
  desk.hears('bob', { copies: [copy('bob', [peer('alice')], { disk: 'Inconsistent' })] });
  deepEqual(desk.kinds, ['copy.behind']);
  match(desk.events[0]?.detail ?? '', /r0 is Inconsistent, it was UpToDate; peers: halice Connected, UpToDate/);
  desk.hears('bob', { copies: [copy('bob', [peer('alice')])] });
  deepEqual(desk.kinds, ['copy.current']);
  desk.hears('bob', { copies: [copy('bob', [peer('alice')])] });
  deepEqual(desk.kinds, []);
});

it('a report that was overtaken tells nothing of copies', () => {
  const desk = running();
  desk.renews('alice', 1, { sentMs: 20, copies: [copy('alice', [lost('bob')], { role: 'Primary' })] });
  desk.renews('alice', 1, { sentMs: 10, copies: [copy('alice', [peer('bob')], { role: 'Primary' })] });
  deepEqual(rules(desk, 'bob'), ['copy-behind']);
});
