import { equal, rejects } from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { joinCluster } from './identity.ts';
import { runAgent } from './index.ts';
import { joinRequest } from './testing.ts';

test('an agent whose guard does not start ends, instead of answering as one that is starting for ever', async (t) => {
  const stateDir = await mkdtemp(join(tmpdir(), 'hf-start-'));
  t.after(() => rm(stateDir, { recursive: true }));
  await joinCluster(joinRequest(stateDir, { reset: { text: '', chosen: false } }));
  await rejects(runAgent({ stateDir, guardPath: '/bin/false', reset: { kind: 'none' } }), /cannot start the guard/);
  equal(existsSync(join(stateDir, 'agent.sock')), false);
});
