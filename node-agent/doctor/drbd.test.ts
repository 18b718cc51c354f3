import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Copy } from '../../schemas/copies.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { type DrbdConfig, parseDrbdConfig } from '../resources/drbd-config.ts';
import { dumpXml } from '../resources/drbd-testing.ts';
import { wanted } from './declared.ts';
import { copyFindings, type DrbdFacts, drbdFindings } from './drbd.ts';
import { declaredBy, expectFindings } from './testing.ts';

const [one] = wanted(declaredBy(['drbd: r0']), 'drbd');
assert.ok(one !== undefined);

type Written = NonNullable<Parameters<typeof dumpXml>[0]>;
function configOf(written: Written = {}): DrbdConfig {
  const net = { timeout: '25', 'ping-int': '3', 'ping-timeout': '5', ...written.net };
  return parseDrbdConfig(dumpXml({ ...written, net })).get('r0') ?? assert.fail('no r0');
}

const peer = { host: 'n2', connection: 'Connected', role: 'Secondary', disk: 'UpToDate' };
const sound: Omit<DrbdFacts, 'wanted'> = {
  config: configOf(),
  version: { text: '8.4.11', major: 8 },
  kernel: { freezes: true, copy: { disk: 'UpToDate', peers: [peer] } },
  host: 'n1',
  exists: () => true,
};
const nine = { text: '9.2.14', major: 9 } as const;
const ours9 = { 'auto-promote': 'no', 'on-suspended-primary-outdated': 'force-secondary' };

const examine = (differs: Partial<DrbdFacts>) =>
  drbdFindings([{ wanted: one, ...sound, ...differs }], LEASE_PROFILES.default);

it('a sound configuration is one, of 8.4 and of 9', () => {
  expectFindings(examine({}), [[/^ok web\/drbd-r0: r0 promotes nothing by itself/]]);
  const config = configOf({ disk: {}, net: { fencing: 'resource-and-stonith' }, options: ours9 });
  expectFindings(examine({ version: nine, config }), [[/^ok/]]);
});

it('each thing that is wrong, with what to do', () => {
  const table: readonly [what: string, differs: Partial<DrbdFacts>, said: RegExp, fix: RegExp][] = [
    [
      'no utils',
      { config: { problem: 'drbd-utils are not installed (apt-get …)' } },
      /error.*not installed/,
      /^apt-get install drbd-utils$/,
    ],
    [
      'no such resource',
      { config: { problem: 'the DRBD configuration has no resource r0' } },
      /error.*no resource r0/,
      /\/etc\/drbd\.d\/r0\.res/,
    ],
    ['another name', { host: 'n9' }, /error.*names n1, n2, and this machine is n9/, /uname -n/],
    ['no module', { version: undefined, kernel: undefined }, /error.*no drbd module/, /^modprobe drbd/],
    [
      'promotes at open',
      {
        version: nine,
        config: configOf({
          disk: {},
          net: { fencing: 'resource-and-stonith' },
          options: { ...ours9, 'auto-promote': 'yes' },
        }),
      },
      /error.*opens its device/,
      /auto-promote no/,
    ],
    [
      'stays frozen',
      {
        version: nine,
        config: configOf({ disk: {}, net: { fencing: 'resource-and-stonith' }, options: { 'auto-promote': 'no' } }),
      },
      /warning.*stays frozen/,
      /force-secondary/,
    ],
    [
      'no fencing',
      { config: configOf({ disk: {} }) },
      /error.*fencing dont-care/,
      /^disk \{ fencing resource-and-stonith; \}/,
    ],
    [
      'no fencing, 9',
      { version: nine, config: configOf({ disk: {}, options: ours9 }) },
      /error.*fencing dont-care/,
      /^net \{ fencing/,
    ],
    [
      'not in force',
      { kernel: { freezes: false, copy: { disk: 'UpToDate', peers: [peer] } } },
      /error.*does not work by the file/,
      /^drbdadm adjust r0$/,
    ],
    [
      'program missing',
      {
        exists: (path) => path !== '/usr/lib/holdfast/holdfast-drbd',
        config: configOf({
          handlers: {
            'fence-peer': '/usr/lib/holdfast/holdfast-drbd fence-peer',
            'unfence-peer': '/opt/bin/holdfast-drbd unfence-peer',
          },
        }),
      },
      /error.*fence-peer of r0 runs \/usr\/lib\/holdfast\/holdfast-drbd, which is not there/,
      /handlers/,
    ],
    [
      'two primaries',
      { config: configOf({ net: { 'allow-two-primaries': 'yes' } }) },
      /error.*two machines at once/,
      /allow-two-primaries/,
    ],
    ['asynchronous', { config: configOf({ net: { protocol: 'A' } }) }, /error.*protocol A/, /protocol C/],
    [
      'throws away',
      { config: configOf({ net: { 'after-sb-1pri': 'discard-secondary' } }) },
      /warning.*after-sb-1pri discard-secondary/,
      /take after-sb-1pri out/,
    ],
    [
      'slow',
      { config: configOf({ net: { 'ping-int': '10' } }) },
      /warning.*up to 10\.5 s.*free after 4\.2 s/,
      /ping-int 3/,
    ],
    ['not up', { kernel: undefined }, /warning.*is not up/, /drbdadm up r0/],
    [
      'frozen',
      { kernel: { freezes: true, copy: { disk: 'UpToDate', frozen: true, peers: [peer] } } },
      /error.*frozen/,
      /coordinator/,
    ],
    [
      'alone',
      { kernel: { freezes: true, copy: { disk: 'UpToDate', peers: [{ ...peer, connection: 'StandAlone' }] } } },
      /error.*n2: StandAlone/,
      /resolve-split-brain r0; else drbdadm connect r0/,
    ],
  ];
  for (const [what, differs, said, fix] of table) {
    const found = examine(differs);
    assert.equal(found.length, 1, `${what}: ${JSON.stringify(found)}`);
    expectFindings(found, [[said, fix]]);
  }
});

it('handlers that are not ours', () => {
  const handlers = { 'fence-peer': '/usr/lib/drbd/crm-fence-peer.9.sh' };
  expectFindings(examine({ config: configOf({ handlers }) }), [
    [/error.*fence-peer of r0 is “\/usr\/lib\/drbd\/crm-fence-peer\.9\.sh”/, /holdfast-drbd fence-peer/],
    [/warning.*unfence-peer of r0 is not set/, /holdfast-drbd unfence-peer/],
  ]);
});

const told = (node: string, written: Written | string, more: Partial<Copy> = {}) => {
  const config = typeof written === 'string' ? written : configOf(written).digest;
  const copy: Copy = {
    ...{ group: 'db', resource: 'r', name: 'r0', host: node, role: 'Secondary', disk: 'UpToDate' },
    ...{ guarded: true, peers: [], config, ...more },
  };
  return { node, copy };
};

it('the two sides of one resource have to be configured alike, and the option that differs is named', () => {
  const alike = { options: { 'auto-promote': 'yes' }, net: { protocol: 'C' } };
  assert.deepEqual(copyFindings([told('alice', {}), told('bob', alike)]), [], 'what is written out is the default');
  const handlers = { 'fence-peer': '/usr/lib/holdfast/holdfast-drbd fence-peer' };
  const table: readonly [other: Written, said: RegExp][] = [
    [{ disk: { fencing: 'resource-only' } }, /^error r0: is not configured alike on alice and bob: fencing$/],
    [{ net: { fencing: 'resource-and-stonith' }, disk: {} }, /^$/],
    [{ net: { protocol: 'A' } }, /^error .*: protocol$/],
    [{ options: { 'auto-promote': 'no' } }, /^error .*: auto-promote$/],
    [{ handlers }, /^error .*: its `handlers`$/],
    [{ hosts: ['n1', 'n3'] }, /^error .*: its `on` sections \(names and addresses\)$/],
    [{ net: { 'max-buffers': '8000' } }, /^warning .*: something in its `net`$/],
    [
      { net: { 'max-buffers': '8000', protocol: 'B' }, options: { quorum: 'off' } },
      /^error .*: protocol, something in its `net`, something in its `options`$/,
    ],
  ];
  for (const [other, said] of table)
    expectFindings(
      copyFindings([told('alice', {}), told('bob', other)]),
      said.source === '^$' ? [] : [[said, /drbdadm dump r0 .* drbdadm adjust r0/]],
    );
  assert.deepEqual(
    copyFindings([told('alice', {}), told('bob', '0123456789abcdef')]),
    [],
    'of an agent before this one',
  );
});

it('a copy that is not up or not connected is told with its node', () => {
  const problem = 'StandAlone: DRBD does not try to connect to its peer: drbdadm connect r0, on both nodes';
  expectFindings(copyFindings([told('alice', {}), told('bob', {}, { problem })]), [
    [/^error bob: its copy of r0: StandAlone.*drbdadm connect r0/, /holdfast doctor, on bob/],
  ]);
});
