/**
 * What the kernel says of DRBD resources: the lines of `drbdsetup events2`, of DRBD 9 and, through drbd-utils 9, of 8.4. Pure.
 *
 * A line is `[time] exists|create|change|destroy OBJECT key:value…`; after the first ones, `exists -` says that all is told. 9 names a
 * connection after the peer, and tells the addresses in objects of their own (`path`); 8.4 calls its only one `peer`, and while it is
 * StandAlone nothing at all. A change bears only what has changed, and sometimes nothing.
 */
import type { Copy, CopyPeer } from '../../schemas/copies.ts';
import { addressOf, type DrbdConfig, hostAt } from './drbd-config.ts';

interface Device {
  readonly minor: number | undefined;
  readonly disk: string;
  readonly quorum: boolean;
}

interface PeerDevice {
  readonly replication: string;
  readonly disk: string;
  readonly behindKiB: number | undefined;
}

interface Connection {
  readonly name: string;
  readonly address: string | undefined;
  readonly connection: string;
  readonly role: string;
  readonly splitBrain: boolean;
  /** The kernel has called its handler for a split brain, which is all that 8.4 says of it; until its peer is looked for again. */
  readonly diverged: boolean;
  readonly devices: Readonly<Record<string, PeerDevice>>;
}

export interface DrbdResourceState {
  readonly role: string;
  /** `no`, or why writes wait: `user`, `no-data`, `fencing`, `quorum`; several with commas. */
  readonly suspended: string;
  readonly devices: Readonly<Record<string, Device>>;
  readonly connections: Readonly<Record<string, Connection>>;
}

export interface DrbdState {
  /** Everything that there was at the beginning has been told. */
  readonly complete: boolean;
  readonly resources: Readonly<Record<string, DrbdResourceState>>;
}

export const NOTHING_TOLD: DrbdState = { complete: false, resources: {} };

const NEW_RESOURCE: DrbdResourceState = { role: 'Unknown', suspended: 'no', devices: {}, connections: {} };
const NEW_DEVICE: Device = { minor: undefined, disk: 'Diskless', quorum: true };
const NEW_PEER_DEVICE: PeerDevice = { replication: 'Off', disk: 'DUnknown', behindKiB: undefined };

/** What the kernel says once more, about something else or not at all, leaves the state as it was: the same object. */
export function drbdLine(state: DrbdState, line: string): DrbdState {
  const words = line.trim().split(/\s+/);
  const verb = words.findIndex((word) => /^(exists|create|change|destroy|rename|call)$/.test(word));
  const [action = '', object = '', ...pairs] = verb < 0 ? [] : words.slice(verb);
  if (action === 'exists' && object === '-') return state.complete ? state : { ...state, complete: true };
  const values: Record<string, string> = {};
  for (const pair of pairs) {
    const colon = pair.indexOf(':');
    if (colon > 0) values[pair.slice(0, colon)] = pair.slice(colon + 1);
  }
  const { name } = values;
  if (name === undefined || action === '') return state;
  if (action === 'rename') return renamed(state, name, values.new_name);
  const before = state.resources[name];
  if (object === 'resource' && action === 'destroy') return { ...state, resources: without(state.resources, name) };
  const after = changed(before ?? NEW_RESOURCE, object, action === 'destroy', values);
  return after === before || after === NEW_RESOURCE
    ? state
    : { ...state, resources: { ...state.resources, [name]: after } };
}

function changed(
  resource: DrbdResourceState,
  object: string,
  gone: boolean,
  values: Readonly<Record<string, string>>,
): DrbdResourceState {
  const key = connectionKey(values);
  const volume = values.volume ?? '0';
  switch (object) {
    case 'resource':
      return { ...resource, role: values.role ?? resource.role, suspended: values.suspended ?? resource.suspended };
    case 'device': {
      if (gone) return { ...resource, devices: without(resource.devices, volume) };
      const old = resource.devices[volume] ?? NEW_DEVICE;
      const minor = values.minor === undefined ? old.minor : Number(values.minor);
      const quorum = values.quorum === undefined ? old.quorum : values.quorum === 'yes';
      return {
        ...resource,
        devices: { ...resource.devices, [volume]: { minor, disk: values.disk ?? old.disk, quorum } },
      };
    }
    case 'connection': {
      if (gone) return { ...resource, connections: without(resource.connections, key) };
      const old = connectionAt(resource, key, values);
      const connection = values.connection ?? old.connection;
      // said with each change while it is so, and only then
      const splitBrain = values['sync-state'] === 'SplitBrain' || (old.splitBrain && values.connection === undefined);
      const diverged = old.diverged && connection !== 'Connecting';
      return withConnection(resource, key, { ...old, connection, role: values.role ?? old.role, splitBrain, diverged });
    }
    case 'helper': {
      const old = resource.connections[key];
      if (old === undefined || !/^(initial-)?split-brain$/.test(values.helper ?? '')) return resource;
      return withConnection(resource, key, { ...old, diverged: true });
    }
    case 'peer-device': {
      const old = resource.connections[key];
      if (gone)
        return old === undefined
          ? resource
          : withConnection(resource, key, { ...old, devices: without(old.devices, volume) });
      const connection = old ?? connectionAt(resource, key, values);
      const was = connection.devices[volume] ?? NEW_PEER_DEVICE;
      const behind = values['out-of-sync'];
      const device: PeerDevice = {
        replication: values.replication ?? was.replication,
        disk: values['peer-disk'] ?? was.disk,
        behindKiB: behind === undefined ? was.behindKiB : Number(behind),
      };
      return withConnection(resource, key, { ...connection, devices: { ...connection.devices, [volume]: device } });
    }
    case 'path': {
      const connection = resource.connections[key];
      if (gone || connection === undefined || connection.address !== undefined) return resource;
      return withConnection(resource, key, { ...connection, address: addressOf(values.peer) });
    }
    default:
      return resource;
  }
}

/** The peer's node id; versions that tell none name the addresses. */
function connectionKey(values: Readonly<Record<string, string>>): string {
  return values['peer-node-id'] ?? `${values.local ?? ''} ${values.peer ?? ''}`;
}

function connectionAt(resource: DrbdResourceState, key: string, values: Readonly<Record<string, string>>): Connection {
  return (
    resource.connections[key] ?? {
      name: values['conn-name'] ?? '',
      address: addressOf(values.peer),
      connection: 'StandAlone',
      role: 'Unknown',
      splitBrain: false,
      diverged: false,
      devices: {},
    }
  );
}

function withConnection(resource: DrbdResourceState, key: string, connection: Connection): DrbdResourceState {
  return { ...resource, connections: { ...resource.connections, [key]: connection } };
}

function renamed(state: DrbdState, from: string, to: string | undefined): DrbdState {
  const resource = state.resources[from];
  if (resource === undefined || to === undefined) return state;
  return { ...state, resources: { ...without(state.resources, from), [to]: resource } };
}

function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
}

/** `drbdadm up` has made it and then failed: it has no disk and no connection. */
export function isHalfUp({ devices, connections }: DrbdResourceState): boolean {
  return (
    Object.values(devices).every(({ disk }) => disk === 'Diskless') &&
    Object.values(connections).every(({ connection }) => connection === 'StandAlone')
  );
}

/** `seeking`: its peer is looked for, or about to be met. `refused`: a Primary has ended the connection on meeting it. */
export type Meeting = 'unknown' | 'seeking' | 'met' | 'refused';

/**
 * What has become of the connection by the state that follows: 8.4 does not say why it is StandAlone. Who is disconnected by a person was
 * met before, and of a peer that was refused the role was never told.
 */
export function meetingAfter(before: Meeting, resource: DrbdResourceState | undefined): Meeting {
  const connections = Object.values(resource?.connections ?? {});
  if (resource === undefined || connections.some(({ splitBrain, diverged }) => splitBrain || diverged))
    return 'unknown';
  if (connections.every(({ connection }) => connection === 'StandAlone'))
    return before === 'refused' || (before === 'seeking' && resource.role === 'Primary') ? 'refused' : 'unknown';
  if (connections.some(({ connection, role }) => connection === 'Connected' && role !== 'Unknown')) return 'met';
  return connections.some(({ connection }) => connection === 'Connected' || connection === 'Connecting')
    ? 'seeking'
    : before;
}

/** The whole output of `drbdsetup events2 --now`. */
export function drbdSnapshot(output: string): DrbdState {
  return output.split('\n').reduce(drbdLine, NOTHING_TOLD);
}

/** From the worst to the best, as the kernel orders them (enum drbd_disk_state). */
const DISKS: readonly string[] = [
  'Diskless',
  'Attaching',
  'Detaching',
  'Failed',
  'Negotiating',
  'Inconsistent',
  'Outdated',
  'DUnknown',
  'Consistent',
  'UpToDate',
];

/** An unknown word is none to be relied on. */
function worst(disks: readonly string[]): string {
  const rank = (disk: string) => DISKS.indexOf(disk);
  return disks.toSorted((a, b) => rank(a) - rank(b))[0] ?? 'Diskless';
}

/**
 * The copy in one line per machine: of its volumes the worst counts.
 * @param resource undefined: the kernel does not know it.
 * @param self how the configuration calls this machine.
 */
export function copyFrom(
  resource: DrbdResourceState | undefined,
  config: DrbdConfig,
  self: string,
): Pick<Copy, 'role' | 'disk' | 'frozen' | 'peers'> {
  if (resource === undefined) return { role: 'Unknown', disk: 'Unconfigured', peers: [] };
  const peers = Object.values(resource.connections).map((connection): CopyPeer => {
    const devices = Object.values(connection.devices);
    const behind = devices.reduce((sum, { behindKiB }) => sum + (behindKiB ?? 0), 0);
    const told = connection.connection !== 'Connected' && devices.some(({ behindKiB }) => behindKiB !== undefined);
    return {
      host: hostAt(config, self, connection),
      connection: connection.connection,
      role: connection.role,
      disk: devices.length === 0 ? 'DUnknown' : worst(devices.map(({ disk }) => disk)),
      ...(connection.splitBrain ? { splitBrain: true } : {}),
      ...(told ? { behindKiB: behind } : {}),
    };
  });
  return {
    role: resource.role,
    disk: worst(Object.values(resource.devices).map(({ disk }) => disk)),
    ...(resource.suspended === 'no' ? {} : { frozen: true }),
    peers: peers.toSorted((a, b) => (a.host < b.host ? -1 : 1)),
  };
}
