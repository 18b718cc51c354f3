/** The laboratory: hosts as namespaces on one machine, for tests, the demo and benchmarks. Nothing else reaches past this file. */
export { labUnavailable } from './available.ts';
export { type Answer, Client, type ClientOptions, type Missed, type Outage } from './client.ts';
export { Cluster, type ClusterOptions, documentOf, resources, VIP } from './cluster.ts';
export { type CommandOptions, type Finished, mustRun, run } from './command.ts';
export { type DiskOptions, disksUnavailable, SharedDisk } from './disk.ts';
export type { ExecOptions, Exit, Host, HostProcess, HostState, SpawnOptions } from './host.ts';
export type { Device } from './host-files.ts';
export { Lab, type LabOptions } from './lab.ts';
export { assertNeverTwo, assertNothingForgotten, everyEvent, type Memory, memoryOf } from './memory.ts';
export { type Direction, type LinkName, networks } from './network.ts';
export type { Observer, ObserverOptions } from './observer.ts';
export { labPackages, preparePackages } from './packages.ts';
export { repoRoot } from './paths.ts';
export { type AgentOptions, type ApiAnswer, type EnrolOptions, Product, type ProductOptions } from './product.ts';
export {
  installMariadb,
  installNginx,
  installTestAgents,
  mariadb,
  nginx,
  type OcfResource,
  ocf,
  setFault,
  type TestAgent,
  testAgents,
} from './services.ts';
export { signalAll } from './signals.ts';
export type { Overlap } from './timeline.ts';
export type { Unit, UnitOptions } from './unit.ts';
export { DeadlineError, monotonicMs, until, type Wait, within } from './until.ts';
