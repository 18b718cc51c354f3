/** The guard and the addresses of its groups: that they go, that they stay gone, and what it says and asks on the LAN. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bootMs } from '../system/index.ts';
import { until } from '../system/testing.ts';
import {
  add,
  addressOf,
  firedAndClean,
  guard,
  lanIp,
  lease,
  neighbourIp,
  onLan,
  TOOLS,
  V4,
  V6,
} from './guard-lan-testing.ts';
import { Agent, missing } from './guard-testing.ts';
import { GuardClient } from './index.ts';

describe('the guard', { skip: missing(TOOLS), timeout: 120_000 }, () => {
  onLan();

  it('removes an address that somebody puts back after the firing', async (t) => {
    const { dir, reader } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 200));
    await agent.must('hold', 'db', V4);
    await firedAndClean(reader, 'db');
    add({ ...V4, address: '192.0.2.10/24' }); // another prefix length is no way round it
    await until('it is gone again', () => addressOf(V4) === undefined);
    // Also when the minute of close attention is over: the change itself is noticed.
    const later = bootMs() + 600;
    await until('time passes', () => bootMs() > later);
    add(V4);
    await until('it is gone again', () => addressOf(V4) === undefined);
  });

  it('lets the kernel remove the addresses when the guard itself is gone', async (t) => {
    const { dir, pid } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 60_000));
    for (const vip of [V4, V6]) {
      await agent.must('hold', 'db', vip);
      add(vip);
      assert(Number(addressOf(vip)?.valid_life_time) > 1e9, 'for ever at first');
    }
    await agent.must('pet', lease('db', 1, 90_000));
    for (const vip of [V4, V6]) {
      const found = addressOf(vip);
      assert(Number(found?.valid_life_time) <= 90 && Number(found?.valid_life_time) >= 88, `${found?.valid_life_time}`);
      assert.equal(`${found?.local}/${found?.prefixlen}`, vip.address);
      assert.deepEqual([found?.noprefixroute, found?.nodad], [true, vip === V6 ? true : undefined]);
    }
    let last = lease('db', 2, 2_000);
    await agent.must('arm', last);
    await until('the lifetime follows', async () => {
      last = lease('db', 2, 2_000);
      await agent.must('pet', last);
      return [V4, V6].every((vip) => Number(addressOf(vip)?.valid_life_time) <= 2);
    });
    process.kill(pid, 'SIGKILL');
    assert.equal(await agent.exited, '9', 'the agent is told');
    await until('the kernel removes them', () => addressOf(V4) === undefined && addressOf(V6) === undefined);
    t.diagnostic(`gone ${bootMs() - last.deadlineMs} ms after the last deadline`);
  });

  it('never lets an address lapse under a lease of less than two seconds', async (t) => {
    const { dir } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 1_800));
    await agent.must('hold', 'db', V4);
    add(V4);
    const end = bootMs() + 4_000;
    let next = 0;
    await until('the time to pass', async () => {
      if (bootMs() >= next) {
        await agent.must('pet', lease('db', 1, 1_800));
        next = bootMs() + 350;
      }
      assert(addressOf(V4), 'the address is there all the time');
      return bootMs() > end;
    });
  });

  it('nor where answers take so long that every pet leaves less than a second, and some are missing', async (t) => {
    const { dir } = await guard(t);
    const agent = new Agent(t, dir);
    const left = () => ({ ...lease('db', 1, 1_500), fireAtMs: bootMs() + 990 });
    await agent.must('hello');
    await agent.must('arm', left());
    await agent.must('hold', 'db', V4);
    add(V4);
    const end = bootMs() + 4_000;
    let next = 0;
    let pets = 0;
    await until('the time to pass', async () => {
      if (bootMs() >= next) {
        await agent.must('pet', left());
        pets += 1;
        next = bootMs() + (pets % 3 === 0 ? 650 : 440);
      }
      assert(addressOf(V4), 'the address is there all the time');
      return bootMs() > end;
    });
  });

  it('does not bring an absent address into being by a pet', async (t) => {
    const { dir } = await guard(t);
    const agent = new Agent(t, dir);
    await agent.must('hello');
    await agent.must('arm', lease('db', 1, 10_000));
    await agent.must('hold', 'db', V4);
    await agent.must('pet', lease('db', 1, 20_000));
    assert.equal(addressOf(V4), undefined);
  });

  it('corrects the neighbours with an announcement, IPv4 and IPv6', async (t) => {
    const { dir } = await guard(t);
    const client = await GuardClient.connect(dir);
    t.after(() => client.close());
    await client.hello();
    await assert.rejects(client.announce('lan0', '192.0.2.10'), { code: 'absent' });
    await assert.rejects(client.announce('lo', '127.0.0.1'), { code: 'link' });
    const links = JSON.parse(lanIp('-j', 'link', 'show', 'lan0')) as { address: string }[];
    for (const vip of [V4, V6]) {
      const address = vip.address.split('/')[0] ?? '';
      add(vip);
      neighbourIp('neigh', 'replace', address, 'lladdr', '02:00:00:00:00:99', 'dev', 'lan1', 'nud', 'stale');
      await client.announce('lan0', address);
      await until('the neighbour has learned', () =>
        neighbourIp('neigh', 'show', address).includes(links[0]?.address ?? '?'),
      );
    }
  });

  it('finds who has an address, and that nobody has it', async (t) => {
    const { dir } = await guard(t);
    const client = await GuardClient.connect(dir);
    t.after(() => client.close());
    await client.hello();
    const links = JSON.parse(neighbourIp('-j', 'link', 'show', 'lan1')) as { address: string }[];
    const answers = await Promise.all([
      client.probe('lan0', '192.0.2.2', 1_000),
      client.probe('lan0', '2001:db8::2', 1_000),
      client.probe('lan0', '192.0.2.77', 200),
      client.probe('lan0', '2001:db8::77', 200),
      client.probe('lan0', '192.0.2.77', 200), // the same question again joins the first
      client.probe('lan0', '192.0.2.1', 100), // our own frames do not count
    ]);
    const taken = { taken: true, mac: links[0]?.address };
    const free = { taken: false };
    assert.deepEqual(answers, [taken, taken, free, free, free, free]);
    await assert.rejects(client.probe('nowhere', '192.0.2.2', 100), { code: 'link' });
  });
});
