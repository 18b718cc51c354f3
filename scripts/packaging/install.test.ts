/**
 * The packages installed, upgraded, removed and purged by dpkg, with their maintainer scripts, in a copy of this machine that nothing runs
 * in. Their programs are stand-ins, to be quick; scripts/package.test.ts looks at the real ones.
 */
import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { currentRelease, makePackages } from '../package.ts';
import { isInstalled, Sandbox, sandboxUnavailable } from './testing.ts';

const guard = resolve(import.meta.dirname, '../../dist/holdfast-guard');
const STATE = '/var/lib/holdfast';
const LINKS = '/etc/systemd/system/multi-user.target.wants';
const UNITS = ['holdfast.service', 'holdfast-guard.service', 'holdfast-coordinator.service'];

/** A systemctl that runs nothing, but writes down what it was asked, and whether the agent was to hand over at that moment. */
const SYSTEMCTL = `#!/bin/sh
case "$*" in
*is-active*) exec test -e "/active/$(for last; do :; done; echo "$last")" ;;
*is-enabled*) echo enabled ;;
*) echo "$*$(test ! -e /run/holdfast/hand-over || echo ' (handing over)')" >>/asked ;;
esac
`;

describe('installed by dpkg', { skip: sandboxUnavailable() ?? false }, () => {
  let work = '';
  /** Of two versions: agent, coordinator. */
  const debs: Record<'old' | 'new', readonly string[]> = { old: [], new: [] };

  before(async () => {
    work = mkdtempSync(join(tmpdir(), 'holdfast-install-'));
    const dist = join(work, 'dist');
    mkdirSync(join(dist, 'coordinator'), { recursive: true });
    for (const name of ['holdfast', 'holdfast-guard', 'holdfast-drbd', 'coordinator/workerd'])
      copyFileSync(guard, join(dist, name));
    for (const name of ['worker.js', 'config.capnp']) writeFileSync(join(dist, 'coordinator', name), '');
    const release = await currentRelease();
    debs.old = await makePackages(dist, work, { ...release, version: '0.0.1' });
    debs.new = await makePackages(dist, work, { ...release, version: '0.0.2' });
  });
  after(() => rmSync(work, { recursive: true, force: true }));

  async function installed(): Promise<Sandbox> {
    const sandbox = await Sandbox.make();
    const { code, text } = sandbox.dpkg('-i', ...debs.old);
    equal(code, 0, text);
    match(text, /this machine is no node yet\. Next: holdfast join/);
    match(text, /the administrator's token is \/var\/lib\/holdfast-coordinator\/admin\.token/);
    return sandbox;
  }

  function must(sandbox: Sandbox, program: string, ...args: string[]): string {
    const { code, text } = sandbox.inside(program, ...args);
    equal(code, 0, `${program} ${args.join(' ')}: ${text}`);
    return text.trim();
  }

  /** As if systemd ran in there. @returns what it has been asked since the last time. */
  function pretendSystemd(sandbox: Sandbox): () => string[] {
    mkdirInside(sandbox, '/run/systemd/system');
    sandbox.write('/usr/local/sbin/systemctl', SYSTEMCTL, 0o755);
    // the machine itself may be one that starts nothing when packages are installed
    sandbox.write('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 0\n', 0o755);
    sandbox.write('/asked', '');
    return () => {
      const asked = sandbox.read('/asked').trimEnd().split('\n');
      sandbox.write('/asked', '');
      return asked;
    };
  }

  function mkdirInside(sandbox: Sandbox, path: string): void {
    must(sandbox, 'mkdir', '-p', path);
  }

  test('the coordinator has its user and starts at boot; the agent waits for join', async () => {
    await using sandbox = await installed();
    equal(sandbox.dpkg('--verify', 'holdfast', 'holdfast-coordinator').text, '');
    equal(sandbox.dpkg('--audit').text, '');
    match(
      must(sandbox, 'getent', 'passwd', 'holdfast-coordinator'),
      /:\/var\/lib\/holdfast-coordinator:\/usr\/sbin\/nologin$/,
    );
    equal(must(sandbox, 'stat', '-c', '%U %a', STATE), 'root 700');
    ok(sandbox.has(`${LINKS}/holdfast-coordinator.service`));
    ok(!sandbox.has(`${LINKS}/holdfast.service`));
    match(must(sandbox, 'holdfast', '--version'), /^holdfast-guard /);
  });

  test('systemd has nothing to say against the units', {
    skip: isInstalled('systemd-analyze') ? false : 'systemd-analyze is not installed',
  }, async () => {
    await using sandbox = await installed();
    for (const unit of UNITS) {
      const { text } = sandbox.inside('systemd-analyze', 'verify', `/usr/lib/systemd/system/${unit}`);
      equal(
        text
          .split('\n')
          .filter((line) => line.includes('holdfast'))
          .join('\n'),
        '',
        unit,
      );
    }
  });

  test('an upgrade keeps the state, what was enabled and what an administrator has written', async () => {
    await using sandbox = await installed();
    sandbox.write(`${STATE}/node.json`, '{}');
    sandbox.write('/etc/default/holdfast', 'HOLDFAST_AGENT_OPTIONS="--reset=none"\n');
    must(sandbox, 'systemctl', 'enable', 'holdfast.service');
    must(sandbox, 'systemctl', 'disable', 'holdfast-coordinator.service');
    const { code, text } = sandbox.dpkg('-i', ...debs.new);
    equal(code, 0, text);
    doesNotMatch(text, /no node yet|admin\.token/);
    equal(sandbox.read(`${STATE}/node.json`), '{}');
    match(sandbox.read('/etc/default/holdfast'), /--reset=none/);
    ok(sandbox.has(`${LINKS}/holdfast.service`));
    ok(!sandbox.has(`${LINKS}/holdfast-coordinator.service`), 'what was disabled stays disabled');
  });

  test('an upgrade restarts agent and coordinator, and leaves the guard alone', async () => {
    await using sandbox = await installed();
    const asked = pretendSystemd(sandbox);
    for (const unit of UNITS) sandbox.write(`/active/${unit}`, '');
    equal(sandbox.dpkg('-i', ...debs.new).code, 0);
    const said = asked();
    deepEqual(
      said.filter((line) => !line.includes('daemon-reload')),
      ['--quiet --system restart holdfast.service', '--quiet --system restart holdfast-coordinator.service'],
    );
    match(said[0] ?? '', /daemon-reload/);
  });

  test('an upgrade does not start an agent that was stopped', async () => {
    await using sandbox = await installed();
    const asked = pretendSystemd(sandbox);
    equal(sandbox.dpkg('-i', ...debs.new).code, 0);
    deepEqual(
      asked().filter((line) => /holdfast\.service|holdfast-guard/.test(line)),
      [],
    );
  });

  test('removal has the agent hand over, and only then ends the guard; the state stays', async () => {
    await using sandbox = await installed();
    const asked = pretendSystemd(sandbox);
    sandbox.write(`${STATE}/node.json`, '{}');
    for (const unit of UNITS) sandbox.write(`/active/${unit}`, '');
    sandbox.write('/run/systemd/system/nginx.service.d/zz-holdfast.conf', '[Service]\n');
    sandbox.write('/run/systemd/system/other.service.d/own.conf', '[Service]\n');
    const { code, text } = sandbox.dpkg('-r', 'holdfast-coordinator', 'holdfast');
    equal(code, 0, text);
    deepEqual(
      asked().filter((line) => !line.includes('daemon-reload')),
      ['stop holdfast-coordinator.service', 'stop holdfast.service (handing over)', 'stop holdfast-guard.service'],
    );
    match(text, /the coordinator still knows this node: holdfast node remove/);
    ok(sandbox.has(`${STATE}/node.json`));
    ok(!sandbox.has('/run/holdfast/hand-over'));
    ok(!sandbox.has('/run/systemd/system/nginx.service.d'), 'no unit is left under its rules');
    ok(sandbox.has('/run/systemd/system/other.service.d/own.conf'));
    ok(sandbox.has('/etc/default/holdfast'));
  });

  test('removal waits for a guard that nobody’s unit runs, and ends it', async () => {
    await using sandbox = await installed();
    const program = '/usr/lib/holdfast/holdfast-guard';
    must(sandbox, program, '--state-dir', STATE);
    const pid = sandbox.read(`${STATE}/guard.lock`).trim();
    equal(sandbox.inside('test', '-d', `/proc/${pid}`).code, 0);
    const { code, text } = sandbox.dpkg('-r', 'holdfast-coordinator', 'holdfast');
    equal(code, 0, text);
    equal(sandbox.inside('test', '-d', `/proc/${pid}`).code, 1, 'it has ended');
    doesNotMatch(text, /still guards/);
  });

  test('purging leaves nothing', async () => {
    await using sandbox = await installed();
    sandbox.write(`${STATE}/node.json`, '{}');
    sandbox.write('/var/lib/holdfast-coordinator/admin.token', 'secret', 0o600);
    must(sandbox, 'systemctl', 'enable', 'holdfast.service');
    const { code, text } = sandbox.dpkg('-P', 'holdfast-coordinator', 'holdfast');
    equal(code, 0, text);
    doesNotMatch(text, /warning|not empty/);
    for (const path of [
      STATE,
      '/var/lib/holdfast-coordinator',
      '/usr/lib/holdfast',
      '/etc/default/holdfast',
      `${LINKS}/holdfast.service`,
    ])
      ok(!sandbox.has(path), path);
    equal(sandbox.inside('getent', 'passwd', 'holdfast-coordinator').code, 2);
    equal(sandbox.inside('getent', 'group', 'holdfast-coordinator').code, 2);
    // what dpkg and the tools for users write about themselves
    const theirs =
      /^\/(?:var\/(?:lib\/dpkg|log|cache|backups)\/|etc\/(?:passwd|shadow|group|gshadow|subuid|subgid|\.pwd\.lock))/;
    deepEqual(
      sandbox.changed().filter((path) => !theirs.test(path)),
      [],
    );
  });

  test('a unit that was made by hand is told, since it comes before that of the package', async () => {
    await using sandbox = await Sandbox.make();
    sandbox.write('/etc/systemd/system/holdfast.service', '[Service]\nExecStart=/usr/local/bin/holdfast agent\n');
    const { code, text } = sandbox.dpkg('-i', ...debs.old);
    equal(code, 0, text);
    match(text, /\/etc\/systemd\/system\/holdfast\.service comes before the unit of this package/);
  });

  test('it can be installed again after a removal, as the node that it was', async () => {
    await using sandbox = await installed();
    sandbox.write(`${STATE}/node.json`, '{}');
    must(sandbox, 'systemctl', 'enable', 'holdfast.service');
    equal(sandbox.dpkg('-r', 'holdfast-coordinator', 'holdfast').code, 0);
    const { code, text } = sandbox.dpkg('-i', ...debs.new);
    equal(code, 0, text);
    doesNotMatch(text, /no node yet/);
    ok(sandbox.has(`${LINKS}/holdfast.service`));
    ok(sandbox.has(`${LINKS}/holdfast-coordinator.service`));
  });
});
