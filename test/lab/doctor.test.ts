/** The doctor on real hosts: what is broken is named with its fix, the fix is carried out as it stands, and the doctor is content. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseDocument } from 'yaml';
import type { Finding } from '../../node-agent/doctor/index.ts';
import { lanInterface, lanMac, stateDir } from './faults.ts';
import {
  Cluster,
  disksUnavailable,
  documentOf,
  type Host,
  labUnavailable,
  repoRoot,
  resources,
  SharedDisk,
  until,
  VIP,
} from './index.ts';

const skip = labUnavailable() ?? (await disksUnavailable()) ?? false;
const names = ['alice', 'bob'];
const place = '/srv/www';
const document = documentOf(names, [
  resources.vip,
  `      - mount: /dev/shared0 ${place} ext4`,
  '      - service: nginx',
  '      - ocf: { agent: "heartbeat:Dummy" }',
]);
const allow = [`mount=${place}`, 'service=nginx.service', 'ocf=heartbeat:Dummy'];

interface Report {
  readonly exit: number | null;
  readonly findings: readonly Finding[];
}

/** Runs the doctor on a host; with the administrator's token unless it is to look at the node alone. */
async function examine(cluster: Cluster, host: Host, args: readonly string[] = [], alone = false): Promise<Report> {
  const { product, lab } = cluster;
  const token = (await lab.arbiter.readFile(`${product.dataDir}/admin.token`)).trim();
  const env = alone ? {} : { HOLDFAST_TOKEN: token };
  const done = await host.exec([product.binary, 'doctor', '--json', ...args], { env });
  ok(done.stdout.startsWith('{'), done.stderr);
  const { schema, findings } = JSON.parse(done.stdout);
  equal(schema, 'holdfast/doctor/v1');
  return { exit: done.code, findings };
}

/** Of the machine that the laboratory runs on, not of its hosts; and the laboratory starts agents without a unit. */
const OF_THE_MACHINE: readonly Finding['check'][] = ['virtual-machine', 'clock', 'guard', 'agent'];

function wrong({ findings }: Report): Finding[] {
  return findings.filter(({ level, check }) => level !== 'ok' && !OF_THE_MACHINE.includes(check));
}

const shown = (findings: readonly Finding[]) =>
  findings.map(({ check, subject, detail }) => `${check} ${subject}: ${detail}`);

test('things are broken one by one: the doctor names each with its fix, and is content when that was carried out', {
  skip,
  timeout: 300_000,
}, async (t) => {
  await using cluster = await Cluster.start({
    hosts: names,
    init: 'systemd',
    services: ['nginx'],
    allow,
    document: null,
  });
  const [alice, bob] = [cluster.host('alice'), cluster.host('bob')];
  const { client } = cluster.lab;
  await SharedDisk.create(cluster.lab);
  await cluster.product.apply(document);
  await cluster.settled('running', { on: 'alice', deadlineMs: 60_000 });
  await cluster.healthy('web', 40_000);

  const content = async (host: Host) => deepEqual(shown(wrong(await examine(cluster, host))), []);
  /** Breaks it, has it found, mends it. */
  const ailment = async (
    what: string,
    options: {
      host?: Host;
      breaks: () => Promise<unknown>;
      finding: { check: Finding['check']; subject: string; detail: RegExp; fix: RegExp; level?: Finding['level'] };
      /** How the fix is carried out; left out: as a command on the host. */
      mends?: (fix: string) => Promise<unknown>;
    },
  ) =>
    t.test(what, async () => {
      const { host = bob, finding } = options;
      await options.breaks();
      const report = await examine(cluster, host);
      const found = report.findings.find(({ check, detail }) => check === finding.check && finding.detail.test(detail));
      ok(found !== undefined, `${finding.detail} among ${shown(wrong(report)).join('\n')}`);
      equal(found.subject, finding.subject);
      equal(found.level, finding.level ?? 'error');
      match(found.fix ?? '', finding.fix);
      ok(report.exit === 2 || finding.level === 'warning', `exit code ${report.exit}`);
      await (options.mends ?? ((fix) => host.mustExec(['sh', '-c', fix])))(found.fix ?? '');
      await content(host);
    });

  await t.test('nothing is broken: nothing is named, on the owner and on the other', async () => {
    await content(alice);
    await content(bob);
    const here = (await examine(cluster, alice)).findings.find(({ check }) => check === 'addresses');
    match(here?.detail ?? '', /is on eth0 here, and nobody else answers for it/);
    const there = (await examine(cluster, bob)).findings.find(({ check }) => check === 'addresses');
    match(there?.detail ?? '', new RegExp(`${lanMac(alice)} answers for ${VIP} on eth0, while alice runs the group`));
    equal((await cluster.status()).groups.web?.epoch, 1, 'looking has disturbed nothing');
  });

  await t.test(
    'without a token the node is looked at alone, and what only the coordinator knows is unknown',
    async () => {
      const report = await examine(cluster, bob, [], true);
      const address = report.findings.find(({ check }) => check === 'addresses');
      equal(address?.level, 'unknown');
      match(address?.detail ?? '', /cannot be told: the coordinator was not asked/);
      ok(!report.findings.some(({ check }) => check === 'nodes'));
    },
  );

  const policy = `${stateDir}/policy.yaml`;
  await ailment('a line of the policy is missing', {
    breaks: async () => {
      const text = await bob.readFile(policy);
      await bob.writeFile(policy, text.replace(/^ {2}service:.*$/m, '  service: [other.service]'), 0o644);
    },
    finding: {
      check: 'policy',
      subject: 'web/nginx',
      detail: /policy\.yaml:\d+: unit "nginx\.service" is not allowed/,
      fix: /policy\.yaml, put these lines below `allow:`.*:\nallow:\n {2}service: \["?other\.service"?, "?nginx\.service"?\]$/,
    },
    mends: async (fix) => {
      const file = parseDocument(await bob.readFile(policy));
      const lines: { allow: Record<string, unknown> } = parseDocument(fix.split('\n').slice(1).join('\n')).toJS();
      for (const [key, value] of Object.entries(lines.allow)) file.setIn(['allow', key], value);
      await bob.writeFile(policy, String(file), 0o644);
      await cluster.healthy('web', 30_000);
    },
  });

  await ailment('the package with an OCF agent is missing', {
    breaks: () => bob.mustExec(['mv', '/usr/lib/ocf/resource.d/heartbeat/Dummy', '/srv/Dummy']),
    finding: {
      check: 'packages',
      subject: 'web/dummy',
      detail: /not installed/,
      fix: /^apt-get install resource-agents$/,
    },
    mends: () => bob.mustExec(['mv', '/srv/Dummy', '/usr/lib/ocf/resource.d/heartbeat/Dummy']),
  });

  await ailment('a program for file systems is missing', {
    breaks: () => bob.mustExec(['mv', '/usr/sbin/blkid', '/srv/blkid']),
    finding: { check: 'packages', subject: 'blkid', detail: /is not installed/, fix: /^apt-get install util-linux$/ },
    mends: () => bob.mustExec(['mv', '/srv/blkid', '/usr/sbin/blkid']),
  });

  await ailment('the unit is enabled at boot', {
    breaks: () => bob.mustExec(['systemctl', 'enable', 'nginx.service']),
    finding: {
      check: 'units',
      subject: 'web/nginx',
      detail: /is enabled at boot/,
      fix: /^systemctl disable nginx\.service$/,
    },
  });

  await ailment('the unit is masked', {
    breaks: () => bob.mustExec(['systemctl', 'mask', 'nginx.service']),
    finding: { check: 'units', subject: 'web/nginx', detail: /is masked/, fix: /^systemctl unmask nginx\.service$/ },
  });

  await ailment('a line of /etc/fstab mounts it at boot', {
    breaks: async () => {
      await bob.writeFile('/etc/fstab', `# of the machine\n/dev/shared0 ${place} ext4 defaults 0 2\n`);
      await bob.mustExec(['systemctl', 'daemon-reload']);
    },
    finding: {
      check: 'mounts',
      subject: 'web/mount-srv-www',
      detail: /\/etc\/fstab:2 mounts \/dev\/shared0/,
      fix: /^sed -i '2d' \/etc\/fstab/,
    },
  });

  await ailment('a mount unit mounts it at boot', {
    breaks: async () => {
      await bob.writeFile(
        '/etc/systemd/system/srv-www.mount',
        `[Mount]\nWhat=/dev/shared0\nWhere=${place}\nType=ext4\n[Install]\nWantedBy=multi-user.target\n`,
      );
      await bob.mustExec(['systemctl', 'daemon-reload']);
      await bob.mustExec(['systemctl', 'enable', 'srv-www.mount']);
    },
    finding: {
      check: 'mounts',
      subject: 'web/mount-srv-www',
      detail: /srv-www\.mount is started at boot/,
      fix: /^systemctl disable srv-www\.mount$/,
    },
  });

  const number = (await bob.mustExec(['stat', '-c', '%Hr %Lr', '/dev/shared0'])).trim().split(' ');
  await ailment('the device is not there', {
    breaks: () => bob.mustExec(['rm', '/dev/shared0']),
    finding: {
      check: 'mounts',
      subject: 'web/mount-srv-www',
      detail: /the device \/dev\/shared0 is not there/,
      fix: /lsblk/,
    },
    mends: () => bob.mustExec(['mknod', '/dev/shared0', 'b', ...number]),
  });

  await ailment('announcements of others are dropped', {
    breaks: () => bob.mustExec(['sysctl', '-w', `net.ipv4.conf.${lanInterface}.drop_gratuitous_arp=1`]),
    finding: {
      check: 'network-settings',
      level: 'warning',
      subject: `web/vip-${VIP}`,
      detail: /drop_gratuitous_arp is 1/,
      fix: /^sysctl -w net\.ipv4\.conf\.eth0\.drop_gratuitous_arp=0/,
    },
  });

  await ailment('the state directory can be written by others', {
    breaks: () => bob.mustExec(['chmod', '777', stateDir]),
    finding: {
      check: 'state-directory',
      subject: stateDir,
      detail: /can be written by group or others/,
      fix: /^chmod go-w /,
    },
    mends: async (fix) => {
      await bob.mustExec(['sh', '-c', fix]);
      await cluster.healthy('web', 30_000);
    },
  });

  const leaves = async () => {
    await client.mustExec(['ip', 'address', 'delete', `${VIP}/24`, 'dev', lanInterface]);
  };
  const arrives = () => client.mustExec(['ip', 'address', 'add', `${VIP}/24`, 'dev', lanInterface]);
  await ailment('a stranger has the address too', {
    host: alice,
    breaks: arrives,
    finding: {
      check: 'addresses',
      subject: `web/vip-${VIP}`,
      detail: new RegExp(`is on eth0 here, and ${lanMac(client)} answers for it too`),
      fix: new RegExp(`on the machine with the hardware address ${lanMac(client)}: ip address delete ${VIP}`),
    },
    mends: leaves,
  });
  await cluster.product.mustCli(['group', 'stop', 'web', '--wait', '60s']);
  await ailment('a stranger has the address, and no node', {
    breaks: arrives,
    finding: {
      check: 'addresses',
      subject: `web/vip-${VIP}`,
      detail: /in use on the segment of eth0 by .*no node runs the group/,
      fix: /^on the machine/,
    },
    mends: leaves,
  });
  await ailment('the address is configured for good', {
    breaks: () => bob.mustExec(['ip', 'address', 'add', `${VIP}/24`, 'dev', lanInterface]),
    finding: {
      check: 'addresses',
      subject: `web/vip-${VIP}`,
      detail: /is configured on eth0 for good/,
      fix: /^ip address delete 192\.0\.2\.10\/24 dev eth0$/,
    },
  });

  await t.test(
    'an agent that does not run is named on its node and in the cluster, and runs as the documented unit',
    async () => {
      await cluster.product.agent(bob).stop('SIGTERM');
      const report = await examine(cluster, bob);
      ok(
        report.findings.some(
          ({ check, level, detail }) => check === 'agent' && level === 'error' && /takes no group/.test(detail),
        ),
      );
      await until(
        async () => {
          const { findings } = await examine(cluster, cluster.host('alice'), [
            '--cluster-only',
            '--url',
            cluster.product.url,
            '--cluster',
            cluster.product.cluster,
          ]);
          return findings.some(
            ({ check, level, subject, fix }) =>
              check === 'nodes' && level === 'error' && subject === 'bob' && /enable --now holdfast,/.test(fix ?? ''),
          );
        },
        { deadlineMs: 20_000, what: 'bob to be lost' },
      );
      const [, unit = ''] =
        /```ini [^\n]*system\/holdfast\.service\n(.*?)```/s.exec(
          await readFile(join(repoRoot, 'docs/guide.md'), 'utf8'),
        ) ?? [];
      const own = unit.replace('/usr/local/lib/holdfast/holdfast', cluster.product.binary);
      const run = async (name: string, text: string) => {
        await bob.writeFile(`/etc/systemd/system/${name}`, text);
        await bob.mustExec(['systemctl', 'daemon-reload']);
        await bob.mustExec(['systemctl', 'start', name]);
        await cluster.event('agent.started', { node: 'bob' });
        await until(
          async () => !(await examine(cluster, bob)).findings.some(({ detail }) => /takes no group/.test(detail)),
          {
            deadlineMs: 20_000,
            what: 'the agent to answer',
          },
        );
        return (await examine(cluster, bob)).findings.filter(({ check }) => check === 'agent');
      };
      const bad = await run(
        'ha.service',
        own
          .replace(/^(KillMode|Delegate|RestartSec)=.*$/gm, '')
          .replace('Restart=always', 'Restart=on-failure\nRestartSec=5s'),
      );
      const said = shown(bad).join('\n');
      for (const part of [
        /KillMode=control-group/,
        /Delegate= is off/,
        /Restart=on-failure/,
        /RestartSec=5000 ms/,
        /does not start at boot/,
        /is not called holdfast\.service/,
      ])
        match(said, part);
      for (const { fix = '', detail } of bad) if (!/is not called/.test(detail)) await bob.mustExec(['sh', '-c', fix]);
      await until(
        async () => {
          const { findings } = await examine(cluster, bob);
          const left = shown(findings.filter(({ check, level }) => check === 'agent' && level !== 'ok'));
          return left.length === 1 && /is not called/.test(left[0] ?? '');
        },
        { deadlineMs: 20_000, what: 'only the name of the unit to be left' },
      );
      await bob.mustExec(['systemctl', 'disable', 'ha.service']);
      await bob.mustExec(['systemctl', 'stop', 'ha.service']);
      await bob.mustExec(['rm', '-r', '/etc/systemd/system/ha.service', '/etc/systemd/system/ha.service.d']);
      await bob.writeFile('/etc/systemd/system/holdfast.service', own);
      await bob.mustExec(['systemctl', 'daemon-reload']);
      await bob.mustExec(['systemctl', 'enable', 'holdfast.service']);
      deepEqual(shown(await run('holdfast.service', own)), [
        'agent agent: runs as holdfast.service, and is started again whenever it ends',
      ]);
      await until(async () => wrong(await examine(cluster, bob)).length === 0, {
        deadlineMs: 30_000,
        what: 'the doctor to be content',
      });
    },
  );
});
