import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Addresses, silent } from '../system/index.ts';
import { noCgroups, testCgroups, until } from '../system/testing.ts';
import { DrbdResource, drbdResources } from './drbd.ts';
import { dumpXml, events84, FakeDrbd, type Shown } from './drbd-testing.ts';
import type { ResourceContext } from './ports.ts';
import type { CopyFacts, Outcome } from './resource.ts';

const fakes: FakeDrbd[] = [];
after(() => {
  for (const fake of fakes) fake.remove();
});

function fakeDrbd(version?: '8.4.11' | '9.2.14'): FakeDrbd {
  const fake = new FakeDrbd(version);
  fakes.push(fake);
  return fake;
}

const announcer = { announce: () => Promise.resolve(), probe: () => Promise.resolve({ taken: false } as const) };

function contextOf(cgroups: ResourceContext['cgroups']): ResourceContext {
  return { group: 'db', announcer, addresses: new Addresses(silent), cgroups, lifetimeSeconds: () => 4, log: silent };
}

const create = (fake: FakeDrbd, cgroups: ResourceContext['cgroups'], host = 'n1', resource = 'r0') =>
  DrbdResource.create({ type: 'drbd', resource }, contextOf(cgroups), { drbd: fake.drbd, watch: fake.watch, host });

const reasonOf = (outcome: Outcome) => (outcome.ok ? 'it succeeded' : `${outcome.severity}: ${outcome.reason}`);

describe('a DRBD resource', { skip: noCgroups() ?? false }, () => {
  const cgroups = noCgroups() === undefined ? testCgroups() : undefined;

  async function resourceOf(fake: FakeDrbd, timeouts = {}): Promise<DrbdResource> {
    const created = await DrbdResource.create({ type: 'drbd', resource: 'r0', timeouts }, contextOf(cgroups), {
      drbd: fake.drbd,
      watch: fake.watch,
      host: 'n1',
    });
    assert.ok(created instanceof DrbdResource, 'problem' in created ? created.problem : '');
    return created;
  }
  const signal = () => AbortSignal.timeout(10_000);

  it('makes the Primary role exclusive, by the name of the resource', async () => {
    const resource = await resourceOf(fakeDrbd());
    assert.deepEqual(await resource.holdings(), [{ kind: 'drbd', resource: 'r0' }]);
  });

  it('is refused with what to do where it cannot be run', async () => {
    const table: readonly [
      what: string,
      prepare: (fake: FakeDrbd) => void,
      host: string,
      name: string,
      problem: RegExp,
    ][] = [
      [
        'no such resource',
        () => undefined,
        'n1',
        'r1',
        /drbd r1: .*no such resource; it has r0 \(.*drbdadm sh-resources/,
      ],
      ['another machine', () => undefined, 'n9', 'r0', /name n1, n2, and this machine is n9 \(uname -n\)/],
      [
        'one host only',
        (fake) => fake.configures(dumpXml({ hosts: ['n1'] })),
        'n1',
        'r0',
        /an `on` section for each node/,
      ],
      [
        'a broken file',
        (fake) => fake.complains("/etc/drbd.d/r0.res:3: Parse error: 'x' expected"),
        'n1',
        'r0',
        /cannot be read: .*r0\.res:3: Parse error/,
      ],
      ['no drbd-utils', (fake) => fake.remove(), 'n1', 'r0', /apt-get install drbd-utils/],
    ];
    for (const [what, prepare, host, name, problem] of table) {
      const fake = fakeDrbd();
      prepare(fake);
      const created = await create(fake, cgroups, host, name);
      assert.match('problem' in created ? created.problem : 'it was made', problem, what);
    }
    const without = await create(fakeDrbd(), undefined);
    assert.match('problem' in without ? without.problem : '', /no cgroup v2/);
  });

  it('is Primary after a start and Secondary after a stop, and both may be repeated', async () => {
    const fake = fakeDrbd();
    fake.obeys();
    const resource = await resourceOf(fake);
    for (let time = 0; time < 2; time++) assert.deepEqual(await resource.start(signal()), { ok: true });
    assert.deepEqual(await resource.probe({ recurring: false, signal: signal() }), { state: 'running' });
    for (let time = 0; time < 2; time++) assert.deepEqual(await resource.stop(signal()), { ok: true });
    assert.deepEqual(await resource.probe({ recurring: true, signal: signal() }), { state: 'stopped' });
    assert.deepEqual(fake.log, ['drbdadm primary r0', 'drbdadm secondary r0']);
  });

  it('is brought up by a start where the kernel does not know it', async () => {
    const fake = fakeDrbd();
    fake.obeys();
    fake.knowsNothing();
    const resource = await resourceOf(fake);
    assert.deepEqual(await resource.start(signal()), { ok: true });
    assert.deepEqual(fake.log, ['drbdadm up r0', 'drbdadm primary r0']);
  });

  it('is not promoted with data that is old or incomplete', async () => {
    for (const disk of ['Inconsistent', 'Outdated', 'Diskless', 'Failed', 'DUnknown']) {
      const fake = fakeDrbd();
      fake.obeys({ disk });
      fake.shows(events84({ disk }));
      const outcome = await (await resourceOf(fake)).start(signal());
      assert.match(reasonOf(outcome), new RegExp(`^hard: r0 is ${disk} here and is not promoted`));
      assert.deepEqual(fake.log, []);
    }
  });

  it('waits for a Primary that DRBD still believes in, and says so when that lasts', async () => {
    const fake = fakeDrbd();
    const refused = `echo "0: State change failed: (-1) Multiple primaries not allowed by config" >&2; exit 11`;
    fake.answers('primary', refused);
    const long = await (await resourceOf(fake, { startMs: 1_500 })).start(signal());
    assert.match(reasonOf(long), /^soft: r0 is still Primary on a peer/);
    assert.ok(fake.log.length > 1, 'it is tried again');
    const resource = await resourceOf(fake);
    const start = resource.start(signal());
    await until('it is refused once more', () => fake.log.length > 4);
    fake.obeys();
    assert.deepEqual(await start, { ok: true });
  });

  it('says what DRBD lacks, with the next step', async () => {
    const table: readonly [said: string, reason: RegExp][] = [
      [
        '0: State change failed: (-2) Need access to UpToDate data',
        /^hard: .*no UpToDate data here; .*drbdadm status r0/,
      ],
      ['0: Failure: (118) IO error(s) occurred', /^soft: drbdadm: 0: Failure/],
      [
        '/etc/drbd.conf: in resource r0, on n1:\n  IP 10.77.0.1 not found on this host.',
        /^soft: the address .* of r0 .* ip -br address/,
      ],
      ["'r0' not defined in your config (for this host).", /no resource r0 for this machine.*sh-resources/],
    ];
    for (const [said, reason] of table) {
      const fake = fakeDrbd();
      fake.answers('primary', `echo "${said}" >&2; exit 17`);
      assert.match(reasonOf(await (await resourceOf(fake)).start(signal())), reason);
    }
    const fake = fakeDrbd();
    fake.knowsNothing();
    fake.unloads();
    fake.answers('up', 'echo "Failed to modprobe drbd (No such file or directory)" >&2; exit 20');
    assert.match(reasonOf(await (await resourceOf(fake)).start(signal())), /no drbd module loaded \(modprobe drbd/);
  });

  it('a Consistent copy waits for the word of the handler, although DRBD only complains of the data', async () => {
    const fake = fakeDrbd();
    fake.shows(events84({ disk: 'Consistent', connection: 'Connecting', peerDisk: 'DUnknown' }));
    fake.answers('primary', 'echo "0: State change failed: (-2) Need access to UpToDate data" >&2; exit 17');
    const outcome = await (await resourceOf(fake, { startMs: 1_500 })).start(signal());
    assert.match(reasonOf(outcome), /^soft: DRBD does not promote r0 before its peer is outdated, and the fence-peer/);
    assert.ok(fake.log.length > 1, 'it is tried again');
  });

  it('a start that is called off promotes nothing', async () => {
    const fake = fakeDrbd();
    fake.obeys();
    const outcome = await (await resourceOf(fake)).start(AbortSignal.abort());
    assert.equal(outcome.ok, false);
    assert.deepEqual(fake.log, []);
  });

  it('a stop waits for who still has the device open', async () => {
    const fake = fakeDrbd();
    fake.shows(events84({ role: 'Primary' }));
    fake.answers('secondary', 'echo "0: State change failed: (-12) Device is held open by someone" >&2; exit 11');
    const resource = await resourceOf(fake, { stopMs: 1_500 });
    assert.match(reasonOf(await resource.stop(signal())), /^soft: the device of r0 is held open; lsof/);
    const again = (await resourceOf(fake)).stop(signal());
    await until('it is tried again', () => fake.log.length > 3);
    fake.obeys();
    assert.deepEqual(await again, { ok: true });
  });

  it('by force: 9 gives the role up, 8.4 lets a frozen disk go first, and what is not Primary is left alone', async () => {
    const forced = async (version: '8.4.11' | '9.2.14', shown: Shown) => {
      const fake = fakeDrbd(version);
      fake.obeys();
      fake.shows(events84(shown));
      assert.deepEqual(await (await resourceOf(fake)).forceStop(signal()), { ok: true });
      return fake.log;
    };
    assert.deepEqual(await forced('9.2.14', { role: 'Primary' }), ['drbdsetup secondary r0 --force']);
    assert.deepEqual(await forced('8.4.11', { role: 'Primary' }), ['drbdsetup secondary 0']);
    assert.deepEqual(await forced('8.4.11', { role: 'Primary', suspended: 'fencing' }), [
      'drbdsetup detach 0 --force',
      'drbdsetup resume-io 0',
      'drbdsetup secondary 0',
    ]);
    assert.deepEqual(await forced('8.4.11', { role: 'Secondary' }), []);
  });

  it('by force: what is frozen stays so when its disk could not be detached', async () => {
    const fake = fakeDrbd();
    fake.obeys();
    fake.shows(events84({ role: 'Primary', suspended: 'fencing', connection: 'Connecting', peerDisk: 'DUnknown' }));
    fake.answers('detach', 'kill -9 $$');
    assert.match(reasonOf(await (await resourceOf(fake)).forceStop(signal())), /^soft: drbdadm: it ended with SIGKILL/);
    assert.deepEqual(fake.log, ['drbdsetup detach 0 --force']);
  });

  it('by force: not where a guard that has fired kills everything', async () => {
    const fake = fakeDrbd();
    fake.obeys();
    fake.shows(events84({ role: 'Primary', suspended: 'fencing', connection: 'Connecting', peerDisk: 'DUnknown' }));
    fake.answers('detach', 'cat /proc/self/cgroup > "$1/cgroup"');
    assert.deepEqual(await (await resourceOf(fake)).forceStop(signal()), { ok: true });
    assert.equal(
      readFileSync(join(fake.dir, 'cgroup'), 'utf8'),
      readFileSync('/proc/self/cgroup', 'utf8'),
      'it runs where this process does',
    );
  });

  it('a monitor tells what a Primary works with', async () => {
    const table: readonly [shown: Shown, expected: RegExp][] = [
      [
        { role: 'Primary', suspended: 'fencing', connection: 'Connecting', peerDisk: 'DUnknown' },
        /running.*writes of r0 are frozen \(fencing\).*coordinator/,
      ],
      [{ role: 'Primary', disk: 'Diskless' }, /running.*its disk here is Diskless; it works by that of its peer/],
      [
        { role: 'Primary', disk: 'Failed', connection: 'Connecting', peerDisk: 'DUnknown' },
        /failed.*hard.*it has no data/,
      ],
    ];
    for (const [shown, expected] of table) {
      const fake = fakeDrbd();
      fake.shows(events84(shown));
      const probe = await (await resourceOf(fake)).probe({ recurring: true, signal: signal() });
      assert.match(JSON.stringify(probe), expected);
    }
  });

  it('a Primary whose role or disk is lost is told of at once', async () => {
    const fake = fakeDrbd();
    fake.shows(events84({ role: 'Primary' }));
    const resource = await resourceOf(fake);
    const told: string[] = [];
    const unwatch = resource.watch((what) => told.push(what));
    fake.shows(events84({ role: 'Secondary' }));
    assert.match(await until('it is told', () => told[0]), /DRBD: Secondary/);
    unwatch();
  });

  describe('standing work', () => {
    async function attended(fake: FakeDrbd) {
      const resource = await resourceOf(fake);
      const told: CopyFacts[] = [];
      const attendance = resource.attend((copy) => told.push(copy));
      after(() => attendance.end());
      await attendance.look();
      return { resource, told, attendance, last: () => told.at(-1) };
    }

    it('brings it up where nobody has, once in a while, and says what is in the way', async () => {
      const fake = fakeDrbd();
      fake.obeys();
      fake.knowsNothing();
      const { last } = await attended(fake);
      assert.deepEqual(fake.log, ['drbdadm up r0']);
      assert.equal(last()?.disk, 'UpToDate');
      const broken = fakeDrbd();
      broken.knowsNothing();
      broken.answers('up', 'echo "No valid meta data found" >&2; exit 20');
      const { last: seen, attendance } = await attended(broken);
      await attendance.look();
      assert.deepEqual(broken.log, ['drbdadm up r0'], 'not again at once');
      assert.equal(seen()?.disk, 'Unconfigured');
      assert.match(seen()?.problem ?? '', /drbdadm create-md r0/);
    });

    it('what was made and then failed is brought up again; what has lost its disk is not', async () => {
      const fake = fakeDrbd();
      fake.shows(events84({ disk: 'Diskless', connection: 'StandAlone', peerDisk: 'DUnknown' }));
      fake.answers('up', 'echo "No valid meta data found" >&2; exit 1');
      const { last } = await attended(fake);
      assert.deepEqual(fake.log, ['drbdadm up r0']);
      assert.match(last()?.problem ?? '', /drbdadm create-md r0/);
      const lost = fakeDrbd();
      lost.shows(events84({ disk: 'Diskless' }));
      await attended(lost);
      assert.deepEqual(lost.log, []);
    });

    it('takes down and up again what a forced stop has taken the disk from', async () => {
      const fake = fakeDrbd();
      fake.obeys({ disk: 'Diskless' });
      fake.shows(events84({ role: 'Primary', suspended: 'fencing', connection: 'Connecting', peerDisk: 'DUnknown' }));
      const { resource, attendance, last } = await attended(fake);
      fake.answers('down', 'echo "exists -" > "$1/state"');
      assert.deepEqual(await resource.forceStop(signal()), { ok: true });
      fake.obeys();
      await attendance.look();
      await until('it is up again', () => last()?.disk === 'UpToDate');
      assert.deepEqual(fake.log, [
        'drbdsetup detach 0 --force',
        'drbdsetup resume-io 0',
        'drbdsetup secondary 0',
        'drbdsetup down r0',
        'drbdadm up r0',
      ]);
    });

    it('one look that fails says nothing of the copy; the next says what is wrong', async () => {
      const fake = fakeDrbd();
      const { attendance, told, last } = await attended(fake);
      await until('the watch has had it looked at as well', () => told.length >= 2);
      await attendance.look();
      rmSync(join(fake.dir, 'state'));
      assert.equal(await attendance.look(), false);
      assert.deepEqual([last()?.disk, last()?.problem], ['UpToDate', undefined]);
      assert.equal(await attendance.look(), false);
      assert.match(last()?.problem ?? '', /events2/);
    });

    it('tells the copy, whether it waits for the coordinator, and every change', async () => {
      const fake = fakeDrbd();
      const { last } = await attended(fake);
      const { config, ...told } = last() ?? assert.fail('nothing was told');
      assert.match(config ?? '', /^[0-9a-f]{6}(\.[0-9a-f]{6}){8}$/);
      const peer = { host: 'n2', connection: 'Connected', role: 'Secondary', disk: 'UpToDate' };
      assert.deepEqual(told, {
        name: 'r0',
        host: 'n1',
        role: 'Secondary',
        disk: 'UpToDate',
        guarded: true,
        peers: [peer],
      });
      fake.shows(events84({ connection: 'Connecting', peerDisk: 'DUnknown', peerRole: 'Unknown' }));
      await until('the change is told', () => last()?.peers[0]?.connection === 'Connecting');
    });

    it('is guarded only when the kernel freezes and the handler is ours', async () => {
      const handler = { 'fence-peer': '/usr/lib/drbd/crm-fence-peer.sh' };
      const other = fakeDrbd();
      other.configures(dumpXml({ handlers: handler }));
      assert.equal((await attended(other)).last()?.guarded, false);
    });

    it('is not guarded while the kernel has never answered, which is asked again soon', async () => {
      const fake = fakeDrbd();
      fake.mutes(true);
      const { last } = await attended(fake);
      assert.equal(last()?.guarded, false);
      fake.mutes(false);
      await until('the kernel has answered', () => last()?.guarded === true);
    });

    it('a connection that was ended stays ended: it is told, with the generation and the next step', async () => {
      const fake = fakeDrbd();
      fake.generation('9F2C6B0D4E8A1357:1111111111111110:2222222222222222:3333333333333332:1:1:0:1:0:0:0');
      fake.shows(events84({ connection: 'StandAlone', peerDisk: 'DUnknown', peerRole: 'Unknown', outOfSync: 2048 }));
      const { last } = await attended(fake);
      assert.equal(last()?.generation, '9F2C6B0D4E8A1357:1111111111111110:2222222222222222:3333333333333332');
      assert.equal(last()?.peers[0]?.behindKiB, 2048);
      assert.match(last()?.problem ?? '', /StandAlone.*drbdadm connect r0, on both nodes/);
      assert.deepEqual(fake.log, []);
    });

    it('a Primary that was left StandAlone on meeting another one connects anew, by itself and not at once again', async () => {
      const fake = fakeDrbd();
      const alone = events84({ role: 'Primary', connection: 'StandAlone', peerDisk: 'Outdated', peerRole: 'Unknown' });
      fake.shows(events84({ role: 'Primary', connection: 'Connecting', peerDisk: 'Outdated', peerRole: 'Unknown' }));
      const { attendance, told, last } = await attended(fake);
      await until('the watch has had it looked at as well', () => told.length >= 2);
      fake.shows(alone);
      await until('it is connected anew', () => fake.log.includes('drbdadm connect r0'));
      await attendance.look();
      await attendance.look();
      assert.deepEqual(fake.log, ['drbdadm connect r0']);
      assert.match(last()?.problem ?? '', /refused its peer.*connected anew every 10 s/);
    });

    it('a Primary that a person has disconnected from its peer is left so', async () => {
      const fake = fakeDrbd();
      fake.shows(events84({ role: 'Primary' }));
      const { attendance, told, last } = await attended(fake);
      await until('the watch has had it looked at as well', () => told.length >= 2);
      fake.shows(events84({ role: 'Primary', connection: 'StandAlone', peerDisk: 'Outdated', peerRole: 'Unknown' }));
      await until('it is told', () => /drbdadm connect r0/.test(last()?.problem ?? ''));
      await attendance.look();
      assert.deepEqual(fake.log, []);
    });

    it('says that it is about to be Primary before the kernel can make it so', async () => {
      const fake = fakeDrbd();
      fake.answers('primary', 'while [ ! -e "$1/go" ]; do sleep 0.05; done');
      const { resource, attendance, last } = await attended(fake);
      const calledOff = new AbortController();
      const start = resource.start(AbortSignal.any([calledOff.signal, signal()]));
      await until('it is being promoted', () => fake.log.includes('drbdadm primary r0'));
      await attendance.look();
      assert.equal(last()?.role, 'Promoting');
      calledOff.abort();
      await start;
      await attendance.look();
      assert.equal(last()?.role, 'Secondary');
    });
  });
});

it('the names in the configuration of this node are what its policy allows by default', async () => {
  const fake = fakeDrbd();
  assert.deepEqual(await drbdResources(fake.drbd), ['r0']);
  fake.remove();
  assert.deepEqual(await drbdResources(fake.drbd), []);
});
