/** Systemd units: each scenario of node-agent/resources/service.scenarios.ts on a host whose PID 1 is a real systemd. */
import { ok } from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { scenarios } from '../../node-agent/resources/service.scenarios.ts';
import { Lab, labUnavailable, repoRoot } from './index.ts';

const file = join(repoRoot, 'node-agent/resources/service.scenarios.ts');

describe('service, with a real systemd', { skip: labUnavailable() ?? false, timeout: 300_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await Lab.create({ hosts: ['alice'], init: 'systemd' });
  });
  after(async () => {
    await lab?.close();
  });
  for (const name of Object.keys(scenarios))
    test(name, { timeout: 60_000 }, async (t) => {
      const done = await lab.host('alice').exec([process.execPath, file, name], { deadlineMs: 45_000 });
      ok(done.code === 0, `${done.stdout}${done.stderr}`);
      for (const line of done.stdout.split('\n').filter((text) => text !== '')) t.diagnostic(line);
    });
});
