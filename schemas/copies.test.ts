import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Copy, copySchema, diverged, wasPrimary } from './copies.ts';

const copy = (generation?: string): Copy => ({
  group: 'db',
  resource: 'drbd-r0',
  name: 'r0',
  host: 'n1',
  role: 'Secondary',
  disk: 'UpToDate',
  guarded: true,
  peers: [],
  ...(generation === undefined ? {} : { generation }),
});
/** Sixteen digits each, as drbdmeta prints them. */
const ids = (...ids: string[]) => ids.map((id) => id.padEnd(16, '0')).join(':');

test('two copies have diverged when each has gone on from where the other does not know', () => {
  const none = '0'.repeat(16);
  const table: readonly [what: string, a: string | undefined, b: string | undefined, expected: boolean | undefined][] =
    [
      ['the same generation', ids('A', none, 'B'), ids('A', none, 'B'), false],
      ['the same but for the bit of the Primary', `A${'0'.repeat(14)}1:${none}`, `${ids('A')}:${none}`, false],
      ['one has gone on from the other', ids('C', 'A', 'B'), ids('A', none, 'B'), false],
      ['one is two generations older', ids('D', 'C', 'A'), ids('A', none, 'B'), false],
      ['both have gone on from one', ids('C', 'A', 'B'), ids('D', 'A', 'B'), true],
      ['they never had anything in common', ids('C', none, 'B'), ids('D', none, 'E'), true],
      ['one has not told', ids('C', 'A', 'B'), undefined, undefined],
      ['one has told something else', ids('C', 'A', 'B'), 'nothing:of:it', undefined],
    ];
  for (const [what, a, b, expected] of table) {
    assert.equal(diverged(copy(a), copy(b)), expected, what);
    assert.equal(diverged(copy(b), copy(a)), expected, `${what}, seen from the other side`);
  }
});

test('the lowest bit of the generation says who was Primary', () => {
  assert.equal(wasPrimary(copy('9F2C6B0D4E8A1357:0000000000000000')), true);
  assert.equal(wasPrimary(copy('9F2C6B0D4E8A1356:0000000000000000')), false);
  assert.equal(wasPrimary(copy()), undefined);
});

test('a state that no present version of DRBD has does not cost the report', () => {
  assert.ok(copySchema.safeParse({ ...copy(), disk: 'Elsewhere' }).success);
});
