import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDrbdConfig } from './drbd-config.ts';
import { copyFrom, drbdLine, drbdSnapshot, isHalfUp, type Meeting, meetingAfter } from './drbd-state.ts';
import { dumpXml, events84 } from './drbd-testing.ts';

const config = parseDrbdConfig(dumpXml()).get('r0');
const three = parseDrbdConfig(dumpXml({ hosts: ['n1', 'n2', 'n3'] })).get('r0');
assert.ok(config !== undefined && three !== undefined);

/** As drbdsetup 9 prints it, of three nodes; with the addresses in objects of their own. */
const EVENTS9 = `2026-11-29T03:12:51.123456+00:00 exists resource name:r0 role:Primary suspended:no force-io-failures:no may_promote:no promotion_score:10102
2026-11-29T03:12:51.123456+00:00 exists connection name:r0 peer-node-id:1 conn-name:n2 connection:Connected role:Secondary
2026-11-29T03:12:51.123456+00:00 exists connection name:r0 peer-node-id:2 conn-name:n3 connection:Connecting role:Unknown
2026-11-29T03:12:51.123456+00:00 exists device name:r0 volume:0 minor:0 backing_dev:/dev/vdb disk:UpToDate client:no open:yes quorum:yes
2026-11-29T03:12:51.123456+00:00 exists device name:r0 volume:1 minor:1 backing_dev:/dev/vdc disk:UpToDate client:no open:yes quorum:yes
2026-11-29T03:12:51.123456+00:00 exists peer-device name:r0 peer-node-id:1 conn-name:n2 volume:0 replication:Established peer-disk:UpToDate peer-client:no resync-suspended:no
2026-11-29T03:12:51.123456+00:00 exists peer-device name:r0 peer-node-id:1 conn-name:n2 volume:1 replication:SyncSource peer-disk:Inconsistent peer-client:no resync-suspended:no done:12.5
2026-11-29T03:12:51.123456+00:00 exists path name:r0 peer-node-id:1 conn-name:n2 local:ipv4:10.77.0.1:7789 peer:ipv4:10.77.0.2:7789 established:yes
2026-11-29T03:12:51.123456+00:00 exists peer-device name:r0 peer-node-id:2 conn-name:n3 volume:0 replication:Off peer-disk:DUnknown peer-client:no resync-suspended:no
2026-11-29T03:12:51.123456+00:00 exists peer-device name:r0 peer-node-id:2 conn-name:n3 volume:1 replication:Off peer-disk:Outdated peer-client:no resync-suspended:no
2026-11-29T03:12:51.123456+00:00 exists -`;

const copyOf = (state: ReturnType<typeof drbdSnapshot>, of = config) => copyFrom(state.resources.r0, of, 'n1');
const peer = (connection: string, role: string, disk: string, host = 'n2') => ({ host, connection, role, disk });

test('the first lines of 8.4: the one peer is the other machine of the configuration', () => {
  const state = drbdSnapshot(events84().join('\n'));
  assert.ok(state.complete);
  assert.deepEqual(copyOf(state), {
    role: 'Secondary',
    disk: 'UpToDate',
    peers: [peer('Connected', 'Secondary', 'UpToDate')],
  });
});

test('the first lines of 9: of several volumes the worst counts, with times and without', () => {
  for (const text of [EVENTS9, EVENTS9.replaceAll(/^\S+ /gm, '')]) {
    const state = drbdSnapshot(text);
    assert.ok(state.complete);
    assert.deepEqual(copyOf(state, three), {
      role: 'Primary',
      disk: 'UpToDate',
      peers: [peer('Connected', 'Secondary', 'Inconsistent'), peer('Connecting', 'Unknown', 'Outdated', 'n3')],
    });
  }
});

const ends = 'peer-node-id:0 conn-name:peer';

test('what happens next, line by line', () => {
  const story: readonly [line: string, expected: ReturnType<typeof copyOf>][] = [
    [
      `change connection name:r0 ${ends} connection:NetworkFailure role:Unknown`,
      { role: 'Secondary', disk: 'UpToDate', peers: [peer('NetworkFailure', 'Unknown', 'UpToDate')] },
    ],
    [
      `change peer-device name:r0 ${ends} volume:0 replication:Off peer-disk:DUnknown`,
      { role: 'Secondary', disk: 'UpToDate', peers: [peer('NetworkFailure', 'Unknown', 'DUnknown')] },
    ],
    [
      `change connection name:r0 ${ends} connection:Connecting`,
      { role: 'Secondary', disk: 'UpToDate', peers: [peer('Connecting', 'Unknown', 'DUnknown')] },
    ],
    [
      'change resource name:r0 role:Primary suspended:fencing',
      { role: 'Primary', disk: 'UpToDate', frozen: true, peers: [peer('Connecting', 'Unknown', 'DUnknown')] },
    ],
    [
      `call helper name:r0 ${ends} helper:fence-peer`,
      { role: 'Primary', disk: 'UpToDate', frozen: true, peers: [peer('Connecting', 'Unknown', 'DUnknown')] },
    ],
    [
      `change peer-device name:r0 ${ends} volume:0 peer-disk:Outdated`,
      { role: 'Primary', disk: 'UpToDate', frozen: true, peers: [peer('Connecting', 'Unknown', 'Outdated')] },
    ],
    [
      'change resource name:r0 suspended:no',
      { role: 'Primary', disk: 'UpToDate', peers: [peer('Connecting', 'Unknown', 'Outdated')] },
    ],
    [
      'change device name:r0 volume:0 minor:0 disk:Failed',
      { role: 'Primary', disk: 'Failed', peers: [peer('Connecting', 'Unknown', 'Outdated')] },
    ],
    [
      `destroy peer-device name:r0 ${ends} volume:0`,
      { role: 'Primary', disk: 'Failed', peers: [peer('Connecting', 'Unknown', 'DUnknown')] },
    ],
    [`destroy connection name:r0 ${ends}`, { role: 'Primary', disk: 'Failed', peers: [] }],
    ['destroy device name:r0 volume:0 minor:0', { role: 'Primary', disk: 'Diskless', peers: [] }],
    ['destroy resource name:r0', { role: 'Unknown', disk: 'Unconfigured', peers: [] }],
  ];
  let state = drbdSnapshot(events84().join('\n'));
  for (const [line, expected] of story) {
    state = drbdLine(state, line);
    assert.deepEqual(copyOf(state), expected, line);
  }
});

test('a split brain that DRBD names is one until the connection is tried again', () => {
  let state = drbdSnapshot(EVENTS9);
  const says = (line: string) => {
    state = drbdLine(state, line);
    return copyOf(state, three).peers.find(({ host }) => host === 'n3')?.splitBrain;
  };
  assert.equal(
    says('change connection name:r0 peer-node-id:2 conn-name:n3 connection:StandAlone sync-state:SplitBrain'),
    true,
  );
  assert.equal(says('change connection name:r0 peer-node-id:2 conn-name:n3 role:Unknown'), true);
  assert.equal(says('change connection name:r0 peer-node-id:2 conn-name:n3 connection:Connecting'), undefined);
});

test('what is written while they are apart is told, and not while they are connected', () => {
  const behind = (connection: string) =>
    copyOf(drbdSnapshot(events84({ connection, outOfSync: 1024 }).join('\n'))).peers[0]?.behindKiB;
  assert.equal(behind('StandAlone'), 1024);
  assert.equal(behind('Connected'), undefined);
});

test('what says nothing of a resource changes nothing', () => {
  const state = drbdSnapshot(events84().join('\n'));
  for (const line of [
    '',
    '- skipped 3',
    'exists -',
    'nonsense',
    'change resource',
    'call helper name:r9 helper:fence-peer',
    `call helper name:r0 ${ends} helper:x`,
  ])
    assert.equal(drbdLine(state, line), state, line);
});

test('a disk state that nobody knows is the worst of them', () => {
  const state = drbdSnapshot(events84({ disk: 'UpToDate' }).join('\n'));
  assert.equal(copyOf(drbdLine(state, 'exists device name:r0 volume:1 minor:1 disk:Quantum')).disk, 'Quantum');
});

/** Of the module 8.4.11: a resource without metadata, then with it; later a split brain, and what ends it. */
const RECORDED = `create resource name:r0 role:Secondary suspended:no
create device name:r0 volume:0 minor:0 disk:Diskless
> Secondary Diskless; , half up
change device name:r0 volume:0 minor:0 disk:Attaching
change device name:r0 volume:0 minor:0 disk:UpToDate
change peer-device name:r0 peer-node-id:0 volume:0 replication:Off peer-disk:Outdated resync-suspended:no
create connection name:r0 peer-node-id:0 conn-name:peer connection:StandAlone role:Unknown
create peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Off peer-disk:Outdated resync-suspended:no
change connection name:r0 peer-node-id:0 conn-name:peer connection:Unconnected
change connection name:r0 peer-node-id:0 conn-name:peer connection:Connecting
> Secondary UpToDate; n2 Connecting Outdated
change connection name:r0 peer-node-id:0 conn-name:peer connection:Connected
call helper name:r0 peer-node-id:0 conn-name:peer volume:0 minor:0 helper:initial-split-brain
response helper name:r0 peer-node-id:0 conn-name:peer volume:0 minor:0 helper:initial-split-brain status:0
call helper name:r0 peer-node-id:0 conn-name:peer volume:0 minor:0 helper:split-brain
change connection name:r0 peer-node-id:0 conn-name:peer connection:NetworkFailure
response helper name:r0 peer-node-id:0 conn-name:peer volume:0 minor:0 helper:split-brain status:0
change connection name:r0 peer-node-id:0 conn-name:peer connection:Disconnecting
change connection name:r0 peer-node-id:0 conn-name:peer connection:StandAlone
> Secondary UpToDate; n2 StandAlone Outdated
destroy peer-device name:r0 peer-node-id:0 conn-name:peer volume:0
destroy connection name:r0 peer-node-id:0 conn-name:peer
> Secondary UpToDate;
create connection name:r0 peer-node-id:0 conn-name:peer connection:StandAlone role:Unknown
create peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Off peer-disk:Outdated resync-suspended:no
change connection name:r0 peer-node-id:0 conn-name:peer connection:Unconnected
change connection name:r0 peer-node-id:0 conn-name:peer connection:Connecting
change connection name:r0 peer-node-id:0 conn-name:peer connection:Connected
change connection name:r0 peer-node-id:0 conn-name:peer role:Primary
change device name:r0 volume:0 minor:0 disk:Outdated
change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:WFBitMapT peer-disk:UpToDate
change device name:r0 volume:0 minor:0 disk:Inconsistent
change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:SyncTarget
> Secondary Inconsistent; n2 Connected UpToDate
change device name:r0 volume:0 minor:0 disk:UpToDate
change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Established
> Secondary UpToDate; n2 Connected UpToDate`;

test('a story that a kernel told', () => {
  let state = drbdSnapshot('exists -');
  for (const line of RECORDED.split('\n')) {
    if (!line.startsWith('> ')) {
      state = drbdLine(state, line);
      continue;
    }
    const { role, disk, peers } = copyOf(state);
    const r0 = state.resources.r0;
    const half = r0 !== undefined && isHalfUp(r0) ? ' , half up' : '';
    const others = peers.map((one) => ` ${one.host} ${one.connection} ${one.disk}`).join(';');
    assert.equal(`> ${role} ${disk};${others}${half}`, line);
  }
});

test('who has refused a second Primary is told from who was disconnected, and from who has diverged', () => {
  const peer = 'name:r0 peer-node-id:0 conn-name:peer';
  const seeks = [`change connection ${peer} connection:Unconnected`, `change connection ${peer} connection:Connecting`];
  const alone = [
    `change connection ${peer} connection:Disconnecting`,
    `change connection ${peer} connection:StandAlone`,
    `destroy peer-device ${peer} volume:0`,
    `destroy connection ${peer}`,
  ];
  const connected = `change connection ${peer} connection:Connected`;
  const told = `change connection ${peer} role:Primary`;
  const after = (lines: readonly string[], role = 'Primary'): Meeting => {
    let state = drbdSnapshot(events84({ role, connection: 'Connecting', peerRole: 'Unknown' }).join('\n'));
    return lines.reduce<Meeting>((meeting, line) => {
      state = drbdLine(state, line);
      return meetingAfter(meeting, state.resources.r0);
    }, 'unknown');
  };
  assert.equal(after([...seeks, connected]), 'seeking');
  assert.equal(after([...seeks, connected, told]), 'met');
  assert.equal(after([...seeks, connected, ...alone]), 'refused');
  assert.equal(after([...seeks, ...alone, 'change resource name:r0 role:Secondary']), 'refused', 'demoted since');
  assert.equal(
    after([...seeks, ...alone, ...seeks, connected, told, ...alone]),
    'unknown',
    'met since, then disconnected',
  );
  assert.equal(after([...seeks, connected, ...alone], 'Secondary'), 'unknown');
  const handler = `call helper ${peer} volume:0 minor:0 helper:initial-split-brain`;
  assert.equal(after([...seeks, connected, handler, ...alone]), 'unknown', 'split brain');
});
