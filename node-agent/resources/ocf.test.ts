import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Addresses, type Log } from '../system/index.ts';
import { isAlive, noCgroups, testCgroups, until } from '../system/testing.ts';
import type { OcfDeclaration } from './declaration.ts';
import { OcfResource } from './ocf.ts';
import { MetadataCache } from './ocf-agents.ts';
import type { ResourceContext } from './ports.ts';

const root = mkdtempSync(join(tmpdir(), 'holdfast-ocf-'));
after(() => rmSync(root, { recursive: true, force: true }));
const agents = join(root, 'resource.d', 'test');
const state = join(root, 'state');
mkdirSync(agents, { recursive: true });
mkdirSync(state);

function install(name: string, script: string): void {
  writeFileSync(join(agents, name), `#!/bin/sh\n${script}`, { mode: 0o755 });
}

const METADATA = `cat <<'END'
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="knob" version="1.0"><version>1.0</version>
<parameters>
<parameter name="start" required="0"><longdesc lang="en">code < or > word</longdesc><content type="string"/></parameter>
<parameter name="stop"><content type="string" default="never passed on"/></parameter>
<parameter name="monitor"><content type="string"/></parameter>
<parameter name="count"><content type="integer" default="3"/></parameter>
<parameter name="flag"><content type="boolean" default="false"/></parameter>
</parameters>
<actions>
<action name="start" timeout="11s"/><action name="stop" timeout="12s"/>
<action name="monitor" depth="0" timeout="13s" interval="14s"/><action name="monitor" depth="10" timeout="1s" interval="1s"/>
</actions></resource-agent>
END
exit 0`;

// Does what the parameter named like the action says: an exit code, or a word. Its daemon has a pid file as most have.
install(
  'knob',
  `[ "$1" = meta-data ] && { ${METADATA}
}
pidfile="$HA_RSCTMP/$OCF_RESOURCE_INSTANCE.pid"
# A process that nobody has reaped yet (state Z) is dead.
alive() { [ -s "$pidfile" ] && read -r line 2>/dev/null < "/proc/$(cat "$pidfile")/stat" && case "$line" in *") Z "*) false;; esac; }
daemon() { sleep 600 & echo $! > "$pidfile"; }
case "$1" in start) what=$OCF_RESKEY_start;; stop) what=$OCF_RESKEY_stop;; monitor) what=$OCF_RESKEY_monitor;; esac
case "$1-$what" in
  *-[0-9]*) echo "ocf-exit-reason:first" >&2; echo "ocf-exit-reason:$1 was told to say $what" >&2; exit "$what";;
  *-env) env > "$HA_RSCTMP/env.$1"; cat /proc/self/cgroup >> "$HA_RSCTMP/env.$1"; exit 0;;
  start-hang) daemon; setsid sleep 600 & echo $! > "$HA_RSCTMP/child.pid"; sleep 600;;
  stop-lie) rm -f "$pidfile"; exit 0;;
  *-chatter) i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); done; exit 1;;
  start-*) alive || daemon; exit 0;;
  stop-*) alive && kill -9 "$(cat "$pidfile")"; rm -f "$pidfile"; exit 0;;
  monitor-*) alive && exit 0; exit 7;;
esac
exit 3
`,
);

const warnings: string[] = [];
const log: Log = { info: () => undefined, warn: (message) => warnings.push(message) };
const signal = () => AbortSignal.timeout(20_000);
const pidOf = (id: string) => Number(readFileSync(join(state, `${id}.pid`), 'utf8'));

test('OCF', { skip: noCgroups() }, async (t) => {
  const cgroups = testCgroups();
  const context: ResourceContext = {
    group: 'g',
    announcer: { announce: async () => undefined, probe: async () => ({ taken: false }) },
    addresses: new Addresses(),
    cgroups,
    lifetimeSeconds: () => 10,
    log,
  };
  const options = { root, stateDirectory: state, metadata: new MetadataCache() };
  const create = (params: Record<string, string>, more: Partial<OcfDeclaration> = {}) =>
    OcfResource.create({ type: 'ocf', agent: 'test:knob', params, ...more }, context, options);
  const make = async (id: string, params: Record<string, string> = {}, more: Partial<OcfDeclaration> = {}) => {
    const resource = await create(params, { id, ...more });
    if ('problem' in resource) throw new Error(resource.problem);
    return resource;
  };
  const probe = (resource: OcfResource, recurring = false) => resource.probe({ recurring, signal: signal() });

  await t.test('a life: stopped, started, seen, monitored, stopped; each action twice is fine', async () => {
    const resource = await make('life');
    const path = join(cgroups.root, 'g', 'life');
    assert.deepEqual(await resource.holdings(), [{ kind: 'cgroup', path }]);
    assert.deepEqual(await probe(resource), { state: 'stopped' });
    for (let n = 0; n < 2; n += 1) assert.deepEqual(await resource.start(signal()), { ok: true });
    assert.deepEqual(await probe(resource), { state: 'running' });
    assert.deepEqual(await probe(resource, true), { state: 'running' });
    assert.match(readFileSync(join(path, 'cgroup.procs'), 'utf8'), new RegExp(`^${pidOf('life')}$`, 'm'));
    for (let n = 0; n < 2; n += 1) assert.deepEqual(await resource.stop(signal()), { ok: true });
    assert.deepEqual(await probe(resource), { state: 'stopped' });
  });

  await t.test('times come from the meta-data of level 0 unless the document has its own', async () => {
    assert.deepEqual((await make('t')).times, {
      startMs: 11_000,
      stopMs: 12_000,
      monitorMs: 13_000,
      monitorIntervalMs: 14_000,
    });
    assert.equal((await make('t', {}, { timeouts: { stopMs: 5 } })).times.stopMs, 5);
  });

  await t.test('the environment is that of the specification and nothing else', async () => {
    process.env.LD_LIBRARY_PATH = '/evil';
    const resource = await make('env', { start: 'env', monitor: 'env' });
    await resource.start(signal());
    const read = (action: string) => readFileSync(join(state, `env.${action}`), 'utf8');
    const lines = read('start')
      .split('\n')
      .filter((line) => /^[A-Za-z_]+=/.test(line) && !/^(PWD|OLDPWD|SHLVL|_)=/.test(line));
    assert.deepEqual(lines.sort(), [
      'HA_LOGFACILITY=none',
      `HA_RSCTMP=${state}`,
      'HA_debug=0',
      'LC_ALL=C',
      'OCF_CHECK_LEVEL=0',
      'OCF_RA_VERSION_MAJOR=1',
      'OCF_RA_VERSION_MINOR=1',
      'OCF_RESKEY_CRM_meta_interval=0',
      'OCF_RESKEY_CRM_meta_name=start',
      'OCF_RESKEY_CRM_meta_timeout=11000',
      'OCF_RESKEY_monitor=env',
      'OCF_RESKEY_start=env',
      'OCF_RESOURCE_INSTANCE=env',
      'OCF_RESOURCE_PROVIDER=test',
      'OCF_RESOURCE_TYPE=knob',
      `OCF_ROOT=${root}`,
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ]);
    assert.match(read('start'), /^0::.*\/g\/env$/m);
    await probe(resource);
    assert.match(read('monitor'), /^OCF_RESKEY_CRM_meta_interval=0$/m);
    assert.match(read('monitor'), /^0::.*\/g\/\.ops\/[\d-]+$/m);
    await probe(resource, true);
    assert.match(read('monitor'), /^OCF_RESKEY_CRM_meta_interval=14000$/m);
  });

  for (const [code, severity] of [
    [1, 'soft'],
    [2, 'hard'],
    [3, 'hard'],
    [4, 'hard'],
    [5, 'hard'],
    [6, 'fatal'],
    [7, 'soft'],
    [99, 'soft'],
  ] as const) {
    await t.test(
      `a start that ends with ${code} is a ${severity} failure with the agent's own last reason`,
      async () => {
        const outcome = await (await make('codes', { start: String(code) })).start(signal());
        assert.ok(!outcome.ok);
        assert.equal(outcome.severity, severity);
        assert.equal(outcome.reason, `start: start was told to say ${code}`);
        assert.match(outcome.output ?? '', /ocf-exit-reason:first/);
      },
    );
  }

  await t.test('monitors are read as Pacemaker reads them', async () => {
    const state = async (code: number, recurring: boolean) => {
      const found = await probe(await make('codes', { monitor: String(code) }), recurring);
      return found.state === 'failed'
        ? found.severity
        : `${found.state}${found.state === 'running' && found.note !== undefined ? ' noted' : ''}`;
    };
    assert.equal(await state(5, false), 'stopped');
    assert.equal(await state(5, true), 'hard');
    assert.equal(await state(3, false), 'hard');
    assert.equal(await state(3, true), 'running noted');
    assert.equal(await state(8, false), 'running noted');
    assert.equal(await state(190, true), 'running noted');
    assert.equal(await state(6, true), 'fatal');
  });

  await t.test('only the end of a long output is kept', async () => {
    const outcome = await (await make('chatter', { start: 'chatter' })).start(signal());
    assert.ok(!outcome.ok && outcome.output !== undefined);
    assert.ok(outcome.output.length <= 4096 && outcome.output.endsWith('line 2999\n'));
  });

  await t.test(
    'a hanging start is killed at its time-out with its daemon and whatever made a session of its own',
    async () => {
      const resource = await make('hang', { start: 'hang' }, { timeouts: { startMs: 400 } });
      const outcome = await resource.start(signal());
      assert.ok(!outcome.ok && outcome.severity === 'soft');
      assert.equal(outcome.reason, 'start did not end within 0.4 s; its processes were killed');
      assert.ok(!isAlive(pidOf('hang')));
      assert.ok(!isAlive(Number(readFileSync(join(state, 'child.pid'), 'utf8'))));
      assert.deepEqual(await probe(resource), { state: 'stopped' });
    },
  );

  await t.test('a start that is called off is killed before the promise settles', async () => {
    const resource = await make('off', { start: 'hang' });
    const abort = new AbortController();
    const started = resource.start(abort.signal);
    await until('the daemon runs', () => existsSync(join(state, 'off.pid')) && isAlive(pidOf('off')));
    abort.abort();
    const outcome = await started;
    assert.ok(!outcome.ok);
    assert.match(outcome.reason, /called off/);
    assert.ok(!isAlive(pidOf('off')));
  });

  await t.test(
    'the end of the last process is an event, but only after a start and not because of a stop',
    async () => {
      const resource = await make('event');
      const said: string[] = [];
      const end = resource.watch((what) => said.push(what));
      await resource.start(signal());
      assert.equal(said.length, 0);
      const killedAt = performance.now();
      process.kill(pidOf('event'), 'SIGKILL');
      await until('told', () => said.length > 0, 1_000);
      t.diagnostic(`daemon killed → told after ${(performance.now() - killedAt).toFixed(1)} ms`);
      assert.deepEqual(said, ['its last process ended']);
      assert.deepEqual(await probe(resource, true), { state: 'stopped' });
      await resource.start(signal());
      await resource.stop(signal());
      assert.equal(said.length, 1);
      const without = await make('event-less', { start: '0', monitor: '0' });
      const endOther = without.watch((what) => said.push(what));
      await without.start(signal());
      assert.deepEqual(await probe(without), { state: 'running' });
      assert.equal(said.length, 1);
      end();
      endOther();
    },
  );

  await t.test('a new agent process that finds the resource running is told of its end too', async () => {
    await (await make('adopt')).start(signal());
    const adopted = await make('adopt');
    const said: string[] = [];
    const end = adopted.watch((what) => said.push(what));
    assert.deepEqual(await probe(adopted), { state: 'running' });
    process.kill(pidOf('adopt'), 'SIGKILL');
    await until('told', () => said.length > 0, 1_000);
    end();
  });

  await t.test('an agent that says stopped while its daemon lives is not believed', async () => {
    const resource = await make('liar', { stop: 'lie' });
    await resource.start(signal());
    const pid = pidOf('liar');
    rmSync(join(state, 'liar.pid'));
    const found = await probe(resource);
    assert.ok(found.state === 'failed');
    assert.match(found.reason, new RegExp(`has processes: sleep \\(${pid}\\)`));
    assert.deepEqual(await resource.stop(signal()), { ok: true });
    assert.ok(!isAlive(pid));
    assert.match(warnings.at(-1) ?? '', /stop succeeded but left sleep/);
    assert.deepEqual(await probe(resource), { state: 'stopped' });
  });

  await t.test('the forced stop kills first, lets the agent tidy up, and believes the monitor alone', async () => {
    const stubborn = await make('stubborn', { stop: '1' });
    await stubborn.start(signal());
    const pid = pidOf('stubborn');
    assert.ok(!(await stubborn.stop(signal())).ok);
    assert.ok(isAlive(pid));
    assert.deepEqual(await stubborn.forceStop(signal()), { ok: true });
    assert.ok(!isAlive(pid));
    const ghost = await make('ghost', { start: '0', stop: '0', monitor: '0' });
    const outcome = await ghost.forceStop(signal());
    assert.ok(!outcome.ok);
    assert.match(outcome.reason, /its monitor says that it still runs/);
  });

  await t.test('wrong parameters are refused, with the right one named', async () => {
    const problem = async (params: Record<string, string>) => {
      const resource = await create(params);
      return 'problem' in resource ? resource.problem : '';
    };
    assert.equal(await problem({ monitr: '0' }), 'knob has no parameter monitr; did you mean monitor?');
    assert.match(await problem({ count: 'many' }), /count must be a whole number, not "many"/);
    assert.match(await problem({ flag: 'perhaps' }), /flag must be true or false/);
    assert.match(await problem({ start: 'a\nb' }), /line end/);
    assert.match(await problem({ start: 'a\0b' }), /NUL/);
    assert.match(await problem({ 'a b': '1' }), /cannot be the name/);
    assert.match(await problem({ 'x=1\nLD_PRELOAD': '/tmp/x' }), /cannot be the name/);
    assert.match(await problem({ CRM_meta_interval: '5' }), /cannot be the name/);
    assert.equal(await problem({ count: '7', flag: 'TRUE' }), '');
    install(
      'needy',
      `cat <<'END'\n<resource-agent name="needy"><parameter name="it" required="1"/></resource-agent>\nEND\n`,
    );
    const needy = await create({}, { agent: 'ocf:test:needy' });
    assert.deepEqual(needy, { problem: 'needy needs the parameter it' });
  });

  await t.test('no name leads out of the agents, and nothing is run that others could have written', async () => {
    for (const agent of [
      'knob',
      'test:../test/knob',
      '../test:knob',
      'test:knob:x',
      'lsb:test:knob',
      'test:',
      ':knob',
      'test:kn ob',
      'test:-k',
      'test:a/b',
    ]) {
      const refused = await create({}, { agent });
      assert.ok('problem' in refused, agent);
      assert.match(refused.problem, /is not an agent name/, agent);
    }
    const problem = async (agent: string) => {
      const resource = await create({}, { agent });
      return 'problem' in resource ? resource.problem : 'none';
    };
    assert.match(await problem('test:missing'), /is not installed: there is no .*missing/);
    install('loose', METADATA);
    chmodSync(join(agents, 'loose'), 0o775);
    assert.match(await problem('test:loose'), /can be written by others/);
    chmodSync(join(agents, 'loose'), 0o755);
    chownSync(join(agents, 'loose'), 65534, 0);
    assert.match(await problem('test:loose'), /belongs to uid 65534/);
    chownSync(join(agents, 'loose'), 0, 0);
    chmodSync(join(agents, 'loose'), 0o644);
    assert.match(await problem('test:loose'), /not an executable file/);
    chmodSync(join(agents, 'loose'), 0o755);
    assert.equal(await problem('test:loose'), 'none');
    chmodSync(agents, 0o777);
    assert.match(await problem('test:knob'), /can be written by others/);
    chmodSync(agents, 0o755);
  });

  await t.test('an agent that was made unsafe later is not started', async () => {
    install('later', METADATA);
    const resource = await make('later', {}, { agent: 'test:later' });
    chmodSync(join(agents, 'later'), 0o757);
    const outcome = await resource.start(signal());
    assert.ok(!outcome.ok && outcome.severity === 'hard');
  });

  await t.test('meta-data is asked for once, and again when the agent was upgraded', async () => {
    const counter = join(root, 'asked');
    const version = (parameter: string) =>
      `echo x >> ${counter}\ncat <<'END'\n<resource-agent name="up"><parameter name="${parameter}"/></resource-agent>\nEND\n`;
    install('up', version('old'));
    await make('up', { old: '1' }, { agent: 'test:up' });
    await make('up', { old: '1' }, { agent: 'test:up' });
    assert.equal(readFileSync(counter, 'utf8'), 'x\n');
    install('up', version('newer'));
    assert.match(JSON.stringify(await create({ old: '1' }, { agent: 'test:up' })), /no parameter old/);
  });

  await t.test('an agent without usable meta-data runs with default times and a warning', async () => {
    install('mute', 'case $1 in meta-data) echo nonsense;; monitor) exit 7;; esac; exit 0');
    const resource = await make('mute', { anything: '1' }, { agent: 'test:mute' });
    assert.deepEqual(resource.times, { startMs: 20_000, stopMs: 20_000, monitorMs: 20_000, monitorIntervalMs: 10_000 });
    assert.match(warnings.at(-1) ?? '', /meta-data of test:mute: no <resource-agent> element; default times/);
    assert.deepEqual(await resource.start(signal()), { ok: true });
  });

  await t.test('no operation leaves its cgroup behind', () => {
    assert.deepEqual(cgroups.group('g').resource('x').processNames(), []);
    const operation = cgroups.group('g').operation();
    assert.ok(operation.remove());
    assert.equal(readdirCount(join(cgroups.root, 'g', '.ops')), 0);
  });
});

function readdirCount(path: string): number {
  return Number(readFileSync(join(path, 'cgroup.stat'), 'utf8').match(/^nr_descendants (\d+)/m)?.[1]);
}
