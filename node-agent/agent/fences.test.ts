import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LeaseAnswer } from '../../schemas/wire.ts';
import { Fences } from './fences.ts';

const renewed = (copies?: 'stored', group = 'db'): LeaseAnswer => ({
  verdict: 'renewed',
  group,
  epoch: 3,
  order: 'run',
  cleanups: 0,
  ...(copies === undefined ? {} : { copies }),
});

async function isAnswered(lease: LeaseAnswer, number: number | undefined): Promise<boolean> {
  const fences = new Fences();
  const wait = fences.wait('db', 7);
  fences.answered({ leases: [lease] }, number);
  return await Promise.race([wait, new Promise<false>((resolve) => setImmediate(() => resolve(false)))]);
}

test('a fence is answered by a renewal whose report left after the question, and by nothing else', async () => {
  const table: readonly [what: string, lease: LeaseAnswer, number: number | undefined, expected: boolean][] = [
    ['stored after the question', renewed('stored'), 8, true],
    ['a report that was composed before', renewed('stored'), 7, false],
    ['a report that is not known any more', renewed('stored'), undefined, false],
    ['a coordinator that knows nothing of copies', renewed(), 9, false],
    ['another group', renewed('stored', 'web'), 9, false],
    ['a lease that was refused', { verdict: 'refused', group: 'db', epoch: 3, reason: 'gone' }, 9, false],
  ];
  for (const [what, lease, number, expected] of table) assert.equal(await isAnswered(lease, number), expected, what);
});
