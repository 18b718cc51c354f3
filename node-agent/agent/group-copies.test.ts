/** The standing work of replicated data: from when a group is known to when it is forgotten, with or without a lease. */
import { deepEqual, equal } from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { OPERATION_TIMES } from '../../schemas/limits.ts';
import { GuardClient } from '../guard/index.ts';
import type { Attendance, CopyFacts, Outcome, Probe, Resource } from '../resources/index.ts';
import { silent } from '../system/index.ts';
import { until } from '../system/testing.ts';
import { Group } from './group.ts';
import { FakeGuard } from './loop-testing.ts';
import { copyFacts, declared } from './testing.ts';

class Replica implements Resource {
  readonly id = 'r0';
  readonly type = 'drbd';
  readonly times = OPERATION_TIMES.drbd;
  readonly log: string[];
  tell: (copy: CopyFacts) => void = () => undefined;
  visible = true;

  constructor(log: string[]) {
    this.log = log;
  }

  holdings = async () => [];
  probe = async (): Promise<Probe> => ({ state: 'stopped' });
  start = async (): Promise<Outcome> => ({ ok: true });
  stop = async (): Promise<Outcome> => ({ ok: true });
  forceStop = async (): Promise<Outcome> => ({ ok: true });
  watch = () => () => undefined;

  attend(tell: (copy: CopyFacts) => void): Attendance {
    this.log.push('attend');
    this.tell = tell;
    return { look: async () => this.visible, end: () => this.log.push('end') };
  }
}

async function around(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'hf-copies-'));
  const fake = await FakeGuard.listen(dir);
  const guard = await GuardClient.connect(dir);
  const log: string[] = [];
  const replica = new Replica(log);
  const nothing = () => undefined;
  const group = new Group(
    {
      name: 'db',
      guard,
      now: () => performance.now(),
      log: silent,
      onNews: nothing,
      onDown: nothing,
      onStuck: nothing,
      onChange: nothing,
      onCopies: () => log.push('told'),
    },
    [{ declared: declared('r0'), resource: replica }],
  );
  t.after(() => {
    group.dispose();
    guard.close();
    fake.end();
    rmSync(dir, { recursive: true });
  });
  return { group, replica, log };
}

it('a replica is attended without a lease, and what changes of it is told once', async (t) => {
  const { group, replica, log } = await around(t);
  deepEqual(group.copies, []);
  replica.tell(copyFacts('Inconsistent'));
  replica.tell(copyFacts('Inconsistent'));
  replica.tell(copyFacts('UpToDate'));
  deepEqual(log, ['attend', 'told', 'told']);
  deepEqual(group.copies, [{ group: 'db', resource: 'r0', ...copyFacts('UpToDate') }]);
});

it('a look says whether everything could be seen', async (t) => {
  const { group, replica } = await around(t);
  equal(await group.lookAtCopies(), true);
  replica.visible = false;
  equal(await group.lookAtCopies(), false);
});

it('the work ends with the resource, or with the group', async (t) => {
  const { group, log } = await around(t);
  group.begin();
  await until('it is down', () => group.isDown);
  group.declare([]);
  await until('the work has ended', () => log.includes('end'));
  deepEqual(group.copies, []);
});
