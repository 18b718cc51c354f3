import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_POLICY } from './config.ts';
import { parseDocument } from './document.ts';
import { type Bad, missedIn, withResource } from './document-testing.ts';

const withPolicy = (policy: string) => withResource(`vip: 192.0.2.10/24\n${policy}`);

const bad: Bad[] = [
  ...['move', 'stop', 'hold'].map((onFail) => ({
    what: `a resource that is not critical, and \`onFail: ${onFail}\``,
    text: withPolicy(`critical: false\nonFail: ${onFail}`),
    line: 8,
    path: 'groups.db.resources[0].onFail',
    detail: /`critical: false` lets the group run on without it.*it can be restart or ignore/,
    suggestion: 'restart',
  })),
  ...['move', 'stop', 'ignore', 'hold'].map((onFail) => ({
    what: `a count of failures with \`onFail: ${onFail}\``,
    text: withPolicy(`onFail: ${onFail}\nfailures: { count: 2, window: 1m }`),
    line: 8,
    path: 'groups.db.resources[0].failures',
    detail: /how many restarts are enough; with `onFail: \w+` nothing is restarted/,
  })),
  {
    what: 'a count of failures of a resource that is not critical',
    text: withPolicy('failures: { count: 2, window: 1m }\ncritical: false'),
    line: 7,
    detail: /with `critical: false` it never does/,
  },
  {
    what: 'a mistyped policy',
    text: withPolicy('onFail: restrat'),
    line: 7,
    column: 17,
    detail: /one of restart, move, stop, ignore or hold/,
    suggestion: 'restart',
  },
  {
    what: 'a window without its count',
    text: withPolicy('failures: { window: 1m }'),
    line: 7,
    path: 'groups.db.resources[0].failures.count',
    detail: /has no `count`/,
  },
  {
    what: 'a window of a year',
    text: withPolicy('failures: { count: 2, window: 9999h }'),
    line: 7,
    detail: /from 1s to 24h/,
  },
  {
    what: 'a window of nothing',
    text: withPolicy('failures: { count: 2, window: 0s }'),
    line: 7,
    detail: /from 1s to 24h/,
  },
  {
    what: 'no failure at all',
    text: withPolicy('failures: { count: 0, window: 1m }'),
    line: 7,
    detail: /^must be at least 1, not 0$/,
  },
  {
    what: 'a word where a number belongs',
    text: withPolicy('fall: often'),
    line: 7,
    detail: /must be a number, not “often”/,
  },
  { what: 'a word that is no truth', text: withPolicy('critical: nope'), line: 7, detail: /must be true or false/ },
];

describe('a document is refused: failure policy', () => {
  for (const one of bad)
    it(`${one.what}, with line, reason and the nearest word`, () => assert.equal(missedIn(one), undefined));
});

it('a failure policy has every default filled in', () => {
  const policy = (text: string) => {
    const result = parseDocument(withPolicy(text));
    assert.ok(result.ok, JSON.stringify(result));
    return result.config.groups.db?.resources[0]?.policy;
  };
  assert.deepEqual(policy('fall: 1'), DEFAULT_POLICY);
  assert.deepEqual(policy('onFail: hold\nfall: 3\nrise: 2'), { ...DEFAULT_POLICY, onFail: 'hold', fall: 3, rise: 2 });
  assert.deepEqual(policy('failures: { count: 5, window: 90s }'), {
    ...DEFAULT_POLICY,
    failureCount: 5,
    failureWindowMs: 90_000,
  });
  assert.deepEqual(policy('critical: false\nonFail: ignore'), { ...DEFAULT_POLICY, onFail: 'ignore', critical: false });
});
