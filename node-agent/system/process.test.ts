import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type RunOptions, run } from './process.ts';
import { isAlive, noCgroups, testCgroups, until } from './testing.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdfast-run-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const plain: RunOptions = { env: { PATH: '/usr/bin:/bin' }, timeoutMs: 10_000 };
const sh = (script: string, options: Partial<RunOptions> = {}) =>
  run(['/bin/sh', '-c', script], { ...plain, ...options });
const pidIn = (name: string) => Number(readFileSync(join(directory, name), 'utf8'));

test('code and output come back, standard error among it', async () => {
  const result = await sh('echo out; echo err >&2; exit 7');
  assert.equal(result.code, 7);
  assert.match(result.output, /out/);
  assert.match(result.output, /err/);
  assert.equal(result.stdout, '');
  assert.equal((await sh('kill -TERM $$')).signal, 'SIGTERM');
});

test('the environment is exactly what was given', async () => {
  process.env.NODE_OPTIONS_FOR_TEST = 'leak';
  const result = await run(['/usr/bin/env'], { ...plain, env: { ONE: '1', EMPTY: '', 'odd value': 'a b' } });
  assert.deepEqual(result.output.trim().split('\n').sort(), ['EMPTY=', 'ONE=1', 'odd value=a b']);
});

test('the end of a long output is kept, whole characters only', async () => {
  const result = await sh('i=0; while [ $i -lt 5000 ]; do echo "line $i ä"; i=$((i+1)); done', { outputLimit: 100 });
  assert.ok(Buffer.byteLength(result.output) <= 100);
  assert.ok(result.output.endsWith('line 4999 ä\n'));
  assert.ok(!result.output.includes('\ufffd'));
});

test('all that was written before the end is there, a full pipe included', async () => {
  for (let round = 0; round < 20; round += 1) {
    const result = await sh('head -c 300000 /dev/zero | tr "\\0" x; echo end', { stdoutLimit: 1_000_000 });
    assert.equal(result.stdout.length, 300_004);
    assert.ok(!result.truncated);
  }
  assert.ok((await sh('head -c 300000 /dev/zero', { stdoutLimit: 1_000 })).truncated);
});

test('a start that leaves a daemon holding its standard output does not hang', async () => {
  const result = await sh(`sleep 60 & echo $! > ${directory}/daemon; echo started`);
  assert.equal(result.code, 0);
  assert.equal(result.output, 'started\n');
  assert.ok(result.durationMs < 2_000);
  assert.ok(isAlive(pidIn('daemon')));
  process.kill(pidIn('daemon'), 'SIGKILL');
});

test('at the time-out the process and its children are killed', async () => {
  const result = await sh(`sleep 60 & echo $! > ${directory}/child; wait`, { timeoutMs: 300 });
  assert.ok(result.timedOut && !result.aborted && !result.unkillable);
  await until('the child is gone', () => !isAlive(pidIn('child')));
});

test('an abort kills, and one that came before starts nothing', async () => {
  const abort = new AbortController();
  const running = sh(`echo $$ > ${directory}/aborted; sleep 60`, { signal: abort.signal });
  await until('it runs', () => existsSync(join(directory, 'aborted')) && pidIn('aborted') > 0);
  abort.abort();
  assert.ok((await running).aborted);
  await until('it is gone', () => !isAlive(pidIn('aborted')));
  const never = await sh(`touch ${directory}/never`, { signal: abort.signal });
  assert.ok(never.aborted);
  assert.ok(!existsSync(join(directory, 'never')));
});

test('what cannot be started is told, not thrown', async () => {
  assert.match((await run(['ip'], plain)).notStarted ?? '', /not an absolute path/);
  assert.match((await run(['/no/such'], plain)).notStarted ?? '', /does not exist/);
  assert.match((await run(['/etc/passwd'], plain)).notStarted ?? '', /EACCES/);
});

test('in a cgroup', { skip: noCgroups() }, async (t) => {
  const group = testCgroups().group('run');

  await t.test('the program is in it from its first instruction, and values are no shell', async () => {
    const cgroup = group.operation();
    const result = await run(['/bin/sh', '-c', 'cat /proc/self/cgroup; echo "$1"', 'sh', '$(id) "; exit 3'], {
      ...plain,
      cgroup: cgroup.path,
    });
    assert.equal(result.code, 0, result.output);
    assert.ok(cgroup.path.endsWith(/^0::(.*)$/m.exec(result.output)?.[1] ?? 'nowhere'), result.output);
    assert.ok(result.output.endsWith('$(id) "; exit 3\n'));
    assert.ok(cgroup.remove());
  });

  await t.test('a program has no protection from the out-of-memory killer, whatever this process has', async () => {
    const own = '/proc/self/oom_score_adj';
    const before = readFileSync(own, 'utf8');
    writeFileSync(own, '300');
    try {
      const cgroup = group.operation();
      const result = await sh(`cat ${own}`, { cgroup: cgroup.path });
      assert.equal(result.output, '0\n');
      assert.ok(cgroup.remove());
    } finally {
      writeFileSync(own, before);
    }
  });

  await t.test('a cgroup that is gone runs nothing (a guard that removed it has the last word)', async () => {
    const cgroup = group.operation();
    cgroup.remove();
    const result = await sh(`touch ${directory}/late`, { cgroup: cgroup.path });
    assert.match(result.notStarted ?? '', /cannot enter the cgroup/);
    assert.ok(!existsSync(join(directory, 'late')));
  });

  await t.test('at the time-out even what made a session of its own is killed', async () => {
    const cgroup = group.operation();
    const script = `setsid sh -c 'echo $$ > ${directory}/runaway; exec sleep 60' & wait; sleep 60`;
    const result = await sh(script, { cgroup: cgroup.path, timeoutMs: 500 });
    assert.ok(result.timedOut);
    assert.ok(!isAlive(pidIn('runaway')));
    assert.ok(!cgroup.populated());
    assert.ok(cgroup.remove());
  });
});
