import { equal } from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_NAME_LENGTH } from '../../schemas/limits.ts';
import { reportSchema } from '../../schemas/wire.ts';
import { newIncarnation } from './beginning.ts';

test('the incarnation of a node with the longest name fits into a report', () => {
  equal(reportSchema.shape.incarnation.safeParse(newIncarnation('n'.repeat(MAX_NAME_LENGTH))).success, true);
});
