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
export { errnoOf, textOf } from './errors.ts';
export { FileWriteError, readIfThere, syncDirectory, watchForFile, writeFileDurably } from './files.ts';
export { type FollowOptions, followLines } from './follow.ts';
export { readAnswer } from './http-answer.ts';
export { parseJson } from './json.ts';
export { type Log, silent } from './log.ts';
export {
  containerKind,
  knownFileSystems,
  namesIn,
  protectionsOf,
  type SeenProcess,
  seenProcesses,
  textAt,
  unitOf,
  virtualMachine,
  type WatchdogDevice,
  watchdogDevices,
  watchdogHolder,
  watchdogRuns,
} from './machine.ts';
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
export { journalReads, tellServiceManager } from './service-manager.ts';
export { shellWord } from './shell.ts';
export {
  type Activity,
  controlGroupOf,
  type Supervision,
  Systemd,
  type UnitOrigin,
  type UnitState,
} from './systemd.ts';
export { isByDate, unreachableBecause } from './unreachable.ts';
