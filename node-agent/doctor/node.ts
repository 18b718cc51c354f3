/** The check-up of one machine: reads theme by theme, and has each judged. What cannot be read is said, and stops nothing else. */
import { DEFAULT_STATE_DIR, identityFiles } from '../agent/identity.ts';
import { notifyPath, readNotify } from '../agent/notify-file.ts';
import { Policy, PolicyError } from '../agent/policy.ts';
import { drbdResources } from '../resources/index.ts';
import { Addresses, type SeenProcess, Systemd, seenProcesses, subnetsOf, textOf } from '../system/index.ts';
import { addressFindings, type Owner } from './addresses.ts';
import { agentFindings, guardFindings, stateDirFindings } from './agent.ts';
import { coordinatorFindings } from './coordinator.ts';
import { type Declared, wanted } from './declared.ts';
import { drbdFindings } from './drbd.ts';
import { type Check, type Finding, sayer } from './finding.ts';
import { machineFindings } from './machine.ts';
import { type MountFacts, mountFindings } from './mounts.ts';
import { networkSettingFindings } from './network-settings.ts';
import { packageFindings } from './packages.ts';
import { peerFindings } from './peers.ts';
import { type PolicyFacts, policyFindings } from './policy.ts';
import { readDrbd } from './read-drbd.ts';
import {
  agentProcess,
  readAgentProcess,
  readCoordinator,
  readDirtyBytes,
  readGuard,
  readMachine,
  readStateDir,
  readWatchdogs,
} from './read-machine.ts';
import { readNetwork, readSetting } from './read-network.ts';
import { type PeerQuestion, readPeers } from './read-peers.ts';
import { readMountFacts, readPackages, readUnits, systemdHere } from './read-resources.ts';
import { timingFindings } from './timing.ts';
import { unitFindings } from './units.ts';
import { watchdogFindings } from './watchdog.ts';

export interface NodeOptions {
  readonly stateDir: string;
  /** Undefined: this machine has not joined. */
  readonly coordinatorUrl: string | undefined;
  /** What it is asked to run; undefined while nobody has said. */
  readonly declared: Declared | undefined;
  /** Something answers on the agent's socket. */
  readonly agentAnswers: boolean;
  /** What is known of the exchange with the other nodes; undefined: this machine has not joined. */
  readonly peers: Pick<PeerQuestion, 'node' | 'listen' | 'agentSays' | 'exchanges' | 'told'> | undefined;
  readonly guardPath: string;
  readonly ownerOf: (group: string) => Owner;
}

export async function examineNode(options: NodeOptions): Promise<Finding[]> {
  const systemd = systemdHere() ? new Systemd() : undefined;
  try {
    const seen = seenProcesses();
    const joined = options.coordinatorUrl !== undefined;
    return [
      ...(options.declared === undefined
        ? [nothingDeclared()]
        : await examineDeclared(options, options.declared, systemd)),
      ...(joined ? await examineAgent(options, systemd, seen) : []),
      ...(await guarded('kernel', 'machine', async () => machineFindings(readMachine()))),
      ...(await guarded('watchdog', 'watchdog', async () =>
        watchdogFindings(readWatchdogs(options.stateDir, seen), options.declared),
      )),
    ];
  } finally {
    systemd?.close();
  }
}

/** What could not be looked at is unknown, with the reason; the other checks go on. */
async function guarded(check: Check, subject: string, examine: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await examine();
  } catch (error) {
    return [sayer(check).unknown(subject, `could not be looked at: ${textOf(error)}`)];
  }
}

function nothingDeclared(): Finding {
  return sayer('configuration').unknown(
    'this node',
    'has no configuration yet, so what it is to run is not known and was not looked at',
    'start its agent, which fetches it, or give the document: holdfast doctor --document FILE',
  );
}

async function examineDeclared(
  options: NodeOptions,
  declared: Declared,
  systemd: Systemd | undefined,
): Promise<Finding[]> {
  const vips = wanted(declared, 'vip');
  const notify = await guarded('notify', 'notify.yaml', () => notifyFindings(options.stateDir));
  let policy: Policy | undefined;
  let addresses: Finding[] = [];
  let settings: Finding[] = [];
  const policies = await guarded('policy', 'policy.yaml', async () => {
    const facts = await readPolicy(options);
    if ('policy' in facts) policy = facts.policy;
    return policyFindings(facts, declared);
  });
  if (vips.length > 0)
    addresses = await guarded('addresses', 'interfaces', async () => {
      const { network, facts, places } = await readNetwork(vips, options.guardPath, options.ownerOf);
      settings = await guarded('network-settings', 'sysctl', async () => networkSettingFindings(places, readSetting));
      return addressFindings(network, facts);
    });
  let mounts: readonly MountFacts[] = [];
  const fileSystems = await guarded('mounts', 'file systems', async () => {
    mounts = await readMountFacts(declared, systemd);
    return mountFindings(mounts);
  });
  let timing: Finding[] = [];
  const packages = await guarded('packages', 'programs', async () => {
    const read = await readPackages(declared, policy);
    const withoutJournal = mounts.filter(({ ext }) => ext?.journal === false).map((mount) => mount.wanted);
    timing = timingFindings({ advised: read.advised, withoutJournal, dirtyBytes: readDirtyBytes() }, declared);
    return packageFindings(read.packages);
  });
  const replicas = await guarded('drbd', 'DRBD', async () => drbdFindings(await readDrbd(declared), declared.timing));
  const units = await guarded('units', 'systemd', async () => unitFindings(await readUnits(declared, systemd)));
  return [
    ...policies,
    ...notify,
    ...packages,
    ...units,
    ...replicas,
    ...fileSystems,
    ...addresses,
    ...settings,
    ...timing,
  ];
}

/** Nothing to say where nobody is told. */
async function notifyFindings(stateDir: string): Promise<Finding[]> {
  const path = notifyPath(stateDir);
  const { ok, error } = sayer('notify');
  try {
    const notify = await readNotify(stateDir);
    return notify === undefined
      ? []
      : [ok(path, `${new URL(notify.url).host} is told what the coordinator does not hear`)];
  } catch (problem) {
    if (!(problem instanceof PolicyError)) throw problem;
    return [error(path, problem.problem, `mend ${path}; until then this node tells nobody by itself`)];
  }
}

async function readPolicy({ stateDir, coordinatorUrl, declared }: NodeOptions): Promise<PolicyFacts> {
  const { policy: path } = identityFiles(stateDir);
  const joined = coordinatorUrl !== undefined;
  try {
    const subnets = subnetsOf(await new Addresses().read());
    const drbd = declared === undefined || wanted(declared, 'drbd').length === 0 ? [] : await drbdResources();
    return { path, joined, policy: await Policy.load(path, { subnets, drbd }) };
  } catch (error) {
    if (error instanceof PolicyError)
      return { path, joined, problem: `${error.line === undefined ? '' : `line ${error.line}: `}${error.problem}` };
    throw error;
  }
}

async function examineAgent(
  options: NodeOptions,
  systemd: Systemd | undefined,
  seen: readonly SeenProcess[],
): Promise<Finding[]> {
  const { stateDir, coordinatorUrl, declared, agentAnswers: answers } = options;
  const runsServices = declared !== undefined && wanted(declared, 'service').length > 0;
  const of = { stateDir, defaultStateDir: DEFAULT_STATE_DIR, answers, runsServices, seen, systemd };
  const { peers } = options;
  return [
    ...(await guarded('coordinator', coordinatorUrl ?? '', async () =>
      coordinatorFindings(await readCoordinator(coordinatorUrl ?? ''), declared?.timing),
    )),
    ...(await guarded('agent', 'agent', async () => agentFindings(await readAgentProcess(of), declared?.timing))),
    ...(await guarded('guard', 'guard', async () => guardFindings(readGuard(stateDir, seen)))),
    ...(peers === undefined || declared === undefined
      ? []
      : await guarded('peers', 'peers', async () => {
          const agentPid = agentProcess(stateDir, DEFAULT_STATE_DIR, seen)?.pid;
          return peerFindings(await readPeers({ ...peers, stateDir, agentPid, seen }), declared);
        })),
    ...(await guarded('state-directory', stateDir, async () => stateDirFindings(await readStateDir(stateDir)))),
  ];
}
