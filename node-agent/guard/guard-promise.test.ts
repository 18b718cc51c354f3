/** What the guard remembers of promises and of voters (protocol.md P1, C3). */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { CLOCK_GRANULARITY_MS } from '../../schemas/limits.ts';
import { bootMs } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import { Agent, compile, missing, startGuard } from './guard-testing.ts';
import { GuardClient } from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'hfgp-'));
const binary = join(root, 'holdfast-guard');
const VOTERS = { version: 1, names: ['alice', 'bob'] };

/** A guard on a directory of its own, gone when the test ends. */
async function guard(t: TestContext): Promise<{ dir: string; pid: number; reader: GuardClient }> {
  const dir = mkdtempSync(join(root, 'state-'));
  return { dir, ...(await startGuard(t, dir, binary)) };
}

/** The agent's connection, from this process: for tests in which nothing fires. */
async function connected(t: TestContext, dir: string): Promise<GuardClient> {
  const agent = await GuardClient.connect(dir);
  t.after(() => agent.close());
  await agent.hello();
  return agent;
}

/** What the guard answers to a line that the client would not send. */
async function answerTo(t: TestContext, dir: string, line: string): Promise<string> {
  const socket = createConnection(join(dir, 'guard.sock'));
  t.after(() => socket.destroy());
  socket.write(`hello 1\n${line}\n`);
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString();
  });
  return until(`an answer to ${line}`, () => /^ok .*\n(.*)\n/.exec(text)?.[1]);
}

/** `ms` from now, whole: what the guard gives back is what it was told. */
const inMs = (ms: number) => Math.ceil(bootMs()) + ms;

const lease = (group: string, epoch: number, ms: number) => {
  const deadlineMs = inMs(ms);
  return { group, epoch, deadlineMs, fireAtMs: deadlineMs - 50 };
};

describe('the guard and promises', { skip: missing(['cc'], false), timeout: 60_000 }, () => {
  before(() => {
    compile(binary);
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  it('remembers one promise per group when the agent dies or connects again', async (t) => {
    const { dir, reader } = await guard(t);
    const first = await Agent.ready(t, dir);
    const db = { epoch: 7, untilMs: inMs(30_000), owner: 'alice' };
    const web = { epoch: 2, untilMs: inMs(20_000), owner: 'node-b.example' };
    assert.equal(await first.code('promise', { group: 'db', ...db }), undefined);
    assert.equal(await first.code('promise', { group: 'web', ...web }), undefined);
    first.process.kill('SIGKILL');
    await first.exited;
    await assert.rejects(reader.promise({ group: 'db', ...db }), { code: 'agent' }, 'a reader promises nothing');

    const expected = new Map(Object.entries({ db, web }));
    const second = await connected(t, dir);
    assert.deepEqual((await second.state()).promises, expected);
    const third = await connected(t, dir);
    assert.deepEqual((await third.state()).promises, expected);
    assert.equal((await third.state()).groups.size, 0);
  });

  it('makes a promise longer within an epoch, never shorter, and lets a higher epoch replace it', async (t) => {
    const { dir } = await guard(t);
    const agent = await connected(t, dir);
    const now = inMs(0);
    const found = async () => {
      const promise = (await agent.state()).promises.get('db');
      return promise && [promise.epoch, promise.untilMs - now, promise.owner];
    };
    await agent.promise({ group: 'db', epoch: 3, untilMs: now + 10_000, owner: 'alice' });
    await agent.promise({ group: 'db', epoch: 3, untilMs: now + 20_000, owner: 'alice' });
    assert.deepEqual(await found(), [3, 20_000, 'alice']);
    await agent.promise({ group: 'db', epoch: 3, untilMs: now + 15_000, owner: 'alice' });
    assert.deepEqual(await found(), [3, 20_000, 'alice']);
    await agent.promise({ group: 'db', epoch: 4, untilMs: now + 12_000, owner: 'bob' });
    assert.deepEqual(await found(), [4, 12_000, 'bob']);
    assert.equal((await agent.state()).promises.size, 1);
    await agent.promise({ group: 'db', epoch: 4, untilMs: now + 12_000.2, owner: 'bob' });
    assert.deepEqual(await found(), [4, 12_001, 'bob'], 'a fraction makes it longer');
  });

  it('says which promise it keeps now', async (t) => {
    const { dir } = await guard(t);
    const untilMs = inMs(10_000);
    assert.equal(await answerTo(t, dir, `promise db 3 ${untilMs} alice`), `ok 3 ${untilMs}`);
    assert.equal(await answerTo(t, dir, `promise db 3 ${untilMs - 5_000} alice`), `ok 3 ${untilMs}`);
  });

  it('refuses a lower epoch as long as the promise runs, and forgets it when its time has come', async (t) => {
    const { dir } = await guard(t);
    const agent = await connected(t, dir);
    const untilMs = inMs(400);
    await agent.promise({ group: 'db', epoch: 5, untilMs, owner: 'alice' });
    const lower = { group: 'db', epoch: 4, untilMs: untilMs + 10_000, owner: 'bob' };
    await assert.rejects(agent.promise(lower), { code: 'epoch', message: /epoch 5 / });
    assert.deepEqual((await agent.state()).promises.get('db'), { epoch: 5, untilMs, owner: 'alice' });
    await until('it is over', async () => !(await agent.state()).promises.has('db'));
    assert(bootMs() + CLOCK_GRANULARITY_MS >= untilMs, 'not before its time');
    await agent.promise(lower);
    assert.equal((await agent.state()).promises.get('db')?.epoch, 4);
  });

  it('promises nothing for a group that is armed or has fired here', async (t) => {
    const { dir, reader } = await guard(t);
    const asked = { group: 'db', epoch: 9, untilMs: inMs(30_000), owner: 'bob' };
    const first = await Agent.ready(t, dir);
    await first.code('arm', lease('db', 1, 1_500));
    assert.equal(await first.code('promise', asked), 'armed');
    assert.equal(await first.code('promise', { ...asked, group: 'web' }), undefined, 'another group');
    await first.exited;
    await until('it is clean', async () => {
      const group = (await reader.state()).groups.get('db');
      return group?.state === 'fired' && group.clean;
    });
    const second = await connected(t, dir);
    await assert.rejects(second.promise(asked), { code: 'armed' });
    assert.deepEqual([...(await second.state()).promises.keys()], ['web']);
    await second.disarm('db', 1);
    await second.promise(asked);
    assert.deepEqual([...(await second.state()).promises.keys()].sort(), ['db', 'web']);
  });

  it('forgets the promise when the group is armed, and not when that is refused', async (t) => {
    const { dir } = await guard(t);
    const agent = await connected(t, dir);
    const promised = { epoch: 5, untilMs: inMs(30_000), owner: 'alice' };
    for (const group of ['db', 'web']) await agent.promise({ group, ...promised });
    const late = { group: 'db', epoch: 6, deadlineMs: inMs(1_000), fireAtMs: inMs(-1_000) };
    await assert.rejects(agent.arm(late, VOTERS), { code: 'late' });
    assert.deepEqual((await agent.state()).promises.get('db'), promised);
    await agent.arm(lease('db', 6, 30_000), VOTERS);
    assert.deepEqual([...(await agent.state()).promises], [['web', promised]]);
    await agent.disarm('db', 6);
    assert(!(await agent.state()).promises.has('db'), 'it does not come back');
    await agent.promise({ group: 'db', ...promised });
  });

  it('refuses times that have passed, and those of another clock', async (t) => {
    const { dir } = await guard(t);
    const agent = await connected(t, dir);
    const promised = { epoch: 5, untilMs: inMs(30_000), owner: 'alice' };
    await agent.promise({ group: 'db', ...promised });
    const refused: [string, number][] = [
      ['late', 0],
      ['late', inMs(-1)],
      ['range', inMs(3_601_000)],
      ['range', Date.now()],
    ];
    for (const [code, untilMs] of refused)
      for (const group of ['db', 'web'])
        await assert.rejects(agent.promise({ group, epoch: 6, untilMs, owner: 'bob' }), { code }, `${untilMs}`);
    assert.deepEqual([...(await agent.state()).promises], [['db', promised]]);
  });

  it('has room for one promise per group, and again when one is over', async (t) => {
    const { dir } = await guard(t);
    const agent = await connected(t, dir);
    const nameOf = (n: number) => `${n}`.padStart(63, 'x');
    const promise = (n: number, epoch: number, ms: number) =>
      agent.promise({ group: nameOf(n), epoch, untilMs: inMs(ms), owner: nameOf(n) });
    await Promise.all(Array.from({ length: 200 }, (_, n) => promise(n, 2 ** 40, 60_000)));
    assert.equal((await agent.state()).promises.size, 200);
    await assert.rejects(promise(200, 1, 60_000), { code: 'full' });
    await promise(7, 2 ** 40, 70_000);
    assert.equal((await agent.state()).promises.size, 200);
    await agent.arm(lease(nameOf(8), 1, 60_000), VOTERS);
    await promise(200, 1, 60_000);
    await assert.rejects(promise(201, 1, 60_000), { code: 'full' });
    await promise(7, 2 ** 40 + 1, 100);
    await until('it is over', async () => !(await agent.state()).promises.has(nameOf(7)));
    await promise(201, 1, 60_000);
    const names = [...(await agent.state()).promises.keys()];
    assert.deepEqual([names.length, names.includes(nameOf(0)), names.includes(nameOf(201))], [200, true, true]);
  });

  it('refuses a malformed promise', async (t) => {
    const { dir, reader } = await guard(t);
    const untilMs = inMs(10_000);
    const long = 'x'.repeat(64);
    for (const fields of [
      '',
      ` db 1 ${untilMs}`,
      ` db 1 ${untilMs} `,
      ` db 1 ${untilMs} alice bob`,
      ` db -1 ${untilMs} alice`,
      ` db x ${untilMs} alice`,
      ` db 1 ${untilMs}.5 alice`,
      ' db 1 1e9 alice',
      ' db 1 99999999999999999999 alice',
      ` d/b 1 ${untilMs} alice`,
      ` db 1 ${untilMs} al/ice`,
      ` ${long} 1 ${untilMs} alice`,
      ` db 1 ${untilMs} ${long}`,
    ])
      assert.match(await answerTo(t, dir, `promise${fields}`), /^error syntax /, fields);
    assert.equal((await reader.state()).promises.size, 0);
  });

  it('gives back the voters with their version', async (t) => {
    const { dir } = await guard(t);
    const agent = await connected(t, dir);
    const nameOf = (n: number) => `${n}`.padStart(63, 'x');
    const namesOf = (count: number) => Array.from({ length: count }, (_, n) => nameOf(n));
    const group = nameOf(0);
    for (const voters of [
      VOTERS,
      { version: 2, names: [] },
      { version: 3, names: ['alice'] },
      { version: Number.MAX_SAFE_INTEGER, names: namesOf(16) },
    ]) {
      await agent.arm(lease(group, 2 ** 40, 30_000), voters);
      assert.deepEqual((await agent.state()).groups.get(group)?.voters, voters);
    }
    const tooMany = agent.arm(lease(group, 2 ** 40, 30_000), { version: 4, names: namesOf(18) });
    await assert.rejects(tooMany, { code: 'syntax' });
  });

  it('ends on SIGTERM also while a promise runs', async (t) => {
    const { dir, pid } = await guard(t);
    const agent = await connected(t, dir);
    await agent.promise({ group: 'db', epoch: 1, untilMs: inMs(30_000), owner: 'alice' });
    process.kill(pid, 'SIGTERM');
    await until('it ends', () => !isAlive(pid));
  });
});
