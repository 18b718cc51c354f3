/** What a service goes through, with a real systemd: `node service.scenarios.ts NAME` on a host made by test/lab/service.test.ts. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Addresses, Cgroups, cgroupAt, DbusError, type Log, Systemd } from '../system/index.ts';
import { isAlive, until } from '../system/testing.ts';
import type { ServiceDeclaration } from './declaration.ts';
import type { ResourceContext } from './ports.ts';
import type { Outcome, Probe } from './resource.ts';
import { releaseUnits, ServiceResource } from './service.ts';

const located = Cgroups.locate();
if ('problem' in located) throw new Error(located.problem);
const warnings: string[] = [];
const log: Log = { info: () => undefined, warn: (message) => warnings.push(message) };
const context: ResourceContext = {
  group: 'g',
  announcer: { announce: async () => undefined, probe: async () => ({ taken: false }) },
  addresses: new Addresses(log),
  cgroups: located,
  lifetimeSeconds: () => 30,
  log,
};
const signal = (ms = 20_000) => AbortSignal.timeout(ms);
let units = 0;

function systemctl(...args: string[]): string {
  return execFileSync('systemctl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
const property = (unit: string, name: string) => systemctl('show', '--value', '-p', name, unit).trim();

/** A unit of its own for each scenario; `[Service]` is implied. */
function install(body: string, name = `t${process.pid}-${++units}.service`): string {
  writeFileSync(`/etc/systemd/system/${name}`, `[Unit]\nDescription=Test\n[Service]\n${body}\n`);
  systemctl('daemon-reload');
  return name;
}

async function service(
  unit: string,
  more: Partial<ServiceDeclaration> = {},
  systemd = new Systemd({ log }),
): Promise<ServiceResource> {
  const resource = await ServiceResource.create({ type: 'service', unit, ...more }, context, { systemd });
  if ('problem' in resource) throw new Error(resource.problem);
  return resource;
}

async function problemOf(unit: string): Promise<string> {
  const resource = await ServiceResource.create({ type: 'service', unit }, context, { systemd: new Systemd({ log }) });
  return 'problem' in resource ? resource.problem : assert.fail(`${unit} was taken`);
}

const probe = (resource: ServiceResource, recurring = true): Promise<Probe> =>
  resource.probe({ recurring, signal: signal() });

async function refusedWith(outcome: Promise<Outcome | Probe>, reason: RegExp, severity = 'soft'): Promise<void> {
  const found = await outcome;
  if (!('reason' in found)) assert.fail(`expected a failure, got ${JSON.stringify(found)}`);
  assert.match(found.reason, reason);
  assert.equal(found.severity, severity);
}

const SLEEP = 'ExecStart=/bin/sleep 1000';
const cgroupOf = async (resource: ServiceResource) => {
  const [holding, ...more] = await resource.holdings();
  assert.deepEqual(more, []);
  return holding?.kind === 'cgroup' ? holding.path : assert.fail('no cgroup');
};

export const scenarios: Readonly<Record<string, () => Promise<string | undefined>>> = {
  'starts, is seen, stops; each is idempotent, and nothing of it is left': async () => {
    const unit = install(`${SLEEP}\nRestart=always\nRestartSec=0`);
    const nginx = await service(unit);
    assert.deepEqual(await probe(nginx, false), { state: 'stopped' });
    const planned = await cgroupOf(nginx);
    assert.equal(existsSync(planned), false);
    const before = performance.now();
    assert.deepEqual(await nginx.start(signal()), { ok: true });
    const startMs = performance.now() - before;
    assert.deepEqual(await nginx.start(signal()), { ok: true });
    assert.deepEqual(await probe(nginx), { state: 'running' });
    assert.deepEqual(await probe(nginx, false), { state: 'running' });
    assert.equal(planned, `/sys/fs/cgroup${property(unit, 'ControlGroup')}`, 'it runs where the guard was told');
    assert.ok(cgroupAt(property(unit, 'ControlGroup'))?.populated());
    assert.equal(property(unit, 'Restart'), 'no');
    assert.match(property(unit, 'Before'), /holdfast\.service/);
    const pid = Number(property(unit, 'MainPID'));
    const stopAt = performance.now();
    assert.deepEqual(await nginx.stop(signal()), { ok: true });
    const stopMs = performance.now() - stopAt;
    assert.deepEqual(await nginx.stop(signal()), { ok: true });
    assert.equal(isAlive(pid), false);
    assert.equal(await cgroupOf(nginx), planned);
    assert.deepEqual(await probe(nginx, false), { state: 'stopped' });
    return `start ${startMs.toFixed(1)} ms, stop ${stopMs.toFixed(1)} ms`;
  },

  'nginx of the package: started by its own unit file, killed, seen at once': async () => {
    const nginx = await service('nginx.service');
    await nginx.holdings();
    const before = performance.now();
    assert.deepEqual(await nginx.start(signal()), { ok: true });
    const startMs = performance.now() - before;
    const { promise, resolve } = Promise.withResolvers<string>();
    const unwatch = nginx.watch(resolve);
    const pid = Number(property('nginx.service', 'MainPID'));
    assert.deepEqual(await probe(nginx), { state: 'running' });
    const killedAt = performance.now();
    process.kill(pid, 'SIGKILL');
    const what = await promise;
    const seenMs = performance.now() - killedAt;
    await refusedWith(probe(nginx), /ended by SIGKILL/);
    const knownMs = performance.now() - killedAt;
    unwatch();
    assert.deepEqual(await nginx.stop(signal()), { ok: true });
    assert.deepEqual(await nginx.start(signal()), { ok: true });
    assert.deepEqual(await nginx.stop(signal()), { ok: true });
    return `start ${startMs.toFixed(1)} ms; killed, then told after ${seenMs.toFixed(1)} ms (${what}), reason known after ${knownMs.toFixed(1)} ms`;
  },

  'a unit that dies is told within milliseconds, twenty times': async () => {
    const died = await service(install(`${SLEEP}\nRestart=always\nRestartForceExitStatus=SIGKILL`));
    const times: number[] = [];
    for (let n = 0; n < 20; n++) {
      assert.deepEqual(await died.start(signal()), { ok: true });
      const { promise, resolve } = Promise.withResolvers<string>();
      const unwatch = died.watch(resolve);
      const [path] = await died.holdings();
      const pid = Number(readFileSync(`${path?.kind === 'cgroup' ? path.path : ''}/cgroup.procs`, 'utf8'));
      const killedAt = performance.now();
      process.kill(pid, 'SIGKILL');
      await promise;
      times.push(performance.now() - killedAt);
      unwatch();
      await refusedWith(probe(died), /ended by SIGKILL/);
      assert.deepEqual(await died.stop(signal()), { ok: true });
    }
    times.sort((a, b) => a - b);
    return `told after: median ${times[10]?.toFixed(1)} ms, longest ${times[19]?.toFixed(1)} ms`;
  },

  'one that exits at once fails, and one that says so itself is told with its exit code': async () => {
    const simple = await service(install('Type=exec\nExecStart=/bin/sh -c "exit 3"'));
    const outcome = await simple.start(signal());
    if (outcome.ok) await refusedWith(probe(simple), /exit code 3/);
    else assert.match(outcome.reason, /exit code 3/);
    assert.deepEqual(await probe(simple, false), { state: 'stopped' }, 'failed, with nothing left, is stopped');
    const notify = await service(install('Type=notify\nExecStart=/bin/sh -c "exit 4"'));
    await refusedWith(notify.start(signal()), /exit code 4/);
    const quiet = await service(install('Type=notify\nExecStart=/bin/true'));
    await refusedWith(quiet.start(signal()), /before it said READY=1/);
    const before = await service(install(`ExecStartPre=/bin/false\n${SLEEP}`));
    await refusedWith(before.start(signal()), /one of its commands failed|exit code 1/);
    const missing = await service(install('Type=exec\nExecStart=/usr/sbin/holdfast-does-not-exist'));
    await refusedWith(missing.start(signal()), /exit code 203|one of its commands failed/);
    const limited = await service(install(`Type=exec\nUser=nobody-of-that-name\n${SLEEP}`));
    await refusedWith(limited.start(signal()), /exit code 217|could not set it up/);
    return undefined;
  },

  'one that never becomes active is killed at the time-out, with the reason': async () => {
    const notify = install('Type=notify\nExecStart=/bin/sh -c "trap : TERM; sleep 1000 & while :; do wait; done"');
    const never = await service(notify, { timeouts: { startMs: 2_000 } });
    await refusedWith(never.start(signal()), /did not become active within 2 s.*READY=1/);
    assert.equal(property(notify, 'MainPID'), '0');
    assert.deepEqual(await probe(never, false), { state: 'stopped' });
    assert.equal(property(notify, 'TimeoutStartUSec'), '7s', 'systemd waits longer than Holdfast');
    const own = await service(install('Type=notify\nTimeoutStartSec=300ms\nExecStart=/bin/sleep 1000'));
    assert.equal(own.times.startMs, 2_300);
    await refusedWith(own.start(signal(2_300)), /time-out of the unit/);
    return undefined;
  },

  'one that daemonizes wrongly: in the foreground with Type=forking, in the background with Type=simple': async () => {
    const foreground = await service(install('Type=forking\nExecStart=/bin/sleep 1000'));
    await refusedWith(foreground.start(signal(2_000)), /put itself into the background/);
    assert.deepEqual(await probe(foreground, false), { state: 'stopped' });
    const pidfile = await service(install('Type=forking\nPIDFile=/run/never.pid\nExecStart=/bin/sh -c "sleep 1000 &"'));
    await refusedWith(pidfile.start(signal(2_000)), /PIDFile=/);
    const gone = await service(install('Type=forking\nPIDFile=/run/never.pid\nExecStart=/bin/true'));
    await refusedWith(gone.start(signal()), /did not keep to Type=forking/);
    const unit = install('ExecStart=/bin/sh -c "sleep 1000 & exit 0"');
    const background = await service(unit);
    const outcome = await background.start(signal());
    if (outcome.ok) {
      await until('systemd to notice', () => property(unit, 'ActiveState') === 'inactive');
      await refusedWith(probe(background), /Type=forking/);
    } else assert.match(outcome.reason, /Type=forking/);
    assert.deepEqual(await background.stop(signal()), { ok: true });
    return undefined;
  },

  'missing, masked, broken, enabled, wanted, aliased and socket-activated units are named, with the way out':
    async () => {
      assert.match(await problemOf('holdfast-nowhere.service'), /does not exist on this node/);
      assert.match(await problemOf('systemd-journald.service'), /is masked on this node; systemctl unmask/);
      assert.match(await problemOf(install('Type=nonsense')), /cannot be loaded/);
      assert.match(await problemOf(install('Type=oneshot\nExecStart=/bin/true')), /oneshot without RemainAfterExit/);
      const enabled = install(`${SLEEP}\n[Install]\nWantedBy=multi-user.target`);
      systemctl('enable', enabled);
      assert.match(await problemOf(enabled), new RegExp(`enabled at boot.*; systemctl disable ${enabled}`));
      systemctl('disable', enabled);
      const fixed = await service(enabled);
      systemctl('enable', enabled);
      await refusedWith(fixed.start(signal()), /enabled at boot/, 'hard');
      systemctl('disable', enabled);
      assert.deepEqual(await fixed.start(signal()), { ok: true });
      await fixed.stop(signal());

      const wanted = install(SLEEP);
      mkdirSync('/etc/systemd/system/lab.target.d');
      writeFileSync('/etc/systemd/system/lab.target.d/wants.conf', `[Unit]\nWants=${wanted}\n`);
      systemctl('daemon-reload');
      assert.match(await problemOf(wanted), /is started by lab\.target/);

      const real = install(`${SLEEP}\n[Install]\nAlias=other-name.service`);
      execFileSync('ln', ['-sf', `/etc/systemd/system/${real}`, '/etc/systemd/system/second-name.service']);
      systemctl('daemon-reload');
      assert.match(await problemOf('second-name.service'), new RegExp(`another name of ${real}`));

      const bySocket = install(SLEEP, 'sock.service');
      writeFileSync('/etc/systemd/system/sock.socket', '[Socket]\nListenStream=/run/sock.test\n');
      systemctl('daemon-reload');
      const quiet = await service(bySocket);
      assert.deepEqual(await probe(quiet, false), { state: 'stopped' }, 'a socket that is not active does no harm');
      systemctl('start', 'sock.socket');
      assert.match(await problemOf(bySocket), /started by sock\.socket.*disable --now sock\.socket/);
      systemctl('stop', 'sock.socket');
      return undefined;
    },

  'what a refused unit runs without a lease can still be stopped': async () => {
    const unit = install(`${SLEEP}\n[Install]\nWantedBy=multi-user.target`);
    systemctl('enable', '--now', unit);
    const refused = await ServiceResource.create({ type: 'service', unit }, context, { systemd: new Systemd({ log }) });
    const resource = 'problem' in refused ? refused.resource : undefined;
    assert.ok(resource !== undefined);
    assert.deepEqual(await probe(resource, false), { state: 'running' });
    assert.deepEqual(await resource.stop(signal()), { ok: true });
    assert.equal(property(unit, 'ActiveState'), 'inactive');
    systemctl('disable', unit);
    return undefined;
  },

  'a stop that hangs is forced: processes killed, the stop commands too, and systemd agrees': async () => {
    const stubborn = install(
      'ExecStart=/bin/sh -c "trap : TERM; sleep 1000 & while :; do wait; done"\nExecStop=/bin/sleep 1000\nExecStopPost=/bin/sleep 1000\nTimeoutStopSec=900',
    );
    const hangs = await service(stubborn, { timeouts: { stopMs: 1_000 } });
    assert.deepEqual(await hangs.start(signal()), { ok: true });
    const main = Number(property(stubborn, 'MainPID'));
    await refusedWith(hangs.stop(signal(1_000)), /does not stop: systemd says deactivating/);
    const before = performance.now();
    assert.deepEqual(await hangs.forceStop(signal()), { ok: true });
    const forcedMs = performance.now() - before;
    assert.equal(isAlive(main), false);
    assert.deepEqual(await probe(hangs, false), { state: 'stopped' });
    return `forced in ${forcedMs.toFixed(1)} ms`;
  },

  'processes that a stop leaves behind are found and killed': async () => {
    const leaves = install('KillMode=process\nExecStart=/bin/sh -c "sleep 1000 & sleep 1000"');
    const resource = await service(leaves);
    assert.deepEqual(await resource.start(signal()), { ok: true });
    const path = await cgroupOf(resource);
    const main = Number(property(leaves, 'MainPID'));
    // what is left of them after the main process is a `sleep`, and not a shell that is about to become one
    const others = () =>
      readFileSync(`${path}/cgroup.procs`, 'utf8')
        .split('\n')
        .filter((pid) => pid !== '' && Number(pid) !== main);
    const named = (pid: string) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    await until('both to run', () => others().length > 0 && others().every((pid) => named(pid) === 'sleep'));
    process.kill(main, 'SIGKILL');
    await until('systemd to notice', () => property(leaves, 'MainPID') === '0');
    await refusedWith(probe(resource), /has processes: sleep|ended by SIGKILL/);
    warnings.length = 0;
    assert.deepEqual(await resource.stop(signal()), { ok: true });
    assert.match(warnings.join(), /its stop left sleep/);
    assert.deepEqual(await probe(resource, false), { state: 'stopped' });
    return undefined;
  },

  'a restart by hand, a reload and a slow activation are no failures': async () => {
    const unit = install('ExecStart=/bin/sleep 1000\nExecReload=/bin/sleep 0.3\nExecStartPre=/bin/sleep 0.2');
    const resource = await service(unit);
    assert.deepEqual(await resource.start(signal()), { ok: true });
    const told: string[] = [];
    const unwatch = resource.watch((what) => told.push(what));
    systemctl('reload', '--no-block', unit);
    await until('it to reload', () => property(unit, 'ActiveState') === 'reloading');
    assert.deepEqual(await probe(resource), { state: 'running' });
    systemctl('restart', '--no-block', unit);
    await until('news', () => told.length > 0);
    assert.deepEqual(await probe(resource), { state: 'running' });
    unwatch();
    systemctl('stop', unit);
    systemctl('start', '--no-block', unit);
    await until('it to begin', () => property(unit, 'ActiveState') === 'activating');
    assert.equal((await probe(resource, false)).state, 'running', 'without a lease it is stopped: it is not down');
    assert.deepEqual(await resource.stop(signal()), { ok: true });
    return told.join('; ');
  },

  'the drop-in is written once, told to systemd once, outlives reloads, and goes with the declaration': async () => {
    const unit = install(`${SLEEP}\nRestart=always\nTimeoutStopSec=7`);
    const path = `/run/systemd/system/${unit}.d/zz-holdfast.conf`;
    mkdirSync(`/etc/systemd/system/${unit}.d`);
    writeFileSync(`/etc/systemd/system/${unit}.d/override.conf`, '[Service]\nRestart=on-failure\n');
    const first = await service(unit, { timeouts: { startMs: 3_000 } });
    assert.equal(first.times.stopMs, 9_000);
    assert.match(readFileSync(path, 'utf8'), /Restart=no\nRestartForceExitStatus=\nTimeoutStartSec=8000ms\n$/);
    assert.equal(property(unit, 'Restart'), 'no', 'whatever systemctl edit has written');
    assert.equal(property(unit, 'NeedDaemonReload'), 'no');
    const counting = new CountingSystemd({ log });
    const second = await service(unit, { timeouts: { startMs: 3_000 } }, counting);
    assert.deepEqual(await second.start(signal()), { ok: true });
    assert.deepEqual(await second.stop(signal()), { ok: true });
    assert.equal(counting.reloads, 0, 'what is in force needs no reload');
    await service(unit, { timeouts: { startMs: 4_000 } }, counting);
    assert.equal(counting.reloads, 1);
    systemctl('daemon-reload');
    assert.equal(property(unit, 'Restart'), 'no');
    writeFileSync(`/etc/systemd/system/${unit}.d/zzz.conf`, '[Service]\nRestart=always\n');
    systemctl('daemon-reload');
    await refusedWith(second.start(signal()), /another drop-in overrules it/, 'hard');
    execFileSync('rm', [`/etc/systemd/system/${unit}.d/zzz.conf`]);
    systemctl('daemon-reload');
    await releaseUnits(new Set([unit]), counting);
    assert.ok(existsSync(path));
    await releaseUnits(new Set(), counting);
    assert.equal(existsSync(path), false);
    assert.equal(property(unit, 'Restart'), 'on-failure', 'given back');
    return undefined;
  },

  'daemon-reload and daemon-reexec: what runs goes on, news go on, a start in the middle arrives': async () => {
    const systemd = new Systemd({ log });
    const unit = install('ExecStartPre=/bin/sleep 0.5\nExecStart=/bin/sleep 1000');
    const resource = await service(unit, {}, systemd);
    const starting = resource.start(signal());
    await until('it to begin', () => property(unit, 'ActiveState') === 'activating');
    systemctl('daemon-reload');
    systemctl('daemon-reexec');
    assert.deepEqual(await starting, { ok: true });
    const told: string[] = [];
    const unwatch = resource.watch((what) => told.push(what));
    const before = performance.now();
    systemctl('daemon-reexec');
    await until('the news that some may be missing', () => told.length > 0);
    const awayMs = performance.now() - before;
    assert.match(told[0] ?? '', /systemd was away/);
    assert.deepEqual(await probe(resource), { state: 'running' });
    systemctl('daemon-reload');
    told.length = 0;
    process.kill(Number(property(unit, 'MainPID')), 'SIGKILL');
    await until('the news of its death', () => told.length > 0);
    await refusedWith(probe(resource), /SIGKILL/);
    assert.deepEqual(await resource.start(signal()), { ok: true });
    const stopping = resource.stop(signal());
    systemctl('daemon-reexec');
    assert.deepEqual(await stopping, { ok: true });
    unwatch();
    return `connected again ${awayMs.toFixed(0)} ms after daemon-reexec was asked for`;
  },

  'a template’s instance runs in its own slice, where the guard was told': async () => {
    install('ExecStart=/bin/sleep %i', 'app@.service');
    const resource = await service('app@1000.service');
    const planned = await cgroupOf(resource);
    assert.deepEqual(await resource.start(signal()), { ok: true });
    assert.equal(planned, `/sys/fs/cgroup${property('app@1000.service', 'ControlGroup')}`);
    assert.match(planned, /system\.slice\/system-app\.slice\/app@1000\.service$/);
    assert.deepEqual(await resource.stop(signal()), { ok: true });
    for (const [unit, slice] of [
      ['memory.service', ''],
      ['_under.service', 'a-b.slice'],
      ['dash-ed.service', '-.slice'],
    ] as const) {
      const odd = await service(install(`${SLEEP}${slice === '' ? '' : `\nSlice=${slice}`}`, unit));
      const expected = await cgroupOf(odd);
      assert.deepEqual(await odd.start(signal()), { ok: true }, unit);
      assert.equal(expected, `/sys/fs/cgroup${property(unit, 'ControlGroup')}`);
      assert.deepEqual(await odd.stop(signal()), { ok: true });
    }
    return undefined;
  },

  'a oneshot that remains is running without a process, and Conditions that do not hold are told': async () => {
    const oneshot = await service(install('Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true'));
    assert.deepEqual(await oneshot.start(signal()), { ok: true });
    assert.deepEqual(await probe(oneshot), { state: 'running' });
    assert.deepEqual(await oneshot.stop(signal()), { ok: true });
    const unit = install(`${SLEEP}\n[Unit]\nConditionPathExists=/nowhere`);
    await refusedWith((await service(unit)).start(signal()), /Condition.*does not hold/, 'hard');
    const needs = install(`${SLEEP}\n[Unit]\nRequires=needed.service\nAfter=needed.service`);
    install('Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/false', 'needed.service');
    await refusedWith((await service(needs)).start(signal()), /unit that it requires did not start/);
    return undefined;
  },

  'by way of the system bus, where systemd’s own socket is not to be had': async () => {
    execFileSync('rm', ['/etc/systemd/system/dbus.service', '/etc/systemd/system/dbus.socket']);
    systemctl('daemon-reload');
    systemctl('start', 'dbus.service');
    const systemd = new Systemd({ log, sockets: [{ path: '/run/dbus/system_bus_socket', bus: true }] });
    const unit = install(SLEEP);
    const resource = await service(unit, {}, systemd);
    const { promise, resolve } = Promise.withResolvers<string>();
    assert.deepEqual(await resource.start(signal()), { ok: true });
    const unwatch = resource.watch(resolve);
    assert.deepEqual(await probe(resource), { state: 'running' });
    process.kill(Number(property(unit, 'MainPID')), 'SIGKILL');
    await promise;
    unwatch();
    await refusedWith(probe(resource), /SIGKILL/);
    assert.deepEqual(await resource.start(signal()), { ok: true });
    assert.deepEqual(await resource.stop(signal()), { ok: true });
    return undefined;
  },

  'without systemd the unit is refused, and a forced stop still kills what it knows': async () => {
    const nowhere = new Systemd({ log, sockets: [{ path: '/run/nowhere', bus: false }] });
    const refused = await ServiceResource.create({ type: 'service', unit: 'x.service' }, context, { systemd: nowhere });
    assert.match('problem' in refused ? refused.problem : '', /systemd does not answer/);
    const systemd = new AbsentSystemd({ log });
    const unit = install(`${SLEEP}\nRestart=always`);
    const resource = await service(unit, {}, systemd);
    assert.deepEqual(await resource.start(signal()), { ok: true });
    const main = Number(property(unit, 'MainPID'));
    systemd.absent = true;
    await refusedWith(resource.stop(signal()), /it is away/);
    assert.deepEqual(await resource.forceStop(signal()), { ok: true });
    assert.equal(isAlive(main), false);
    await until('it to be seen as failed, not started again', () => property(unit, 'ActiveState') === 'failed');
    return undefined;
  },
};

/** Stops answering at some point, as one that is stuck would. */
class AbsentSystemd extends Systemd {
  absent = false;
  override unit(name: string) {
    return this.absent ? Promise.reject(new DbusError('timeout', 'it is away')) : super.unit(name);
  }
}

/** Counts what costs: a reload of all unit files. */
class CountingSystemd extends Systemd {
  reloads = 0;
  override reload(): Promise<void> {
    this.reloads += 1;
    return super.reload();
  }
}

if (import.meta.main) {
  const name = process.argv[2] ?? '';
  const scenario = scenarios[name];
  if (scenario === undefined) throw new Error(`no scenario ${JSON.stringify(name)}`);
  // As the agent's own timers do: a connection to systemd keeps no process alive.
  const alive = setInterval(() => undefined, 60_000);
  const said = await scenario();
  clearInterval(alive);
  if (said !== undefined) process.stdout.write(`${said}\n`);
  process.exit(0);
}
