import assert from 'node:assert/strict';
import { it } from 'node:test';
import { lasting, oneLine, table } from './text.ts';

it('a table has aligned columns, no border and no trailing space', () => {
  const text = table(
    ['GROUP', 'STATE', 'NODE'],
    [
      ['db', 'running', 'alice'],
      ['a-long-name', '\u001b[31mfailed\u001b[39m', ''],
    ],
  );
  assert.equal(
    text,
    'GROUP        STATE    NODE\ndb           running  alice\na-long-name  \u001b[31mfailed\u001b[39m',
  );
});

it('a time is shown in the two units that matter', () => {
  const samples: [number, string][] = [
    [-5, '0.0s'],
    [840, '0.8s'],
    [47_900, '47s'],
    [190_000, '3m 10s'],
    [7_500_000, '2h 05m'],
    [532_800_000, '6d 04h'],
  ];
  for (const [ms, text] of samples) assert.equal(lasting(ms), text);
});

it('what another machine wrote cannot move the cursor or break the line', () => {
  assert.equal(oneLine('a\n  b\u001b[2Jc\u009b1m'), 'a b?[2Jc?1m');
});
