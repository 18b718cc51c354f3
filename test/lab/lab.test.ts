/** The laboratory's own tests: above all that it can fail a test of the product. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { cgroupMount } from './cgroup.ts';
import {
  Client,
  type Host,
  installMariadb,
  installNginx,
  installTestAgents,
  Lab,
  labUnavailable,
  mariadb,
  monotonicMs,
  nginx,
  type Observer,
  ocf,
  Product,
  setFault,
  signalAll,
  until,
} from './index.ts';
import { cacheDir, labsDir } from './paths.ts';

const virtual = '192.0.2.10';
const virtual6 = '2001:db8:10::10';

async function reaches(from: Host, address: string): Promise<boolean> {
  return (await from.exec(['ping', '-n', '-c', '1', '-W', '1', address])).code === 0;
}

/** Every namespace that some process is in. */
function namespaces(): Set<string> {
  const found = new Set<string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const kind of ['net', 'mnt', 'pid', 'uts', 'ipc', 'cgroup']) {
      try {
        found.add(readlinkSync(`/proc/${pid}/ns/${kind}`));
      } catch {
        // The process ended while we looked, or is a zombie.
      }
    }
  }
  return found;
}

/** Everything by which a laboratory can be seen from outside. */
function traces(lab: { id: string; namespaces: readonly string[] }): string[] {
  const living = namespaces();
  const found = lab.namespaces.filter((namespace) => living.has(namespace));
  if (existsSync(join(cgroupMount() ?? '', lab.id))) found.push(`cgroup ${lab.id}`);
  if (existsSync(join(labsDir, lab.id))) found.push(join(labsDir, lab.id));
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(lab.id)) found.push(`a mount of ${lab.id}`);
  return found;
}

function namespacesOf(lab: Lab): string[] {
  return [...lab.hosts.values(), lab.arbiter, lab.client].flatMap((host) =>
    ['net', 'mnt', 'pid', 'uts', 'ipc', 'cgroup'].map((kind) => readlinkSync(`/proc/${host.initPid}/ns/${kind}`)),
  );
}

describe('the laboratory', { skip: labUnavailable() ?? false, timeout: 120_000 }, () => {
  let lab: Lab;
  let observer: Observer;
  let alice: Host;
  let bob: Host;

  before(async () => {
    lab = await Lab.create({ hosts: ['alice', 'bob', 'carol'] });
    observer = await lab.observe({ processes: ['sleep', 'nginx', 'mariadbd'], mounts: '/srv' });
    alice = lab.host('alice');
    bob = lab.host('bob');
  });

  after(async () => {
    await lab.close();
  });

  test('hosts see each other on the LAN, the coordinator on the uplink, and nothing else', async () => {
    assert.ok(await reaches(alice, bob.address('lan')));
    assert.ok(await reaches(alice, bob.address('lan', 'ipv6')));
    assert.ok(await reaches(alice, 'carol'));
    assert.ok(await reaches(alice, lab.arbiter.address('uplink')));
    assert.ok(await reaches(lab.client, alice.address('lan')));
    assert.equal(await reaches(lab.client, lab.arbiter.address('uplink')), false);
    assert.equal(await alice.mustExec(['hostname']), 'alice\n');
  });

  test('a host begins with the kernel’s own network settings and no device that could reset the machine', async () => {
    const setting = '/proc/sys/net/ipv4/conf/eth0/promote_secondaries';
    assert.equal(await alice.mustExec(['cat', setting]), '0\n');
    const devices = (await alice.mustExec(['ls', '/dev'])).split('\n');
    assert.deepEqual(
      devices.filter((name) => /watchdog|sd|vd|nvme|mem|loop/.test(name)),
      [],
    );
  });

  test('a host has its own control groups, and its processes are in them', async () => {
    const told = await alice.mustExec(['cat', '/proc/self/cgroup'], { cgroup: 'system.slice/thing.service' });
    assert.match(told, /^0::\/system\.slice\/thing\.service$/m);
    assert.match(await alice.mustExec(['cat', '/sys/fs/cgroup/init.scope/cgroup.procs']), /^1$/m);
  });

  test('what a host writes stays in the host', async () => {
    await alice.mustExec([
      'sh',
      '-c',
      'echo x >/etc/holdfast-lab-test; echo x >/usr/holdfast-lab-test; echo x >/holdfast-lab-test',
    ]);
    for (const dir of ['/etc', '/usr', '/']) assert.equal(existsSync(join(dir, 'holdfast-lab-test')), false);
    assert.equal((await bob.exec(['cat', '/etc/holdfast-lab-test'])).code, 1);
    await alice.writeFile('/var/run/through-a-link', 'x');
    assert.equal(await alice.mustExec(['cat', '/run/through-a-link']), 'x');
    assert.equal(existsSync('/run/through-a-link'), false);
  });

  test('an output that a daemon keeps open does not hold up a finished command', async () => {
    const done = await alice.exec(['sh', '-c', 'sleep 1000 & echo started'], { deadlineMs: 5000 });
    assert.deepEqual([done.code, done.stdout], [0, 'started\n']);
    await until(() => observer.runners('sleep').includes('alice'), {
      deadlineMs: 5000,
      what: 'the observer to see it',
    });
    await alice.mustExec(['killall', 'sleep']);
    await until(() => !observer.runners('sleep').includes('alice'), { deadlineMs: 5000, what: 'it to be gone' });
  });

  test('cutting one link leaves the other, and mending it brings it back', async () => {
    for (const direction of ['both', 'in', 'out'] as const) {
      await alice.cut('lan', direction);
      assert.equal(await reaches(bob, alice.address('lan')), false, `lan, ${direction}`);
      assert.ok(await reaches(alice, lab.arbiter.address('uplink')));
      await alice.mend('lan');
      await until(() => reaches(bob, alice.address('lan')), { deadlineMs: 5000, what: 'the LAN' });
    }
    await alice.cut('uplink');
    assert.equal(await reaches(alice, lab.arbiter.address('uplink')), false);
    assert.ok(await reaches(bob, alice.address('lan')));
    await alice.mend('uplink');
    await until(() => reaches(alice, lab.arbiter.address('uplink')), { deadlineMs: 5000, what: 'the uplink' });
  });

  test('a program’s pid is the one seen out here, so that it can be stopped and killed', async () => {
    const program = await alice.spawn(['sleep', '1000']);
    assert.match(readFileSync(`/proc/${program.pid}/comm`, 'utf8'), /sleep/);
    program.kill('SIGSTOP');
    const stopped = () => /^State:\s+T/m.test(readFileSync(`/proc/${program.pid}/status`, 'utf8'));
    await until(stopped, { deadlineMs: 5000, what: 'the program to stop' });
    program.kill('SIGKILL');
    assert.deepEqual(await program.exited, { code: null, signal: 'SIGKILL' });
  });

  test('a unit comes back after 100 ms, until it is stopped for good', async () => {
    const unit = alice.unit('sleeper', ['sleep', '1000']);
    await unit.start();
    const first = unit.process?.pid;
    const killed = monotonicMs();
    unit.kill('SIGKILL');
    await until(() => unit.process !== undefined && unit.process.pid !== first, {
      deadlineMs: 5000,
      what: 'a restart',
    });
    assert.ok(monotonicMs() - killed >= 100);
    assert.deepEqual(unit.exits, [{ code: null, signal: 'SIGKILL' }]);
    await unit.stop('SIGKILL');
    assert.equal(unit.process, undefined);
  });

  test('a power cut ends everything at once, and the observer sees the address gone', async () => {
    await alice.mustExec(['ip', 'addr', 'add', `${virtual}/32`, 'dev', 'eth0']);
    await alice.writeFile('/srv/kept', 'kept');
    await alice.writeFile('/tmp/lost', 'lost');
    await alice.writeFile('/etc/kept', 'kept');
    const unit = alice.unit('at-boot', ['sleep', '1000'], { enabled: true });
    const program = await alice.spawn(['sleep', '1000']);
    await until(() => observer.holders(virtual)[0] === 'alice', {
      deadlineMs: 5000,
      what: 'alice to hold the address',
    });
    const before = alice.processes();
    assert.ok(before.length >= 2);

    await alice.powerCut();
    assert.equal(program.running, false);
    assert.deepEqual(
      before.filter((pid) => existsSync(`/proc/${pid}`)),
      [],
    );
    await until(() => observer.holders(virtual).length === 0, { deadlineMs: 5000, what: 'the address to be gone' });
    assert.equal(await reaches(bob, alice.address('lan')), false);
    assert.equal(alice.state.is, 'off');
    assert.equal(await alice.readFile('/srv/kept'), 'kept');

    await alice.boot();
    assert.equal(await alice.mustExec(['cat', '/srv/kept', '/etc/kept']), 'keptkept');
    assert.equal((await alice.exec(['cat', '/tmp/lost'])).code, 1);
    assert.ok(unit.process?.running);
    await until(() => reaches(bob, alice.address('lan')), { deadlineMs: 5000, what: 'the LAN' });
    await unit.stop();
    assert.deepEqual(await observer.overlaps(), []);
  });

  test('a reboot in order ends units by SIGTERM and starts them again', async () => {
    const unit = bob.unit(
      'rebooted',
      ['sh', '-c', 'trap "echo asked >/srv/asked; exit 0" TERM; >/srv/trapped; while :; do sleep 0.05; done'],
      { enabled: true },
    );
    await unit.start();
    await until(() => bob.readFile('/srv/trapped').then(() => true), {
      deadlineMs: 5000,
      what: 'the unit to be ready',
    });
    await bob.reboot();
    assert.equal(await bob.readFile('/srv/asked'), 'asked\n');
    assert.ok(unit.process?.running);
    unit.enabled = false;
    await unit.stop('SIGKILL');
  });

  test('the observer finds an address on two hosts, however short, and says for how long', async () => {
    for (const [address, prefix] of [
      [virtual, 32],
      [virtual6, 128],
    ] as const) {
      const sinceMs = monotonicMs();
      const change = (host: Host, what: string) =>
        host.mustExec([
          'ip',
          'addr',
          what,
          `${address}/${prefix}`,
          'dev',
          'eth0',
          ...(what === 'add' && prefix === 128 ? ['nodad'] : []),
        ]);
      await change(alice, 'add');
      assert.deepEqual(await observer.overlaps({ address, sinceMs }), []);
      const earliest = monotonicMs();
      await change(bob, 'add');
      const both = monotonicMs();
      await until(() => observer.holders(address).length === 2, { deadlineMs: 5000, what: 'two holders' });
      const still = monotonicMs();
      await change(alice, 'del');
      const latest = monotonicMs();
      await change(bob, 'del');
      const overlaps = await observer.overlaps({ address, sinceMs });
      const event = overlaps.find((overlap) => overlap.source === 'events');
      assert.ok(event?.certain, JSON.stringify(overlaps));
      assert.ok(
        event.ms <= latest - earliest && event.ms >= still - both,
        JSON.stringify({ event, earliest, both, still, latest }),
      );
      assert.deepEqual([...event.hosts].sort(), ['alice', 'bob']);
    }
  });

  test('an overlap of well under a millisecond is found by its events', async () => {
    const sinceMs = monotonicMs();
    await alice.mustExec(['ip', 'addr', 'add', `${virtual}/32`, 'dev', 'eth0']);
    await bob.mustExec(['ip', '-batch', '-'], {
      input: `addr add ${virtual}/32 dev eth0\naddr del ${virtual}/32 dev eth0\n`,
    });
    await alice.mustExec(['ip', 'addr', 'del', `${virtual}/32`, 'dev', 'eth0']);
    const events = (await observer.overlaps({ address: virtual, sinceMs })).filter(
      (overlap) => overlap.source === 'events',
    );
    assert.equal(events.length, 1);
  });

  test('handing an address over is no overlap', async () => {
    const sinceMs = monotonicMs();
    for (const host of [alice, bob, alice, bob]) {
      await host.mustExec(['ip', 'addr', 'add', `${virtual}/32`, 'dev', 'eth0']);
      await host.mustExec(['ip', 'addr', 'del', `${virtual}/32`, 'dev', 'eth0']);
    }
    assert.deepEqual(await observer.overlaps({ sinceMs }), []);
    assert.equal((await observer.history(virtual)).filter((line) => line.endsWith('now')).length, 0);
  });

  test('the samples alone find an address, a process and a mount that are on two hosts', async () => {
    const sinceMs = monotonicMs();
    for (const host of [alice, bob]) {
      await host.mustExec(['ip', 'addr', 'add', `${virtual}/32`, 'dev', 'eth0']);
      await host.mustExec(['mkdir', '-p', '/srv/volume']);
      await host.mustExec(['mount', '-t', 'tmpfs', 'tmpfs', '/srv/volume']);
      await host.spawn(['sleep', '1000']);
    }
    const found = async () => {
      const addresses = await observer.overlaps({ address: virtual, sinceMs });
      const [processes, mounts] = [
        await observer.processOverlaps('sleep', sinceMs),
        await observer.mountOverlaps('/srv/volume', sinceMs),
      ];
      return addresses.some((overlap) => overlap.source === 'samples') && processes.length > 0 && mounts.length > 0;
    };
    await until(found, { deadlineMs: 5000, what: 'the samples to show all three' });
    for (const host of [alice, bob]) {
      await host.mustExec(['killall', 'sleep']);
      await host.mustExec(['umount', '/srv/volume']);
      await host.mustExec(['ip', 'addr', 'del', `${virtual}/32`, 'dev', 'eth0']);
    }
  });

  test('nginx started by its OCF agent answers with its host’s name, and the client measures a pause as long as it was', async () => {
    await installNginx(alice);
    assert.equal((await ocf(alice, nginx, 'monitor')).code, 7);
    const started = await ocf(alice, nginx, 'start');
    assert.equal(started.code, 0, started.stderr);
    const client = await Client.start(lab.client, { kind: 'http', address: alice.address('lan') });
    assert.equal((await client.nextAnswer(5000)).text, 'alice');

    const frozen = alice.processes().filter((pid) => /nginx/.test(readFileSync(`/proc/${pid}/comm`, 'utf8')));
    const begin = monotonicMs();
    signalAll(frozen, 'SIGSTOP');
    await until(() => monotonicMs() - begin >= 700, { deadlineMs: 5000, what: 'the pause to pass' });
    signalAll(frozen, 'SIGCONT');
    const pause = monotonicMs() - begin;
    await client.nextAnswer(5000);
    const [outage, ...more] = client.outages({ minMs: 300, sinceMs: begin });
    assert.deepEqual(more, []);
    assert.ok(outage !== undefined && Math.abs(outage.ms - pause) < 100, JSON.stringify({ outage, pause }));
    assert.deepEqual([outage.from, outage.to], ['alice', 'alice']);
    assert.equal(client.longestGap(begin), outage.ms);
    await client.stop();
    assert.equal((await ocf(alice, nginx, 'stop')).code, 0);
  });

  test('MariaDB started by its OCF agent answers', async () => {
    await installMariadb(bob);
    const started = await ocf(bob, mariadb, 'start');
    assert.equal(started.code, 0, started.stderr);
    assert.equal((await ocf(bob, mariadb, 'monitor')).code, 0);
    const client = await Client.start(lab.client, { kind: 'mariadb', address: bob.address('lan') });
    assert.match((await client.nextAnswer(5000)).text, /MariaDB/);
    assert.equal(
      await bob.mustExec([
        'mariadb',
        '--socket',
        mariadb.params.socket,
        '--batch',
        '--skip-column-names',
        '--execute',
        'select 6*7',
      ]),
      '42\n',
    );
    await client.stop();
    assert.equal((await ocf(bob, mariadb, 'stop')).code, 0);
  });

  test('the test agents behave, and each misbehaves in its own way when told to', async () => {
    await installTestAgents(alice);
    const agent = (name: string) => ({ agent: `holdfast-test:${name}`, params: {} });
    const codes = async (name: string, ...actions: string[]) => {
      const found: (number | null)[] = [];
      for (const action of actions) found.push((await ocf(alice, agent(name), action, 'x')).code);
      return found;
    };
    const round = ['monitor', 'start', 'start', 'monitor', 'stop', 'stop', 'monitor'];
    for (const name of ['dummy', 'daemon', 'failstart', 'hangstop', 'liar']) {
      assert.deepEqual(await codes(name, ...round), [7, 0, 0, 0, 0, 0, 7], name);
      assert.match((await ocf(alice, agent(name), 'meta-data')).stdout, new RegExp(`<resource-agent name="${name}"`));
    }
    await setFault(alice, 'failstart', 'x', 'on');
    assert.deepEqual(await codes('failstart', 'start', 'monitor'), [1, 7]);
    await setFault(alice, 'liar', 'x', 'running');
    assert.deepEqual(await codes('liar', 'monitor'), [0]);
    await codes('liar', 'start');
    await setFault(alice, 'liar', 'x', 'stopped');
    assert.deepEqual(await codes('liar', 'monitor'), [7]);
    await codes('hangstop', 'start');
    await setFault(alice, 'hangstop', 'x', 'on');
    let stopped = false;
    const stopping = ocf(alice, agent('hangstop'), 'stop', 'x').then(() => {
      stopped = true;
    });
    assert.deepEqual(await codes('hangstop', 'monitor', 'monitor'), [0, 0]);
    assert.equal(stopped, false);
    await setFault(alice, 'hangstop', 'x', undefined);
    await stopping;
    assert.deepEqual(await codes('hangstop', 'monitor'), [7]);
  });

  test('the product’s commands are run where and as the document says', async () => {
    const dir = await mkdtemp(join(cacheDir, 'stand-in-'));
    const standIn = join(dir, 'holdfast');
    const script = `#!/bin/sh
case $1 in
  serve) mkdir -p "$5"; echo secret >"$5/admin.token"; echo "ready on $3"; exec sleep 1000 ;;
  agent) exec sleep 1000 ;;
  node) echo "token-of-$5" ;;
  join) cat "$4" >/var/lib/holdfast/joined; echo "$@" >>/var/lib/holdfast/joined ;;
  *) hostname; echo "$HOLDFAST_URL $HOLDFAST_CLUSTER $(cat "$HOLDFAST_TOKEN_FILE") $*" ;;
esac
`;
    await writeFile(standIn, script);
    await chmod(dir, 0o755);
    await chmod(standIn, 0o755);
    const product = await Product.create(lab, { binary: standIn, cluster: 'shop' });
    await product.startCoordinator();
    assert.equal(await product.mustCli(['status']), 'arbiter\nhttp://198.51.100.1:8443 shop secret status\n');
    await product.enrol(alice, { allow: ['vip=192.0.2.0/24'] });
    assert.match(
      await alice.readFile('/var/lib/holdfast/joined'),
      /^token-of-alice\njoin http:\/\/198\.51\.100\.1:8443\/shop .*--allow vip=192\.0\.2\.0\/24\n$/,
    );
    const agent = await product.startAgent(alice);
    await product.restartCoordinator('SIGKILL');
    await alice.powerCut();
    await alice.boot();
    assert.ok(agent.process?.running);
    await agent.stop('SIGKILL');
    agent.enabled = false;
    await product.stopCoordinator();
    await rm(dir, { recursive: true });
  });
});

describe('a laboratory that ends', { skip: labUnavailable() ?? false, timeout: 60_000 }, () => {
  test('close leaves no process, namespace, mount, control group or file', async () => {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    const lab = await Lab.create({ hosts: ['alice'] });
    await lab.observe();
    await lab.host('alice').spawn(['sleep', '1000']);
    const made = { id: lab.id, namespaces: namespacesOf(lab) };
    assert.ok(traces(made).length > 10);
    await lab.close();
    await until(() => traces(made).length === 0, { deadlineMs: 5000, what: 'all traces to be gone' });
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8'), mounts);
  });

  test('its processes die with a test process that is killed, and the next laboratory sweeps the rest', async () => {
    const script = join(await mkdtemp(join(tmpdir(), 'holdfast-lab-')), 'owner.ts');
    await writeFile(
      script,
      `import { Lab } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))};
const lab = await Lab.create({ hosts: ['alice', 'bob'] });
await lab.observe();
await lab.host('alice').exec(['sh', '-c', 'setsid sleep 1000 & exit 0']);
console.log(JSON.stringify({ id: lab.id, inits: [...lab.hosts.values(), lab.arbiter, lab.client].map((host) => host.initPid) }));
`,
    );
    const owner = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const line = await new Promise<string>((resolve) => createInterface(owner.stdout).once('line', resolve));
    const { id, inits }: { id: string; inits: number[] } = JSON.parse(line);
    const kinds = ['net', 'mnt', 'pid', 'uts', 'ipc', 'cgroup'];
    const made = {
      id,
      namespaces: inits.flatMap((pid) => kinds.map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`))),
    };
    const gone = new Promise((resolve) => owner.once('exit', resolve));
    owner.kill('SIGKILL');
    await gone;
    const rest = () => traces({ ...made, id: 'none' });
    await until(() => rest().length === 0, { deadlineMs: 5000, what: 'its namespaces to end' });
    const swept = async () => {
      const next = await Lab.create({ hosts: [] });
      await next.close();
      return traces(made).length === 0;
    };
    await until(swept, { deadlineMs: 20_000, what: 'its files and control groups to be swept' });
    await rm(join(script, '..'), { recursive: true });
  });

  test('two laboratories run side by side without hearing each other', async () => {
    await using one = await Lab.create({ hosts: ['alice'] });
    await using other = await Lab.create({ hosts: ['bob'] });
    assert.notEqual(one.id, other.id);
    assert.ok(await reaches(one.client, '192.0.2.11'));
    await one.host('alice').powerCut();
    assert.equal(await reaches(one.client, '192.0.2.11'), false);
    assert.ok(await reaches(other.client, '192.0.2.11'));
  });
});
