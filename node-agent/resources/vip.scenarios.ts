/** What a virtual address goes through, with the kernel of this machine: `node vip.scenarios.ts NAME` inside a namespace made by vip.test.ts. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Addresses, Cgroups, type Log } from '../system/index.ts';
import { until } from '../system/testing.ts';
import type { VipDeclaration } from './declaration.ts';
import type { Announcer, ResourceContext } from './ports.ts';
import { VipResource } from './vip.ts';

const V4 = '192.0.2.10';
const V6 = '2001:db8::10';

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}
const there = (...args: string[]) => ip('-n', process.env.NEIGHBOUR ?? '', ...args);
const has = (address: string, where = 'lan0') =>
  new RegExp(` ${address}/`).test(ip('-o', 'address', 'show', 'dev', where));

/** An interface to a wire of its own. (A dummy would do, but not every kernel has it.) */
function secondLink(name: string): void {
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}b`);
  ip('link', 'set', `${name}b`, 'up');
  ip('link', 'set', name, 'up');
}

/** Asks by the kernel's own neighbour discovery, as the guard does with packets of its own. */
class KernelAnnouncer implements Announcer {
  readonly announced: string[] = [];
  lastAt = 0;
  beforeAnswer: () => void = () => undefined;

  async announce(interfaceName: string, address: string): Promise<void> {
    this.lastAt = performance.now();
    this.announced.push(`${interfaceName} ${address}`);
  }

  async probe(interfaceName: string, address: string, timeoutMs: number) {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    let mac: string | undefined;
    try {
      socket.on('error', () => undefined); // "no route to host" is an answer as well
      socket.send('', 9, address, () => undefined);
      const end = performance.now() + timeoutMs;
      const answered = () => {
        mac = / lladdr (\S+)/.exec(ip('neighbour', 'show', 'to', address, 'dev', interfaceName))?.[1];
        return mac !== undefined || performance.now() > end;
      };
      await until('an answer or the end of the time', answered, timeoutMs + 1_000);
    } finally {
      socket.close();
    }
    this.beforeAnswer();
    return mac === undefined ? ({ taken: false } as const) : ({ taken: true, mac } as const);
  }
}

const announcer = new KernelAnnouncer();
const warnings: string[] = [];
const log: Log = { info: () => undefined, warn: (message) => warnings.push(message) };
const addresses = new Addresses(log);
const located = Cgroups.locate();
const cgroups = 'problem' in located ? undefined : new Cgroups(join(located.root, `vip-${process.pid}`));
let lifetime = 30;
const context: ResourceContext = { group: 'g', announcer, addresses, cgroups, lifetimeSeconds: () => lifetime, log };
const signal = () => AbortSignal.timeout(10_000);

async function vip(address = `${V4}/24`, more: Partial<VipDeclaration> = {}): Promise<VipResource> {
  const resource = await VipResource.create({ type: 'vip', address, ...more }, context);
  if ('problem' in resource) throw new Error(resource.problem);
  return resource;
}

/** Waits until the monitor has asked the kernel for events: a process that has only been started misses what happens before. */
async function listening(): Promise<void> {
  // protocol, port and groups of every netlink socket here; the port of a process's first one is its pid
  const sockets = () =>
    readFileSync('/proc/net/netlink', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/));
  const subscribed = () =>
    sockets().some(
      ([, protocol, port, groups]) =>
        protocol === '0' && Number(port) === addresses.monitorPid && Number.parseInt(groups ?? '0', 16) !== 0,
    );
  await until('the monitor listens', subscribed);
}

const probe = (resource: VipResource, recurring = false) => resource.probe({ recurring, signal: signal() });

async function started(resource: VipResource): Promise<VipResource> {
  await resource.holdings();
  assert.deepEqual(await resource.start(signal()), { ok: true });
  return resource;
}

function reasonOf(outcome: Awaited<ReturnType<VipResource['start']>>): string {
  assert.ok(!outcome.ok);
  return `${outcome.severity}: ${outcome.reason}`;
}

export const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  'an IPv4 address comes with a finite life as a single address, is announced, and goes': async () => {
    const resource = await vip();
    assert.equal(resource.id, `vip-${V4}`);
    assert.deepEqual(await probe(resource), { state: 'stopped' });
    assert.deepEqual(await resource.holdings(), [{ kind: 'vip', interface: 'lan0', address: `${V4}/32` }]);
    const before = performance.now();
    await started(resource);
    console.log(`start with the conflict check: ${(performance.now() - before).toFixed(0)} ms`);
    assert.match(ip('-o', 'address', 'show', 'to', V4), /192\.0\.2\.10\/32 .*valid_lft (30|29)sec/);
    assert.deepEqual(await probe(resource), { state: 'running' });
    assert.deepEqual(await resource.holdings(), [{ kind: 'vip', interface: 'lan0', address: `${V4}/32` }]);
    assert.deepEqual(announcer.announced, [`lan0 ${V4}`]);
    await until('the second announcement', () => announcer.announced.length === 2);
    await started(resource);
    assert.equal(announcer.announced.length, 3); // At once again, because a start says that it is here.
    for (let n = 0; n < 2; n += 1) assert.deepEqual(await resource.stop(signal()), { ok: true });
    assert.ok(!has(V4));
    assert.deepEqual(await probe(resource), { state: 'stopped' });
    assert.ok(ip('route').includes('192.0.2.0/24'), 'the route of the subnet is still there');
  },

  'an IPv6 address is usable at once and is not chosen as a source': async () => {
    const resource = await vip('2001:DB8:0::10/64');
    assert.deepEqual(await resource.holdings(), [{ kind: 'vip', interface: 'lan0', address: `${V6}/128` }]);
    await started(resource);
    const shown = ip('-o', 'address', 'show', 'to', V6);
    assert.match(shown, /2001:db8::10\/128 .*deprecated.* valid_lft (30|29)sec preferred_lft 0sec/);
    assert.doesNotMatch(shown, /tentative/);
    assert.deepEqual(await probe(resource), { state: 'running' });
    assert.deepEqual(await resource.forceStop(signal()), { ok: true });
    assert.ok(!has(V6));
  },

  'an address that a stranger answers for is not added, and his hardware address is told': async () => {
    const mac = /link\/ether (\S+)/.exec(there('link', 'show', 'lan0'))?.[1];
    there('address', 'add', `${V4}/32`, 'dev', 'lan0');
    there('address', 'add', `${V6}/128`, 'dev', 'lan0', 'nodad');
    for (const address of [V4, V6]) {
      const resource = await vip(`${address}/${address === V4 ? 24 : 64}`);
      await resource.holdings();
      assert.equal(
        reasonOf(await resource.start(signal())),
        `soft: ${address} is in use on the segment of lan0 by ${mac}; it was not added`,
      );
      assert.ok(!has(address));
      assert.deepEqual(await probe(resource), { state: 'stopped' });
    }
    assert.deepEqual(announcer.announced, []);
  },

  'an address that is there already is adopted and announced': async () => {
    ip('address', 'add', `${V4}/24`, 'dev', 'lan0', 'valid_lft', '60', 'preferred_lft', '60');
    const resource = await vip();
    assert.deepEqual(await probe(resource), { state: 'running' });
    assert.deepEqual(await resource.holdings(), [{ kind: 'vip', interface: 'lan0', address: `${V4}/24` }]);
    assert.deepEqual(announcer.announced, []);
    assert.deepEqual(await probe(resource, true), { state: 'running' });
    assert.deepEqual(announcer.announced, [`lan0 ${V4}`]);
    await started(resource);
    assert.deepEqual(await resource.stop(signal()), { ok: true });
    assert.ok(!has(V4));
  },

  'a deleted address is told and put back within milliseconds': async () => {
    for (const address of [V4, V6]) {
      const length = address === V4 ? 32 : 128;
      const resource = await started(await vip(`${address}/${address === V4 ? 24 : 64}`));
      const repairs: number[] = [];
      const totals: number[] = [];
      const back: number[] = [];
      let changedAt = 0;
      let done: Promise<unknown> = Promise.resolve();
      const end = resource.watch((what) => {
        assert.equal(what, 'address deleted');
        changedAt = performance.now();
        done = resource.repair(signal()).then((outcome) => {
          assert.deepEqual(outcome, { ok: true });
          repairs.push(performance.now() - changedAt);
        });
      });
      await listening();
      for (let n = 0; n < 40; n += 1) {
        const count = repairs.length;
        const deletedAt = performance.now();
        ip('address', 'delete', `${address}/${length}`, 'dev', 'lan0');
        const gone = performance.now();
        await until('repaired', () => repairs.length > count, 3_000);
        totals.push(performance.now() - gone);
        back.push(announcer.lastAt - gone); // Announced as soon as it was added.
        await done;
        assert.ok(has(address));
        assert.ok(performance.now() > deletedAt);
      }
      const figure = (list: number[], at: number) =>
        [...list].sort((a, b) => a - b)[Math.floor((list.length - 1) * at)]?.toFixed(1);
      const line = (what: string, list: number[]) => `${what} p50 ${figure(list, 0.5)} max ${figure(list, 1)} ms`;
      console.log(
        `${address}: deleted → ${line('back', back)}, ${line('read back', totals)}; ${line('repair()', repairs)}`,
      );
      end();
      await resource.stop(signal());
    }
  },

  'the end of the life of an address is an event like a deletion': async () => {
    lifetime = 1;
    const said: string[] = [];
    const resource = await vip();
    const end = resource.watch((what) => said.push(what));
    await listening();
    await started(resource);
    await until('the kernel has taken it away', () => said.includes('address deleted'));
    assert.deepEqual(await probe(resource), { state: 'stopped' });
    end();
  },

  'refreshing the lifetime disturbs nobody': async () => {
    const resource = await started(await vip());
    const said: string[] = [];
    const end = resource.watch((what) => said.push(what));
    await listening();
    for (let n = 0; n < 50; n += 1)
      ip('address', 'change', `${V4}/32`, 'dev', 'lan0', 'valid_lft', '20', 'preferred_lft', '20');
    ip('address', 'delete', `${V4}/32`, 'dev', 'lan0');
    await until('the deletion is told', () => said.length > 0);
    assert.deepEqual(said, ['address deleted']);
    end();
  },

  'two resources share one monitor, which is started again when it dies and then tells to look': async () => {
    const first = await started(await vip());
    const second = await started(await vip(`${V6}/64`));
    const said: string[] = [];
    const ends = [first.watch((what) => said.push(`1 ${what}`)), second.watch((what) => said.push(`2 ${what}`))];
    await listening();
    const pid = addresses.monitorPid;
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await until('both are told', () => said.length === 2);
    assert.deepEqual(said, ['1 address events may have been missed', '2 address events may have been missed']);
    assert.notEqual(addresses.monitorPid, pid);
    assert.match(warnings.join(), /ip monitor ended \(SIGKILL\)/);
    await listening();
    ip('address', 'delete', `${V4}/32`, 'dev', 'lan0');
    await until('the new monitor sees a deletion', () => said.includes('1 address deleted'));
    assert.ok(!said.includes('2 address deleted'));
    for (const end of ends) end();
    await first.stop(signal());
    await second.stop(signal());
    assert.equal(addresses.monitorPid, undefined);
  },

  'a link that goes down is a failure and an event; when it is back the address is announced again': async () => {
    const resource = await started(await vip());
    const said: string[] = [];
    const end = resource.watch((what) => said.push(what));
    await listening();
    there('link', 'set', 'lan0', 'down');
    await until('down is told', () => said.includes('link of lan0 is down'));
    assert.deepEqual(await probe(resource), { state: 'failed', severity: 'soft', reason: 'the link of lan0 is down' });
    const before = announcer.announced.length;
    there('link', 'set', 'lan0', 'up');
    await until('up is told', () => said.includes('link of lan0 is up'));
    assert.ok(announcer.announced.length > before);
    assert.deepEqual(await probe(resource), { state: 'running' });
    end();
    await resource.stop(signal());
  },

  'an address on another interface is a failure; only the forced stop takes it from there': async () => {
    secondLink('other0');
    ip('address', 'add', `${V4}/32`, 'dev', 'other0', 'valid_lft', '60', 'preferred_lft', '60');
    const resource = await vip();
    const found = await probe(resource);
    assert.ok(found.state === 'failed' && found.severity === 'hard');
    assert.match(found.reason, /192\.0\.2\.10 is on other0, where Holdfast did not put it \(it belongs on lan0\)/);
    await resource.holdings();
    assert.match(reasonOf(await resource.start(signal())), /^hard: .* is on other0/);
    assert.match(reasonOf(await resource.stop(signal())), /is on other0/);
    assert.ok(has(V4, 'other0'));
    assert.deepEqual(await resource.forceStop(signal()), { ok: true });
    assert.ok(!has(V4, 'other0'));
    await started(resource);
    await resource.stop(signal());
  },

  'an address on the loopback interface is nobody’s business': async () => {
    ip('address', 'add', `${V4}/32`, 'dev', 'lo');
    const resource = await vip();
    assert.deepEqual(await probe(resource), { state: 'stopped' });
    await started(resource);
    assert.deepEqual(await resource.forceStop(signal()), { ok: true });
    assert.ok(has(V4, 'lo'));
  },

  'an interface without another address of the subnet gets the declared prefix, and a word about promote_secondaries':
    async () => {
      secondLink('alone0');
      ip('link', 'set', 'alone0', 'arp', 'off');
      writeFileSync('/proc/sys/net/ipv4/conf/alone0/promote_secondaries', '0');
      writeFileSync('/proc/sys/net/ipv4/conf/all/promote_secondaries', '0');
      const resource = await vip('198.51.100.10/24', { interface: 'alone0' });
      assert.deepEqual(await resource.holdings(), [{ kind: 'vip', interface: 'alone0', address: '198.51.100.10/24' }]);
      await started(resource);
      assert.ok(has('198.51.100.10', 'alone0'));
      assert.match(warnings.join(), /promote_secondaries is 0/);
      assert.deepEqual(announcer.announced, [], 'without ARP there is nobody to tell');
      assert.deepEqual(await resource.stop(signal()), { ok: true });
    },

  'a place that was not found for the guard is not used by a start behind its back': async () => {
    const resource = await vip('198.51.100.10/24');
    assert.deepEqual(await resource.holdings(), []);
    ip('address', 'add', '198.51.100.1/24', 'dev', 'lan0');
    assert.match(
      reasonOf(await resource.start(signal())),
      /^soft: no interface that is up .* seen: lan0 \(192\.0\.2\.1\/24/,
    );
    assert.ok(!has('198.51.100.10'));
    await started(resource);
    assert.ok(has('198.51.100.10'));
  },

  'two interfaces in the subnet are refused by name': async () => {
    secondLink('twin0');
    ip('address', 'add', '192.0.2.3/24', 'dev', 'twin0');
    const resource = await vip();
    await resource.holdings();
    assert.match(
      reasonOf(await resource.start(signal())),
      /^hard: (lan0 and twin0|twin0 and lan0) are both in the subnet/,
    );
    await started(await vip(`${V4}/24`, { interface: 'lan0' }));
  },

  'an address whose duplicate detection failed is a failure, and a start replaces it when the stranger is gone':
    async () => {
      there('address', 'add', `${V6}/128`, 'dev', 'lan0', 'nodad');
      const said: string[] = [];
      const resource = await vip(`${V6}/64`);
      await resource.holdings();
      const end = resource.watch((what) => said.push(what));
      ip('address', 'add', `${V6}/128`, 'dev', 'lan0');
      await until('detection has failed', () => ip('address', 'show', 'to', V6).includes('dadfailed'));
      assert.match(JSON.stringify(await probe(resource)), /"failed".*another host answers/);
      await resource.holdings();
      assert.match(reasonOf(await resource.start(signal())), /is in use on the segment/);
      assert.ok(!has(V6));
      there('address', 'delete', `${V6}/128`, 'dev', 'lan0');
      ip('neighbour', 'flush', 'all');
      ip('address', 'add', `${V6}/128`, 'dev', 'lan0');
      assert.ok(ip('address', 'show', 'to', V6).includes('tentative'));
      await started(resource);
      assert.doesNotMatch(ip('address', 'show', 'to', V6), /tentative|dadfailed/);
      assert.deepEqual(await probe(resource), { state: 'running' });
      end();
    },

  'a start that is called off while the neighbours are asked adds nothing': async () => {
    const abort = new AbortController();
    announcer.beforeAnswer = () => abort.abort();
    const resource = await vip();
    await resource.holdings();
    assert.match(reasonOf(await resource.start(abort.signal)), /called off/);
    assert.ok(!has(V4));
    assert.match(reasonOf(await resource.repair(abort.signal)), /called off/);
    assert.ok(!has(V4));
    assert.match(reasonOf(await resource.start(abort.signal)), /./);
    assert.deepEqual(announcer.announced, []);
  },

  'an address that the node has for good is its own, and never taken for a virtual one': async () => {
    const own = (await addresses.read())
      .filter(({ loopback }) => !loopback)
      .flatMap((link) => link.addresses)
      .find(({ family, finite }) => family === 4 && !finite);
    assert.ok(own !== undefined);
    const resource = await VipResource.create({ type: 'vip', address: `${own.address}/24` }, context);
    assert.ok('problem' in resource);
    assert.match(resource.problem, /for good/);
  },

  'an announcer that fails costs an announcement, not the address': async () => {
    const deaf: Announcer = {
      announce: () => Promise.reject(new Error('the guard does not answer')),
      probe: async () => ({ taken: false }),
    };
    const resource = await VipResource.create({ type: 'vip', address: `${V4}/24` }, { ...context, announcer: deaf });
    assert.ok(!('problem' in resource));
    await started(resource);
    await until('it is in the log', () => warnings.length > 0);
    assert.match(warnings[0] ?? '', /could not be announced on lan0: the guard does not answer/);
    assert.deepEqual(await resource.stop(signal()), { ok: true });
  },
};

const scenario = scenarios[process.argv[2] ?? ''];
if (import.meta.main && scenario !== undefined) {
  await scenario();
  assert.ok(cgroups === undefined || cgroups.all().remove(), 'no cgroup is left');
  process.exit(0);
}
