/** The only room that starts processes, reads /proc and talks to the kernel. */
export type { AddressListener } from './address-monitor.ts';
export {
  type AddedAddress,
  Addresses,
  fullLength,
  type InterfaceAddress,
  type NetworkInterface,
  subnetsOf,
} from './addresses.ts';
export { Cgroup, Cgroups, cgroupAt, type GroupCgroup } from './cgroup.ts';
export { bootMs } from './clock.ts';
export { DbusError } from './dbus.ts';
export { errnoOf, FileWriteError, watchForFile, writeFileDurably } from './files.ts';
export { type Log, silent } from './log.ts';
export { describeUser, type MountUser, mountUsers, signalUser, type UsedMounts } from './mount-users.ts';
export {
  deviceClaim,
  deviceHolders,
  escapeOctal,
  type FoundDevice,
  findDevice,
  loopsOn,
  type MountEntry,
  type MountTool,
  mountsWithAllUpon,
  mountToolPath,
  otherNamespaces,
  readDevice,
  readMounts,
  runMountTool,
  swapsOn,
  topAt,
  unescapeOctal,
} from './mounts.ts';
export { type RunOptions, type RunResult, run } from './process.ts';
export { processIdentity } from './process-identity.ts';
export { type Activity, controlGroupOf, Systemd, type UnitState } from './systemd.ts';
