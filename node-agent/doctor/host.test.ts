/** Judgements of the machine, the agent, its guard, its state directory, and the way to the coordinator. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import {
  type AgentProcessFacts,
  agentFindings,
  type GuardFacts,
  guardFindings,
  type StateDirFacts,
  stateDirFindings,
} from './agent.ts';
import { coordinatorFindings } from './coordinator.ts';
import { wanted } from './declared.ts';
import { type MachineFacts, machineFindings } from './machine.ts';
import { maxSlewPpm } from './read-machine.ts';
import { declaredBy, expectFindings } from './testing.ts';
import { type TimingFacts, timingFindings } from './timing.ts';

type Expected = readonly [RegExp, RegExp?];

const machine: MachineFacts = {
  kernel: '6.1.0-30-amd64',
  cgroupProblem: undefined,
  clockSource: 'tsc',
  clockSources: ['tsc', 'hpet'],
  chronySlewPpm: undefined,
  virtual: undefined,
  container: undefined,
};
const machineTable: readonly (readonly [string, Partial<MachineFacts>, string, Expected])[] = [
  ['a current kernel', {}, 'kernel', [/^ok Linux 6\.1\.0-30-amd64/]],
  ['an old kernel', { kernel: '5.10.0-8' }, 'kernel', [/^error .*older than 5\.14/, /newer kernel/]],
  [
    'no cgroup v2',
    { cgroupProblem: 'no cgroup v2 hierarchy is mounted' },
    'kernel',
    [/^error .*only addresses/, /unified_cgroup_hierarchy/],
  ],
  ['a clock that nobody can set', {}, 'time of day', [/^ok .*is not needed/]],
  ['a clock source of its own', {}, 'clock source', [/^ok clock source: tsc/]],
  [
    'a clock that counts interrupts',
    { clockSource: 'refined-jiffies' },
    'clock source',
    [/^warning .*loses time/, /dmesg/],
  ],
  ['no word on the clock', { clockSource: undefined }, 'clock source', [/^unknown/]],
  [
    'chrony as it is shipped',
    { chronySlewPpm: 83_333.333 },
    'chrony',
    [/^warning .*8\.3 % fast or slow.*leases allow for 0\.1 % in all/, /maxslewrate 500/],
  ],
  ['bare metal', {}, 'bare metal', [/^ok/]],
  [
    'a virtual machine',
    { virtual: 'QEMU' },
    'virtual machine',
    [/^warning .*QEMU: paused.*no lease survives/, /node standby/],
  ],
  ['a container', { container: 'lxc' }, 'container', [/^warning .*lxc: whoever freezes it/, /node standby/]],
];
for (const [what, differs, subject, expected] of machineTable)
  test(`the machine: ${what}`, () => {
    const about = ({ subject: one, check }: { subject: string; check: string }) => one === subject || check === subject;
    expectFindings(machineFindings({ ...machine, ...differs }).filter(about), [expected]);
  });

test('chrony tamed, or not running, is not mentioned; of several settings the last counts', () => {
  for (const chronySlewPpm of [undefined, 500])
    assert.ok(!machineFindings({ ...machine, chronySlewPpm }).some(({ subject }) => subject === 'chrony'));
  assert.equal(maxSlewPpm(['pool x\n# maxslewrate 1\nmaxslewrate 1000\n', 'MaxSlewRate 500']), 500);
  assert.equal(maxSlewPpm(['pool x']), undefined);
});

const supervision = {
  load: 'loaded',
  file: 'enabled',
  restart: 'always',
  restartMs: 200,
  killMode: 'process',
  delegate: true,
};
const agent: AgentProcessFacts = {
  stateDir: '/var/lib/holdfast',
  answers: true,
  pid: 42,
  unit: 'holdfast.service',
  supervision,
  runsServices: true,
};
const stopped: Partial<AgentProcessFacts> = { answers: false, pid: undefined, unit: undefined };
const without = { ...supervision, load: 'not-found', file: '' };
const agentTable: readonly (readonly [string, Partial<AgentProcessFacts>, ...Expected[]])[] = [
  ['as documented', {}, [/^ok agent: runs as holdfast\.service/]],
  ['not running, with its unit', stopped, [/^error agent: none runs/, /^systemctl enable --now holdfast\.service$/]],
  [
    'not running, without a unit',
    { ...stopped, supervision: without },
    [/^error agent: none runs/, /^holdfast agent, or as a unit/],
  ],
  [
    'running and silent',
    { answers: false },
    [/^error agent: process 42 does not answer/, /^look at its log: journalctl -u holdfast\.service$/],
  ],
  [
    'running without a unit',
    { unit: undefined, supervision: without },
    [/^warning agent: no unit/, /run it as holdfast\.service/],
  ],
  [
    'where systemd is not',
    { supervision: { unreadable: 'systemd does not run here' } },
    [/^unknown agent: .*systemd does not run here/],
  ],
  [
    'killed with all it runs',
    { supervision: { ...supervision, killMode: 'control-group' } },
    [
      /^error .*KillMode=control-group/,
      /KillMode=process >\/etc\/systemd\/system\/holdfast\.service\.d\/holdfast-killmode\.conf && systemctl daemon-reload && systemctl restart holdfast\.service$/,
    ],
  ],
  [
    'not delegated',
    { supervision: { ...supervision, delegate: false } },
    [/^warning .*Delegate= is off/, /Delegate=yes/],
  ],
  [
    'not started again',
    { supervision: { ...supervision, restart: 'on-failure' } },
    [/^warning .*Restart=on-failure/, /Restart=always/],
  ],
  [
    'started again too late for the lease',
    { supervision: { ...supervision, restartMs: 1_500 } },
    [/^warning .*not back within 1500 ms \(lease 4000 − forced stop 1500 − .* 1000\)/, /RestartSec=200ms/],
  ],
  [
    'not started at boot',
    { supervision: { ...supervision, file: 'disabled' } },
    [/^warning .*is disabled: it does not start at boot/, /^systemctl enable holdfast\.service$/],
  ],
  [
    'of another name, with services',
    { unit: 'ha.service' },
    [/^warning ha\.service: is not called holdfast\.service/, /rename it/],
  ],
  ['of another name, without services', { unit: 'ha.service', runsServices: false }, [/^ok/]],
];
for (const [what, differs, ...expected] of agentTable)
  test(`an agent ${what}`, () =>
    expectFindings(agentFindings({ ...agent, ...differs }, LEASE_PROFILES.default), expected));

const guard: GuardFacts = { pid: 7, locked: true, realtime: true, spared: true };
const guardTable: readonly (readonly [string, Partial<GuardFacts>, ...Expected[]])[] = [
  ['with all protections', {}, [/^ok guard/]],
  ['that does not run', { pid: undefined }, [/^unknown guard: none runs/]],
  [
    'without any',
    { locked: false, realtime: false, spared: false },
    [/^warning .*not locked/, /CAP_IPC_LOCK/],
    [/^warning .*real-time/, /CAP_SYS_NICE/],
    [/^warning .*memory runs out/, /CAP_SYS_RESOURCE/],
  ],
];
for (const [what, differs, ...expected] of guardTable)
  test(`a guard ${what}`, () => expectFindings(guardFindings({ ...guard, ...differs }), expected));

const state: StateDirFacts = {
  path: '/var/lib/holdfast',
  mode: 0o700,
  uid: 0,
  identityProblem: undefined,
  fileSystem: 'ext4',
  readOnly: false,
  freeBytes: 2 ** 33,
  freeFiles: 100_000,
};
const stateTable: readonly (readonly [string, Partial<StateDirFacts>, ...Expected[]])[] = [
  ['as join makes it', {}, [/^ok \/var\/lib\/holdfast: private, on ext4; 8192 MiB/]],
  ['of another user', { uid: 1000 }, [/^error .*belongs to uid 1000/, /^chown root \/var\/lib\/holdfast$/]],
  [
    'that others may write',
    { mode: 0o777 },
    [/^error .*can be written by group or others/, /^chmod go-w \/var\/lib\/holdfast$/],
  ],
  [
    'with a key that others may read',
    { identityProblem: '/k can be read by others (mode 644), …: remove the node, or, if you are sure, chmod 600 /k' },
    [/^error .*can be read by others/, /^chmod 600 \/k$/],
  ],
  ['with a damaged identity', { identityProblem: '/n is damaged' }, [/^error .*damaged/, /node remove/]],
  ['in memory', { fileSystem: 'tmpfs' }, [/^error .*forgotten at a reboot/, /move it to a disk/]],
  ['that is read-only', { readOnly: true }, [/^error .*read-only/, /dmesg/]],
  ['with little space', { freeBytes: 20 << 20 }, [/^warning .*20 MiB/, /df -h/]],
  ['that is full', { freeBytes: 0 }, [/^error .*no epoch can be written/, /df -h/]],
  ['without files left', { freeFiles: 0 }, [/^error .*no epoch can be written/, /df -i/]],
  ['of a file system that does not count files', { freeFiles: Number.POSITIVE_INFINITY }, [/^ok .*no limit of files/]],
];
for (const [what, differs, ...expected] of stateTable)
  test(`a state directory ${what}`, () => expectFindings(stateDirFindings({ ...state, ...differs }), expected));

const url = 'https://ha.example.org/';
const tripTable: readonly (readonly [
  string,
  Parameters<typeof coordinatorFindings>[0]['trips'],
  keyof typeof LEASE_PROFILES,
  ...Expected[],
])[] = [
  ['fast enough', [3.2, 4.1], 'default', [/^ok .*answers within 4\.1 ms; a renewal is repeated after 500 ms/]],
  ['too slow for comfort', [180, 215], 'default', [/^warning .*up to 215 ms/, /lease: wan/]],
  [
    'too slow for the lease',
    [480],
    'default',
    [/^error .*after the last repetition of a renewal 500 ms are left/, /lease: wan/],
  ],
  ['slow, with time enough', [480], 'wan', [/^ok/]],
  ['too slow for a short lease only', [100], 'fast', [/^warning/, /lease: wan/]],
  [
    'not there',
    { unreachable: 'connect ECONNREFUSED' },
    'default',
    [
      /^error .*cannot be reached from here: connect ECONNREFUSED/,
      /^look at .*curl https:\/\/ha\.example\.org\/healthz$/,
    ],
  ],
  [
    'not trusted by the clock of this machine',
    { unreachable: 'its certificate is not valid yet by the clock of this machine, which says …', byClock: true },
    'default',
    [/^error .*by the clock of this machine/, /^timedatectl/],
  ],
];
for (const [what, trips, lease, ...expected] of tripTable)
  test(`a coordinator that is ${what} (${lease})`, () =>
    expectFindings(coordinatorFindings({ url, trips }, LEASE_PROFILES[lease]), expected));

test('a coordinator is judged by its answer alone while no lease is known', () =>
  expectFindings(coordinatorFindings({ url, trips: [900] }, undefined), [[/^ok .*answers within 900 ms/]]));

const times: TimingFacts = { advised: new Map(), withoutJournal: [], dirtyBytes: 50e6 };
const nginx = 'ocf: { agent: "heartbeat:nginx" }';
const shared =
  'mount: { device: /dev/sdb1, directory: /srv/www, fstype: ext4, disk: shared, acceptRisk: shared-disk-without-watchdog }';

test('timing: the sum of the lease is shown where everything fits, whatever starts and stops may take', () => {
  const declared = declaredBy([
    `${nginx}\n        timeouts: { start: 10m, stop: 10m, monitor: 1m }\n        interval: 5s`,
  ]);
  expectFindings(timingFindings(times, declared), [
    [/^ok lease: renewal 1000 \+ 2 × 500 repeated \+ forced stop 1500 ms fit into 4000 ms/],
  ]);
});

test('timing: with the fast lease an OCF agent’s tidying up alone takes what is left until the guard acts', () => {
  expectFindings(timingFindings(times, declaredBy([nginx], 'fast')), [
    [/^warning web\/nginx: .*may take 400 ms to tidy up.*leaves 400 ms/, /lease: default/],
  ]);
  expectFindings(timingFindings(times, declaredBy(['service: nginx'], 'fast')), [[/^ok/]]);
});

test('timing: a time-out below what the agent asks for is named with the time it asks for', () => {
  const declared = declaredBy([`${nginx}\n        timeouts: { start: 5s, stop: 2m }`]);
  const advised = new Map([['web/nginx', { startMs: 60_000, stopMs: 60_000, monitorMs: 30_000 }]]);
  expectFindings(timingFindings({ ...times, advised }, declared), [
    [
      /^warning web\/nginx: its start is given up after 5s; heartbeat:nginx asks for 1m at least/,
      /timeouts: \{ start: 1m \}/,
    ],
  ]);
});

test('timing: what a disk cannot write during the forced stop matters on a shared disk alone', () => {
  const much = { ...times, dirtyBytes: 4e9 };
  expectFindings(timingFindings(much, declaredBy([shared])), [
    [/^warning web\/mount-srv-www: 4000 MB may be unwritten.*1500 ms/, /^sysctl -w vm\.dirty_bytes=300000000 /],
  ]);
  expectFindings(timingFindings(much, declaredBy(['mount: /dev/sdb1 /srv/www ext4'])), [[/^ok/]]);
});

test('timing: a file system without a journal needs longer to start than usual', () => {
  const bare = declaredBy(['mount: /dev/sdb1 /srv/www ext4']);
  expectFindings(timingFindings({ ...times, withoutJournal: wanted(bare, 'mount') }, bare), [
    [/^warning .*no journal/, /tune2fs -j \/dev\/sdb1; or timeouts: \{ start: 30m \}/],
  ]);
  const patient = declaredBy(['mount: /dev/sdb1 /srv/www ext4\n        timeouts: { start: 30m }']);
  expectFindings(timingFindings({ ...times, withoutJournal: wanted(patient, 'mount') }, patient), [[/^ok/]]);
});
