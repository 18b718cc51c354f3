/**
 * For tests: what a coordinator that was taken over may answer. Most of it is what a sound one would say, so that leases are granted and groups
 * run; in between stands whatever the wire allows, and whatever it does not.
 */
import fc from 'fast-check';
import {
  DEFAULT_POLICY,
  type FailurePolicy,
  FSCK_POLICIES,
  ON_FAIL,
  type ResourceDeclaration,
} from '../../schemas/config.ts';
import { LEASE_PROFILES, type LeaseTiming } from '../../schemas/limits.ts';
import { type NodeConfig, problemCodes, type Reply, type Report } from '../../schemas/wire.ts';
import { LISTED_NOTE } from './allowed-testing.ts';

export const GROUPS = ['web', 'db', 'mail'];

const HOSTILE = [
  ...['-o', '--help', '-rf', '--', '-', '', ' ', '*', '.', '..', '/', '%s', '"', "'", '\\', '~', '#'],
  ...['; reboot', '$(reboot)', '`reboot`', '| sh', '&& id', '> /etc/passwd', '$IFS', '$' + '{PATH}', 'a b', 'a\tb'],
  ...['a\nb', 'a\rb', 'a\0b', '\nhold db vip eth0 10.9.0.9/32', '\u202e', '\ud800', 'é', '../../etc/passwd', '/../etc'],
  ...['/bin/sh', '/tmp/x', 'LD_PRELOAD', 'NODE_OPTIONS', 'PATH', 'CRM_meta_timeout', '__proto__', 'constructor'],
];
const hostile = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...HOSTILE) },
  { weight: 1, arbitrary: fc.string({ maxLength: 40, unit: 'binary' }) },
  { weight: 1, arbitrary: fc.constant('x'.repeat(3_000)) },
);

/** What is allowed, so many times as often as something near to it, something hostile, or both in one. */
type Spoilt = (good: readonly string[], near: readonly string[]) => fc.Arbitrary<string>;
const spoiltBut =
  (weight: number): Spoilt =>
  (good, near) =>
    fc.oneof(
      { weight, arbitrary: fc.constantFrom(...good) },
      { weight: 2, arbitrary: fc.constantFrom(...near) },
      { weight: 1, arbitrary: hostile },
      { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...good), hostile).map(([one, two]) => one + two) },
      { weight: 1, arbitrary: fc.tuple(hostile, fc.constantFrom(...good)).map(([one, two]) => one + two) },
    );

const address = [
  ['192.0.2.10/24', '192.0.2.11/32', '192.0.2.12/24', '2001:db8:7::10/64', '2001:db8:7::11/128'],
  [
    ...['10.9.0.5/16', '127.0.0.1/8', '192.0.2.10/8', '192.0.3.10/24', '192.0.2.010/24', '0xc0.0.2.1/24', '::1/128'],
    ...['192.0.2.10', '192.0.2.10/24/24', '::ffff:192.0.2.10/120', '2001:db8:8::1/64', '2001:db8:7:1::1/64'],
    ...['192.0.2.1/24', '3221225994/24', '192.0.2.10/+24', '2001:db8:7::10%eth0/64', '255.255.255.255/32', '0.0.0.0/0'],
  ],
] as const;
const interfaceName = [
  ['eth0', 'eth1'],
  ['lo', 'eth9', '-4', 'eth0:1', 'eth0 dev lo', 'x'.repeat(16)],
] as const;
const drbdName = [['r0'], ['all', 'r1', 'R0', 'r0 --force', '--force', 'r0/0', 'minor-0', 'res:r0']] as const;
const device = [
  ['/dev/paper0', '/dev/paper1'],
  ['/dev/sda', '/dev/shm/image', '/etc/passwd', '//nfs/x', 'LABEL=x', '/dev/mem', '-a'],
] as const;
const directory = [
  ['/srv/data/a', '/srv/data/b'],
  [
    '/srv/data',
    '/srv/data/',
    '/srv/data/a/b',
    '/srv/data/../../etc',
    '/',
    '/etc',
    '/srv/data/..',
    '-a',
    '/srv/data/-a',
  ],
] as const;
const options = [
  ['noatime', 'ro', 'noatime,commit=5'],
  [
    ...['bind', 'remount,rw', 'loop', 'noatime,helper=x', 'x-systemd.automount', 'suid,dev,exec'],
    ...['noatime -o bind', ',', 'user', '-t'],
  ],
] as const;
const unit = [
  ['web.service', 'app@1.service', 'app@a-b.service'],
  [
    ...[
      'web',
      'app@1',
      'app@.service',
      'app@*.service',
      'ssh.service',
      'reboot.target',
      'poweroff.service',
      'web.socket',
    ],
    ...['-.slice', '../web.service', '/etc/x.service', 'app@1@2.service', 'web.service.service', 'app@../x.service'],
    '--all',
  ],
] as const;
const agentName = [
  ['heartbeat:paper', 'ocf:heartbeat:paper'],
  [
    ...['heartbeat:other', 'heartbeat:paper:x', 'heartbeat:../heartbeat/paper', '../../bin:sh', 'HEARTBEAT:PAPER'],
    ...['paper:bare', 'heartbeat:', ':', 'lsb:paper', 'ocf:ocf:paper'],
  ],
] as const;
const value = [
  ['/etc/paper/a', '/etc/paper/b.conf', '80', '443', LISTED_NOTE],
  [
    ...['/etc/paper/../passwd', '/etc/paper/a/b', '/etc/paper/a b', '8080', '-80', '80 ', `${LISTED_NOTE} `],
    ...['/tmp/x', '*'],
  ],
] as const;
const parameter = [
  ['configfile', 'port', 'note'],
  ['httpd', 'a', 'PATH', 'port=80', 'CRM_meta_name'],
] as const;
const allowedParams = fc.constantFrom<Record<string, string>>(
  {},
  { configfile: '/etc/paper/a' },
  { configfile: '/etc/paper/a', port: '80' },
  { port: '443', note: LISTED_NOTE },
);

const whole = fc.integer({ min: 1, max: 60_000 });
const beyond = fc.constantFrom(2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const mostly = <T>(weight: number, usual: fc.Arbitrary<T>, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight, arbitrary: usual }, { weight: 1, arbitrary: other });

const timesOf = (ms: fc.Arbitrary<number>) =>
  fc.record({ startMs: ms, stopMs: ms, monitorMs: ms, monitorIntervalMs: ms }, { requiredKeys: [] });
const policy = mostly(
  4,
  fc.constant<FailurePolicy>(DEFAULT_POLICY),
  fc.record({
    ...{ onFail: fc.constantFrom(...ON_FAIL), critical: fc.boolean() },
    ...{ failureCount: whole, failureWindowMs: fc.oneof(whole, beyond), fall: whole, rise: whole },
  }),
);

function resourceOf(soundness: number): fc.Arbitrary<ResourceDeclaration> {
  const spoilt = spoiltBut(soundness);
  const common = {
    id: mostly(30 * soundness, fc.constantFrom('one', 'two', 'three', 'four'), hostile),
    times: mostly(9, fc.constant({}), mostly(soundness, timesOf(whole), timesOf(beyond))),
    policy,
  };
  const name = spoilt(...parameter);
  const spoiltParams = fc
    .array(fc.tuple(name, spoilt(...value)), { maxLength: 4 })
    .map((all) => Object.fromEntries(all));
  return fc.oneof(
    fc.record({
      ...{ type: fc.constant('vip' as const), ...common, address: spoilt(...address) },
      interface: mostly(2, fc.constant(undefined), spoilt(...interfaceName)),
    }),
    fc.record({ type: fc.constant('drbd' as const), ...common, resource: spoilt(...drbdName) }),
    fc.record({
      ...{ type: fc.constant('mount' as const), ...common, options: optional(spoilt(...options)) },
      ...{
        device: spoilt(...device),
        directory: spoilt(...directory),
        fstype: fc.constantFrom('ext4' as const, 'xfs' as const),
      },
      ...{ fsck: fc.constantFrom(...FSCK_POLICIES), disk: fc.constantFrom('local' as const, 'shared' as const) },
    }),
    fc.record({ type: fc.constant('service' as const), ...common, unit: spoilt(...unit) }),
    fc.record({
      ...{ type: fc.constant('ocf' as const), ...common, agent: spoilt(...agentName) },
      params: mostly(Math.ceil(soundness / 2), allowedParams, spoiltParams),
    }),
  );
}

const groupOf = (soundness: number) =>
  fc.record({
    name: mostly(30 * soundness, fc.constantFrom(...GROUPS), hostile),
    on: fc.constantFrom<string[]>(['alice', 'bob'], ['alice'], []),
    requiresUplink: fc.boolean(),
    fence: fc.constantFrom('guard' as const, 'guard' as const, 'guard' as const, 'watchdog' as const),
    resources: fc.array(resourceOf(soundness), { maxLength: 3 }),
  });

/** From what fits to what would leave the agent deaf: no wait at all, or one that never ends. */
const span = fc.oneof(fc.integer({ min: 0, max: 20_000 }), fc.constantFrom(0, 1, 240_000), beyond);
const timing = mostly(
  30,
  fc.constantFrom<LeaseTiming>(...Object.values(LEASE_PROFILES)),
  fc.record({
    ...{ leaseMs: span, renewMs: span, retryMs: span, retries: fc.nat(9), stopMs: span, fuseMs: span, resetMs: span },
    ...{ coordinatorMarginMs: span, promiseMarginMs: span, takeoverMs: span, promiseMs: span },
  }),
);
const configOf = (soundness: number) => fc.record({ timing, groups: fc.array(groupOf(soundness), { maxLength: 4 }) });
const config = fc.oneof(configOf(200), configOf(8));

/** How an epoch stands to the highest that the node has seen. */
const epochStep = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 1, 1, 2, 17) },
  { weight: 3, arbitrary: fc.integer({ min: -60, max: 0 }) },
);
const anyGroup = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...GROUPS) }, { weight: 1, arbitrary: hostile });
const rarely = <T>(chance: number, what: fc.Arbitrary<T>) =>
  fc.oneof({ weight: chance - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: what });

/** What is made of the text before it is sent. */
const spoiling = fc.oneof(
  { weight: 40, arbitrary: fc.constant({ how: 'not' } as const) },
  {
    weight: 1,
    arbitrary: fc.record({ how: fc.constant('cut' as const), at: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      how: fc.constant('put in' as const),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      text: hostile,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      how: fc.constant('replace' as const),
      at: fc.nat(),
      value: fc.oneof(hostile, fc.jsonValue({ maxDepth: 2 })),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      how: fc.constant('add' as const),
      at: fc.nat(),
      key: fc.constantFrom('command', 'exec', 'script', 'argv', 'env', '__proto__', 'path', 'url', 'hooks', 'type'),
      value: hostile,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      how: fc.constant('garbage' as const),
      text: fc.oneof(fc.string(), fc.json(), hostile, fc.constant('['.repeat(20_000))),
    }),
  },
);

export const answers = fc.record({
  config: rarely(50, config),
  revision: fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.nat(5) }),
  foreign: rarely(60, fc.constantFrom('no request', 'constructor', '')),
  instance: rarely(200, fc.constantFrom('i2', 'i3')),
  generation: fc.constantFrom(1, 1, 1, 2, 0, 2 ** 40),
  problem: rarely(400, fc.constantFrom(...problemCodes)),
  order: fc.oneof(
    { weight: 30, arbitrary: fc.constant('run' as const) },
    { weight: 1, arbitrary: fc.constantFrom('pause' as const, 'release' as const) },
  ),
  cleanups: fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(9) }),
  refused: rarely(150, fc.constant(true)),
  step: epochStep,
  strangers: fc.array(
    fc.record({ group: anyGroup, step: epochStep, incarnation: fc.constantFrom(null, 'alice-0', 'bob-1') }),
    { maxLength: 2 },
  ),
  voters: fc.constantFrom<string[]>(['alice', 'bob'], ['alice'], ['bob'], []),
  claim: fc.constantFrom('now' as const, 'now' as const, 'now' as const, 'after' as const, 'never' as const),
  peers: rarely(
    50,
    fc.record({
      version: fc.constantFrom('1', '2'),
      port: fc.integer({ min: 1, max: 65_535 }),
      node: anyGroup,
      address: fc.constantFrom('127.0.0.1', '::1', 'no address', '127.0.0.1; id'),
    }),
  ),
  spoiling,
});
export type Answer = typeof answers extends fc.Arbitrary<infer T> ? T : never;

/** What the answer depends on besides chance. */
export interface Asked {
  readonly report: Report;
  /** The highest epoch of each group that was ever granted or told. */
  readonly epochs: Map<string, number>;
  /** Of the next document. */
  readonly revision: number;
}

/** The text that is sent. Epochs that a node would take for new ones are remembered as told. */
export function textOfAnswer(answer: Answer, { report, epochs, revision }: Asked): string {
  const at = (group: string, step: number) => Math.max(0, (epochs.get(group) ?? 0) + step);
  const grantOf = (group: string, step: number, incarnation: string | null) => {
    const epoch = at(group, step);
    epochs.set(group, Math.max(epochs.get(group) ?? 0, epoch));
    const voters = { version: 1, names: answer.voters };
    return { group, epoch, incarnation: incarnation ?? report.incarnation, voters, released: null };
  };
  const { order, cleanups, claim } = answer;
  const message: Reply = {
    ...{ type: 'reply', version: [1, 0], id: answer.foreign ?? report.id, history: 'h1' },
    instance: answer.instance ?? 'i1',
    generation: answer.generation,
    ...(answer.problem === undefined ? {} : { problem: { code: answer.problem, detail: 'as it likes' } }),
    renewInMs: 5,
    leases: report.leases.map(({ group, epoch }) =>
      answer.refused === true
        ? { verdict: 'refused', group, epoch, reason: 'as it likes' }
        : { verdict: 'renewed', group, epoch, order, cleanups },
    ),
    grants: [
      ...report.claims.map(({ group }) => grantOf(group, answer.step, null)),
      ...answer.strangers.map(({ group, step, incarnation }) => grantOf(group, step, incarnation)),
    ],
    refused: [],
    observed: GROUPS.map((name) => ({ group: name, renewal: null, claim, released: null, waitMs: 0 })),
    ...(answer.config === undefined
      ? {}
      : { config: { ...answer.config, revision: answer.revision ?? revision } satisfies NodeConfig }),
    ...(answer.peers === undefined ? {} : { peers: peersOf(answer.peers) }),
  };
  return spoil(message, answer.spoiling);
}

function peersOf({ version, port, node, address: found }: NonNullable<Answer['peers']>): NonNullable<Reply['peers']> {
  return { version, list: [{ node, port, addresses: [found], key: 'A'.repeat(43) }] };
}

function spoil(message: Reply, how: Answer['spoiling']): string {
  switch (how.how) {
    case 'not':
      return JSON.stringify(message);
    case 'garbage':
      return how.text;
    case 'cut': {
      const text = JSON.stringify(message);
      return text.slice(0, Math.floor(text.length * how.at));
    }
    case 'put in': {
      const text = JSON.stringify(message);
      const at = Math.floor(text.length * how.at);
      return text.slice(0, at) + how.text + text.slice(at);
    }
    case 'replace': {
      // a copy: parts of it are constants of the product
      const copy = structuredClone(message);
      const places = placesOf(copy);
      const place = places[how.at % places.length];
      if (place !== undefined) Reflect.set(place.in, place.key, how.value);
      return JSON.stringify(copy);
    }
    case 'add': {
      const objects = [message, ...placesOf(message).map(({ in: object }) => object)];
      const object = objects[how.at % objects.length];
      // as text, since `__proto__` is no key like others
      return JSON.stringify(message, (_key, value_: unknown) =>
        value_ === object && !Array.isArray(value_) ? { ...(value_ as object), 'here it goes': how.value } : value_,
      ).replace('here it goes', how.key);
    }
  }
}

/** Every place of a message, however deep. */
function placesOf(value_: object): { readonly in: object; readonly key: string }[] {
  return Object.entries(value_).flatMap(([key, below]: [string, unknown]) => [
    { in: value_, key },
    ...(typeof below === 'object' && below !== null ? placesOf(below) : []),
  ]);
}
