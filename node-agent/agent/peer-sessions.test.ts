import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import {
  type AskBody,
  HeardAsks,
  MAX_INCARNATIONS,
  MAX_OUTSTANDING,
  SESSION_MS,
  SentAsks,
  SILENT_MS,
} from './peer-sessions.ts';

const START = 1_000_000;

describe('a question that is heard', () => {
  let heard: HeardAsks;
  let now: number;
  beforeEach(() => {
    let drawn = 0;
    heard = new HeardAsks(() => `s${++drawn}`, START);
    now = START;
  });
  const hear = (sequence: number, changes: { session?: string | null; from?: string; incarnation?: string } = {}) =>
    heard.hear({ from: 'alice', incarnation: 'alice-1', session: heard.session(now), ...changes, sequence }, now);

  it('is fresh once; then neither it nor what was sent before it is', () => {
    assert.equal(hear(5), 'fresh');
    assert.equal(hear(5), 'replayed');
    assert.equal(hear(4), 'replayed');
    assert.equal(hear(6), 'fresh');
  });

  it('is counted for each peer and each incarnation by itself', () => {
    assert.equal(hear(5), 'fresh');
    assert.equal(hear(1, { incarnation: 'alice-2' }), 'fresh');
    assert.equal(hear(1, { from: 'carol' }), 'fresh');
    assert.equal(hear(5), 'replayed');
  });

  it('of no session or another one is unheard, and leaves no trace', () => {
    assert.equal(hear(9, { session: null }), 'unheard');
    assert.equal(hear(9, { session: 'other' }), 'unheard');
    assert.equal(hear(1), 'fresh');
  });

  it('that is no newer gets no answer in any session: what was recorded makes nobody speak', () => {
    assert.equal(hear(5), 'fresh');
    assert.equal(hear(5, { session: null }), 'replayed');
  });

  it('from one incarnation too many makes everything before it worthless', () => {
    const before = heard.session(now);
    for (let n = 1; n <= MAX_INCARNATIONS; n++) assert.equal(hear(n, { incarnation: `alice-${n}` }), 'fresh');
    assert.equal(hear(99, { incarnation: 'alice-17' }), 'unheard');
    assert.notEqual(heard.session(now), before);
    assert.equal(hear(1, { incarnation: 'alice-1', session: before }), 'unheard');
    assert.equal(hear(99, { incarnation: 'alice-17' }), 'fresh');
  });

  it('from one incarnation too many ends also the session before, for those that were on their way', () => {
    const before = heard.session(now);
    now += SESSION_MS;
    heard.session(now);
    for (let n = 1; n <= MAX_INCARNATIONS; n++) assert.equal(hear(n, { incarnation: `alice-${n}` }), 'fresh');
    hear(99, { incarnation: 'alice-17' });
    assert.equal(hear(100, { incarnation: 'alice-17', session: before }), 'unheard');
  });

  it('from recordings of any number of incarnations does not end the session', () => {
    const session = heard.session(now);
    for (let n = 0; n < 100; n++) hear(n, { incarnation: `old-${n}`, session: 'before' });
    assert.equal(heard.session(now), session);
  });

  it('of a peer that was removed and came back has to name another session', () => {
    const before = heard.session(now);
    assert.equal(hear(5), 'fresh');
    heard.forget('alice', now);
    assert.equal(hear(5, { session: before }), 'unheard');
    const session = heard.session(now);
    heard.forget('carol', now);
    assert.equal(heard.session(now), session, 'nothing was known of carol');
  });

  it('that was held back is worth nothing after two terms of its session', () => {
    const session = heard.session(now);
    now = START + SESSION_MS;
    assert.notEqual(heard.session(now), session, 'another is told');
    assert.equal(hear(1, { session }), 'fresh', 'a question may have been on its way');
    now = START + 2 * SESSION_MS - 1;
    assert.equal(hear(2, { session }), 'fresh');
    now += 1;
    assert.equal(hear(3, { session }), 'unheard');
  });

  it('that was held back while nothing else was heard is worth nothing either', () => {
    const session = heard.session(now);
    now = START + 2 * SESSION_MS;
    assert.equal(hear(1, { session }), 'unheard');
  });

  it('is a replay also in a later session', () => {
    assert.equal(hear(5), 'fresh');
    now += SESSION_MS;
    assert.equal(hear(5), 'replayed');
  });
});

describe('a question that was sent', () => {
  let sent: SentAsks;
  let now: number;
  beforeEach(() => {
    sent = new SentAsks();
    now = START;
  });
  const body = (id: string): AskBody => ({ id, leaseMs: 4_000, leases: [{ group: 'db', epoch: 1 }] });
  const answered = (id: string, changes: { from?: string; session?: string; unheard?: boolean } = {}) =>
    sent.onAnswer({ id, from: 'bob', session: 's1', unheard: false, ...changes }, now).is;

  it('is answered once', () => {
    sent.sent('bob', body('i1'), now);
    assert.equal(answered('i1'), 'answer');
    assert.equal(answered('i1'), 'spare');
  });

  it('is not answered by another peer than the one asked', () => {
    sent.sent('bob', body('i1'), now);
    sent.sent('carol', body('i2'), now);
    assert.equal(answered('i1', { from: 'carol' }), 'unasked');
    assert.equal(answered('i1'), 'answer');
  });

  it('is answered no later than its lease ends', () => {
    sent.sent('bob', body('i1'), now);
    now += 3_999;
    assert.equal(answered('i1'), 'answer');
    sent.sent('bob', body('i2'), now);
    now += 4_000;
    assert.equal(answered('i2'), 'unasked');
  });

  it('and was not heard is repeated once, in the session that was told', () => {
    sent.sent('bob', body('i1'), now);
    assert.equal(sent.stamp('bob', now).session, null);
    assert.deepEqual(sent.onAnswer({ id: 'i1', from: 'bob', session: 's1', unheard: true }, now), {
      is: 'again',
      body: body('i1'),
    });
    assert.equal(sent.stamp('bob', now).session, 's1');
    assert.equal(answered('i1', { unheard: true, session: 's2' }), 'spare');
    assert.equal(sent.stamp('bob', now).session, 's2');
    assert.equal(answered('i1'), 'answer');
  });

  it('tells nothing of the session by an answer that nobody waits for', () => {
    sent.sent('bob', body('i1'), now);
    answered('i1');
    answered('i1', { session: 'old' });
    answered('i0', { session: 'old', unheard: true });
    assert.equal(sent.stamp('bob', now).session, 's1');
  });

  it('has a higher sequence than every one before, also after the agent has started again', () => {
    const first = sent.stamp('bob', now).sequence;
    const second = sent.stamp('carol', now).sequence;
    assert.ok(second > first);
    assert.ok(new SentAsks().stamp('bob', now + 10).sequence > second);
    assert.ok(sent.stamp('bob', now - 10_000).sequence > second, 'and when the clock shows less');
  });

  it('is forgotten when too many wait, the oldest first', () => {
    for (let n = 0; n <= MAX_OUTSTANDING; n++) sent.sent('bob', body(`i${n}`), now);
    assert.equal(answered('i0'), 'unasked');
    assert.equal(answered('i1'), 'answer');
    assert.equal(answered(`i${MAX_OUTSTANDING}`), 'answer');
  });

  it('makes a peer silent that does not answer for a while, until it does', () => {
    assert.equal(sent.isSilent('bob', now), false);
    sent.sent('bob', body('i1'), now);
    sent.sent('bob', body('i2'), now);
    assert.equal(sent.isSilent('bob', now), false, 'it has had no time to answer');
    now += SILENT_MS;
    assert.equal(sent.isSilent('bob', now), true);
    sent.sent('bob', body('i3'), now);
    assert.equal(sent.isSilent('bob', now), true);
    answered('i3');
    assert.equal(sent.isSilent('bob', now), false);
  });

  it('is void when its peer is removed', () => {
    sent.sent('bob', body('i1'), now);
    answered('i1');
    sent.sent('bob', body('i2'), now);
    sent.forget('bob');
    assert.equal(answered('i2'), 'unasked');
    assert.equal(sent.stamp('bob', now).session, null);
  });
});
