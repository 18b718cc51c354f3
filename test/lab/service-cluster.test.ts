/** The whole product with systemd units: two nodes whose PID 1 is systemd, a group of an address and nginx.service. */
import { deepEqual, doesNotMatch, equal, match, notEqual, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { EXIT } from '../../node-agent/cli/exit.ts';
import { runAgentByUnit, saidByAgent } from './agent-unit.ts';
import {
  Client,
  Cluster,
  documentOf,
  type Host,
  Lab,
  labUnavailable,
  monotonicMs,
  repoRoot,
  resources,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? false;
const hosts = ['alice', 'bob'];
const document = documentOf(hosts, [resources.vip, '      - service: nginx']);
const start = () => Cluster.start({ hosts, init: 'systemd', document, allow: ['service=nginx.service'] });

const show = async (host: Host, name: string) =>
  (await host.mustExec(['systemctl', 'show', '--value', '-p', name, 'nginx.service'])).trim();

/** Pids out here of the processes of nginx.service. */
function workers(host: Host): number[] {
  return host.processes().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'nginx';
    } catch {
      return false; // It ended in the meantime.
    }
  });
}

test('a killed unit is back behind its address, an agent that starts again adopts it, a power cut moves it', {
  skip,
  timeout: 180_000,
}, async (t) => {
  await using cluster = await start();
  equal(await cluster.settled('running'), 'alice', 'the first of the `on` list');
  await cluster.healthy();
  const [alice, bob] = [cluster.host('alice'), cluster.host('bob')];
  const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  equal((await web.nextAnswer(10_000)).text, 'alice');
  equal(await show(alice, 'Restart'), 'no');
  equal(await show(bob, 'Restart'), 'no', 'also where it waits, so that a takeover needs no daemon-reload');

  const before = await show(alice, 'MainPID');
  await cluster.product.agent(alice).process?.kill('SIGKILL');
  await cluster.event('resource.adopted', { resource: 'nginx' });
  equal(await cluster.settled('running'), 'alice');
  equal(await show(alice, 'MainPID'), before, 'it was not touched');
  await cluster.healthy();

  const killedMs = monotonicMs();
  const [main] = workers(alice);
  if (main !== undefined) process.kill(main, 'SIGKILL');
  await until(async () => (await show(alice, 'MainPID')) !== before && (await show(alice, 'MainPID')) !== '0', {
    deadlineMs: 10_000,
    what: 'nginx to run again',
  });
  await web.nextAnswer(10_000, monotonicMs());
  const killed = Math.round(web.longestGap(killedMs));
  equal(await cluster.settled('running'), 'alice', 'in place');
  match((await cluster.event('resource.failed', { resource: 'nginx' })).detail, /SIGKILL|ended/);

  const cutMs = monotonicMs();
  await alice.powerCut();
  await cluster.settled('running', { deadlineMs: 30_000, on: 'bob' });
  await until(() => web.lastAnswer?.text === 'bob', { deadlineMs: 10_000, what: 'the web server on bob' });
  const cut = Math.round(web.longestGap(cutMs));

  await alice.boot();
  await cluster.healthy();
  equal(await show(alice, 'ActiveState'), 'inactive', 'nothing of it starts at boot');
  await cluster.product.mustCli(['move', 'web', '--to', 'alice', '--wait', '30s']);
  equal(await show(bob, 'ActiveState'), 'inactive');
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
  deepEqual(await cluster.observer.processOverlaps('nginx', 0), [], 'nginx never ran on two hosts');
  const status = await cluster.status();
  t.diagnostic(
    `outage: killed ${killed} ms, power cut ${cut} ms; starts ${status.groups.web?.resources.map((resource) => `${resource.id} ${resource.startMs} ms`).join(', ')}`,
  );
  await web.stop();
});

test('a frozen agent: the guard kills what the unit runs before another node starts it, and nothing revives it', {
  skip,
  timeout: 120_000,
}, async (t) => {
  await using cluster = await start();
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const alice = cluster.host('alice');
  // nobody but the guard: systemd would start it again by itself, were it not told otherwise
  ok(workers(alice).length > 0);
  const agent = cluster.product.agent(alice);
  agent.restart = 'no';
  agent.kill('SIGSTOP');
  const frozenMs = monotonicMs();
  await until(() => workers(alice).length === 0, { deadlineMs: 15_000, what: 'the guard to kill nginx' });
  const killedMs = monotonicMs() - frozenMs;
  await cluster.settled('running', { on: 'bob', deadlineMs: 30_000 });
  equal(await show(alice, 'ActiveState'), 'failed');
  equal(await show(alice, 'NRestarts'), '0');
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
  deepEqual(await cluster.observer.processOverlaps('nginx', 0), []);
  await agent.process?.exited;
  await agent.start();
  await cluster.healthy();
  t.diagnostic(`killed ${Math.round(killedMs)} ms after the agent was frozen`);
});

test('a unit that is enabled, masked or runs without a lease: named, stopped, and taken back when that is mended', {
  skip,
  timeout: 180_000,
}, async () => {
  await using cluster = await start();
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  const [alice, bob] = [cluster.host('alice'), cluster.host('bob')];
  const restart = async (host: Host, between: () => Promise<unknown>) => {
    await cluster.product.agent(host).stop('SIGTERM');
    await between();
    await cluster.product.agent(host).start();
  };
  const refused = async (reason: RegExp) => {
    let said = '';
    await until(
      async () => {
        const found = (await cluster.why()).candidates.find(({ node }) => node === 'bob')?.reasons;
        const refusal = found?.find(({ rule }) => rule === 'refuses');
        said = refusal?.rule === 'refuses' ? refusal.detail : '';
        return reason.test(said);
      },
      { deadlineMs: 20_000, what: `bob to refuse with ${reason}` },
    );
  };
  await restart(bob, () => bob.mustExec(['systemctl', 'start', 'nginx.service']));
  await cluster.event('resource.stopped-without-lease', { node: 'bob', resource: 'nginx' });
  await until(async () => (await show(bob, 'MainPID')) === '0', { deadlineMs: 10_000, what: 'it to stop' });

  await restart(bob, () => bob.mustExec(['systemctl', 'enable', 'nginx.service']));
  await refused(/nginx\.service is enabled at boot.*; systemctl disable nginx\.service/);
  notEqual((await cluster.product.cli(['move', 'web', '--to', 'bob', '--wait', '5s'])).code, 0);
  await bob.mustExec(['systemctl', 'disable', 'nginx.service']);
  await cluster.healthy('web', 30_000);

  await restart(bob, () => bob.mustExec(['systemctl', 'mask', 'nginx.service']));
  await refused(/nginx\.service is masked on this node; systemctl unmask nginx\.service/);
  const looked = documentOf(hosts, [resources.vip, '      - { service: nginx, interval: 7s }']);
  const applied = await cluster.product.applyWaiting(looked, '30s');
  equal(applied.code, 0, `it is served by alice: ${applied.stderr}`);
  match(
    applied.stderr,
    /^! bob refuses web\/nginx: nginx\.service is masked on this node; systemctl unmask nginx\.service$/m,
  );
  const nowhere = documentOf(['bob'], [resources.vip, '      - { service: nginx, interval: 7s }']);
  const failed = await cluster.product.applyWaiting(nowhere.replace('nodes: [bob]', 'nodes: [alice, bob]'), '5s');
  equal(failed.code, EXIT.timedOut, failed.stderr);
  match(failed.stderr, /after 5 s not served: web/);
  await cluster.product.apply(document);
  equal(await cluster.settled('running', { deadlineMs: 30_000 }), 'alice');
  await bob.mustExec(['systemctl', 'unmask', 'nginx.service']);
  await cluster.healthy('web', 30_000);

  // given back when the configuration does not name it any more
  await cluster.product.apply(documentOf(hosts, [resources.vip]));
  await until(async () => (await show(alice, 'DropInPaths')) === '' && (await show(bob, 'DropInPaths')) === '', {
    deadlineMs: 20_000,
    what: 'the drop-ins to be gone',
  });
  equal(await show(alice, 'ActiveState'), 'inactive');
});

test('a unit on hold: its end does not wait for `fall`, nobody starts it; started by hand it is known again, and goes with the lease', {
  skip,
  timeout: 120_000,
}, async () => {
  const held = documentOf(hosts, [resources.vip, '      - { service: nginx, onFail: hold, fall: 3, interval: 1s }']);
  await using cluster = await Cluster.start({
    hosts,
    init: 'systemd',
    document: held,
    allow: ['service=nginx.service'],
  });
  equal(await cluster.settled('running'), 'alice');
  const alice = cluster.host('alice');
  await alice.mustExec(['systemctl', 'stop', 'nginx.service']);
  const stoppedMs = monotonicMs();
  await cluster.event('resource.held', { resource: 'nginx' });
  await until(() => monotonicMs() - stoppedMs > 3_000, { deadlineMs: 5_000, what: 'several monitors' });
  equal(await show(alice, 'ActiveState'), 'inactive');
  await alice.mustExec(['systemctl', 'start', 'nginx.service']);
  await cluster.event('resource.recovered', { resource: 'nginx' });
  deepEqual(
    (await cluster.status()).groups.web?.resources.map(({ state }) => state),
    ['running', 'running'],
  );
  ok(workers(alice).length > 0);
  await alice.cut();
  await until(() => workers(alice).length === 0 && !cluster.observer.holders(VIP).includes('alice'), {
    deadlineMs: 15_000,
    what: 'the lease to take it along',
  });
  await alice.mend();
});

test('a unit that never becomes active, one that exits at once and one that daemonizes wrongly: named, tried on every node, mended by a cleanup', {
  skip,
  timeout: 180_000,
}, async () => {
  const bad: Readonly<Record<string, readonly [body: string, says: RegExp]>> = {
    never: ['Type=notify\nExecStart=/bin/sleep 1000', /did not become active within 1 s /],
    exits: ['Type=exec\nExecStart=/bin/sh -c "exit 3"', /exit code 3/],
    forks: ['Type=forking\nExecStart=/bin/sleep 1000', /put itself into the background/],
  };
  const units = Object.keys(bad);
  await using cluster = await Cluster.start({
    hosts,
    init: 'systemd',
    document: null,
    allow: units.map((unit) => `service=${unit}.service`),
  });
  const install = async (unit: string, body: string) => {
    for (const host of hosts.map((name) => cluster.host(name))) {
      await host.writeFile(`/etc/systemd/system/${unit}.service`, `[Service]\n${body}\n`);
      await host.mustExec(['systemctl', 'daemon-reload']);
    }
  };
  for (const [unit, [body]] of Object.entries(bad)) await install(unit, body);
  const policy = 'timeouts: { start: 1s }, failures: { count: 2, window: 10m }';
  const groups = units.map((unit) => `  ${unit}: { resources: [{ service: ${unit}, ${policy} }] }\n`);
  await cluster.product.apply(`cluster: lab\nnodes: [alice, bob]\ngroups:\n${groups.join('')}`);
  for (const [unit, [, says]] of Object.entries(bad)) {
    for (const node of hosts)
      match((await cluster.event('group.failed-on-node', { group: unit, node }, 30_000)).detail, says);
    for (const host of hosts)
      match(
        await cluster
          .host(host)
          .mustExec(['systemctl', 'show', '-p', 'MainPID', '-p', 'ControlPID', `${unit}.service`]),
        /MainPID=0\nControlPID=0|ControlPID=0\nMainPID=0/,
        'nothing of it is left',
      );
  }
  for (const unit of units) {
    await cluster.settled('failed', { group: unit });
    await install(unit, 'ExecStart=/bin/sleep 1000');
    await cluster.product.mustCli(['group', 'cleanup', unit, '--wait', '20s']);
    await cluster.settled('running', { group: unit });
  }
});

/** A cluster whose alice runs its agent as a real host does. */
async function withAgentUnit(): Promise<Cluster> {
  const cluster = await Cluster.start({ hosts, init: 'systemd', document: null, allow: ['service=nginx.service'] });
  await runAgentByUnit(cluster, cluster.host('alice'));
  await cluster.product.apply(document);
  equal(await cluster.settled('running'), 'alice');
  await cluster.healthy();
  return cluster;
}

async function poweredOff(alice: Host): Promise<string> {
  await until(() => alice.state.is === 'off', { deadlineMs: 60_000, what: 'the host to power off' });
  return await saidByAgent(alice);
}

test('a host that is shut down hands its group over before it is gone, in order and under the lease', {
  skip,
  timeout: 180_000,
}, async (t) => {
  await using cluster = await withAgentUnit();
  const alice = cluster.host('alice');
  const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  equal((await web.nextAnswer(10_000)).text, 'alice');
  const downMs = monotonicMs();
  await alice.exec(['systemctl', 'poweroff', '--no-block']);
  await until(() => web.lastAnswer?.text === 'bob', { deadlineMs: 40_000, what: 'bob to answer' });
  const answeredMs = monotonicMs() - downMs;
  const log = await poweredOff(alice);
  match(log, /the host is being shut down: what runs here is handed over/);
  match(log, /the agent ends: the host is being shut down, and nothing of it is held here any more/);
  equal((await cluster.why()).lastGrant?.cause, 'released', 'no lease had to run out');
  await cluster.settled('running', { on: 'bob' });
  deepEqual(await cluster.observer.overlaps({ sinceMs: 0 }), []);
  deepEqual(await cluster.observer.processOverlaps('nginx', 0), []);
  t.diagnostic(
    `bob answered ${Math.round(answeredMs)} ms after poweroff; no answers for ${Math.round(web.longestGap(downMs))} ms`,
  );
  await web.stop();
});

test('a host that is shut down while the coordinator is away stops its group by itself, while the lease lasts', {
  skip,
  timeout: 180_000,
}, async (t) => {
  await using cluster = await withAgentUnit();
  const alice = cluster.host('alice');
  await cluster.product.stopCoordinator();
  const downMs = monotonicMs();
  await alice.exec(['systemctl', 'poweroff', '--no-block']);
  await until(() => !cluster.observer.holders(VIP).includes('alice'), { deadlineMs: 15_000, what: 'its stop' });
  t.diagnostic(`address gone ${Math.round(monotonicMs() - downMs)} ms after poweroff`);
  const log = await poweredOff(alice);
  match(log, /the agent ends: the host is being shut down, and nothing of it is held here any more/);
  doesNotMatch(log, /lease of epoch .* lost/, 'gracefully, not by force');
});

test('at shutdown the agent’s unit is stopped first, and can still stop the unit that waits for it', {
  skip,
  timeout: 90_000,
}, async () => {
  await using lab = await Lab.create({ hosts: ['alice'], init: 'systemd' });
  const alice = lab.host('alice');
  const room = (name: string) => JSON.stringify(join(repoRoot, 'node-agent', name));
  await alice.writeFile(
    '/srv/stop.ts',
    `import { writeFileSync } from 'node:fs';
import { Addresses, Cgroups, Systemd, silent } from ${room('system/index.ts')};
import { ServiceResource } from ${room('resources/service.ts')};
setInterval(() => undefined, 60_000);
const context = { group: 'g', addresses: new Addresses(silent), cgroups: Cgroups.locate(), lifetimeSeconds: () => 9, log: silent };
const made = await ServiceResource.create({ type: 'service', unit: 'nginx.service' }, context);
const resource = made.resource ?? made;
if (process.argv[2] === 'start') {
  console.log(JSON.stringify(await resource.start(AbortSignal.timeout(9_000))));
} else {
  const systemd = new Systemd();
  const before = await systemd.activity('nginx.service');
  const stopping = await systemd.isStopping();
  const outcome = await resource.stop(AbortSignal.timeout(9_000));
  writeFileSync('/srv/stopped', JSON.stringify({ before, stopping, outcome }));
}
process.exit(0);
`,
  );
  // The host's own mounts go at shutdown too, and with them the script.
  const needs = `RequiresMountsFor=/srv ${repoRoot} ${process.execPath}`;
  const unit = `[Unit]\n${needs}\n[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/sh -c '${process.execPath} /srv/stop.ts stop >/srv/said 2>&1'\n`;
  await alice.writeFile('/etc/systemd/system/holdfast.service', unit);
  await alice.mustExec(['systemctl', 'daemon-reload']);
  await alice.mustExec(['systemctl', 'start', 'holdfast.service']);
  equal((await alice.mustExec([process.execPath, '/srv/stop.ts', 'start'])).trim(), '{"ok":true}');
  await alice.exec(['systemctl', 'poweroff', '--no-block']);
  await until(() => alice.state.is === 'off', { deadlineMs: 40_000, what: 'the host to power off' });
  const stopped = await alice.readFile('/srv/stopped').catch(async () => alice.readFile('/srv/said'));
  ok(stopped.startsWith('{'), stopped);
  deepEqual(JSON.parse(stopped), {
    before: { active: 'active', sub: 'running', job: true },
    stopping: true,
    outcome: { ok: true },
  });
});
