import * as z from 'zod';
import { shiftClock } from '../cluster/index.ts';
import { readJson } from './body.ts';
import type { Handlers } from './context.ts';
import { problem } from './problem.ts';

const shiftSchema = z.strictObject({ offsetMs: z.int() });

export const testHooks = {
  'POST /v1/test/clock': async (c) => {
    if (c.env.TEST_HOOKS !== '1') throw problem('not-found', 'nothing here');
    const { offsetMs } = await readJson(c, shiftSchema);
    shiftClock(offsetMs);
    return c.json({ offsetMs });
  },
} satisfies Handlers<'POST /v1/test/clock'>;
