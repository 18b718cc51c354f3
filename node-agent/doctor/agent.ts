/** Is the agent there to hold leases, its guard to end them, and a place to keep what must not be forgotten? */
import type { LeaseTiming } from '../../schemas/limits.ts';
import { AGENT_UNIT } from '../resources/index.ts';
import type { Supervision } from '../system/index.ts';
import { type Finding, sayer } from './finding.ts';

export interface AgentProcessFacts {
  readonly stateDir: string;
  /** Something answers on its socket. */
  readonly answers: boolean;
  readonly pid: number | undefined;
  /** The service unit that it runs in, by its cgroup. */
  readonly unit: string | undefined;
  /** What systemd says of that unit (without one: of the unit by its usual name); why it could not be asked. */
  readonly supervision: Supervision | { readonly unreadable: string };
  /** Services of systemd are declared here. */
  readonly runsServices: boolean;
}

const { ok, warning, error, unknown } = sayer('agent');
const UNIT_TEXT = 'docs/guide.md has the unit';

export function agentFindings(facts: AgentProcessFacts, timing: LeaseTiming | undefined): Finding[] {
  const { answers, pid, stateDir } = facts;
  const running = answers
    ? []
    : [
        pid === undefined
          ? error('agent', `none runs for ${stateDir}: this node takes no group`, startOf(facts))
          : error(
              'agent',
              `process ${pid} does not answer on ${stateDir}/agent.sock`,
              `look at its log: journalctl -u ${facts.unit ?? AGENT_UNIT}`,
            ),
      ];
  const unit = unitFindings(facts, timing);
  if (running.length + unit.length > 0) return [...running, ...unit];
  return [ok('agent', `runs as ${facts.unit}, and is started again whenever it ends`)];
}

function startOf({ supervision }: AgentProcessFacts): string {
  const known = !('unreadable' in supervision) && supervision.load === 'loaded';
  return known ? `systemctl enable --now ${AGENT_UNIT}` : `holdfast agent, or as a unit (${UNIT_TEXT})`;
}

function unitFindings(
  { unit, supervision, answers, runsServices }: AgentProcessFacts,
  timing?: LeaseTiming,
): Finding[] {
  if ('unreadable' in supervision)
    return [unknown('agent', `what supervises it was not looked at: ${supervision.unreadable}`)];
  if (unit === undefined || supervision.load !== 'loaded')
    return answers
      ? [
          warning(
            'agent',
            'no unit of systemd runs it: nothing starts it again when it ends',
            `run it as ${AGENT_UNIT} (${UNIT_TEXT})`,
          ),
        ]
      : [];
  const found: Finding[] = [];
  const set = (setting: string) => dropIn(unit, setting);
  if (supervision.killMode !== 'process')
    found.push(
      error(
        unit,
        `KillMode=${supervision.killMode}: stopping or upgrading the agent kills the guard and every service with it`,
        set('KillMode=process'),
      ),
    );
  if (!supervision.delegate)
    found.push(
      warning(unit, 'Delegate= is off: systemd may move what the agent runs to other cgroups', set('Delegate=yes')),
    );
  if (supervision.restart !== 'always')
    found.push(warning(unit, `Restart=${supervision.restart}: an agent that ends stays ended`, set('Restart=always')));
  const left = timing === undefined ? undefined : timing.leaseMs - timing.stopMs - timing.renewMs;
  if (left !== undefined && supervision.restart !== 'no' && supervision.restartMs >= left)
    found.push(
      warning(
        unit,
        `RestartSec=${supervision.restartMs} ms: an agent that ends is not back within ${left} ms (lease ${timing?.leaseMs} − forced stop ${timing?.stopMs} − age of the last renewal, up to ${timing?.renewMs}), and its services are taken down`,
        set('RestartSec=200ms'),
      ),
    );
  if (!supervision.file.startsWith('enabled'))
    found.push(
      warning(unit, `is ${supervision.file || 'not installed'}: it does not start at boot`, `systemctl enable ${unit}`),
    );
  if (runsServices && unit !== AGENT_UNIT)
    found.push(
      warning(
        unit,
        `is not called ${AGENT_UNIT}, which services are ordered by: when the machine goes down they are stopped beside the agent instead of after it`,
        `rename it: mv /etc/systemd/system/${unit} /etc/systemd/system/${AGENT_UNIT}, systemctl daemon-reload, stop the old and enable the new one`,
      ),
    );
  return found;
}

/** Each setting in a file of its own, so that one fix does not undo another. */
function dropIn(unit: string, setting: string): string {
  const directory = `/etc/systemd/system/${unit}.d`;
  const file = `${directory}/holdfast-${setting.split('=', 1)[0]?.toLowerCase()}.conf`;
  const write = `mkdir -p ${directory} && printf '[Service]\\n%s\\n' ${setting} >${file}`;
  return `${write} && systemctl daemon-reload && systemctl restart ${unit}`;
}

export interface GuardFacts {
  readonly pid: number | undefined;
  /** Of the running guard, as the kernel tells it. */
  readonly locked: boolean;
  readonly realtime: boolean;
  readonly spared: boolean;
}

export function guardFindings(facts: GuardFacts): Finding[] {
  const say = sayer('guard');
  if (facts.pid === undefined)
    return [say.unknown('guard', 'none runs, so its protections cannot be looked at; the agent starts it')];
  const lacks = [
    [
      facts.locked,
      'its memory is not locked: it may be late on a machine that swaps',
      'CAP_IPC_LOCK, LimitMEMLOCK=infinity',
    ],
    [
      facts.realtime,
      'it has no real-time priority: it may be late on a loaded machine',
      'CAP_SYS_NICE, LimitRTPRIO=10; where the kernel shares real-time by cgroup, cpu.rt_runtime_us',
    ],
    [facts.spared, 'the kernel may end it when memory runs out', 'CAP_SYS_RESOURCE'],
  ] as const;
  const found = lacks.flatMap(([has, what, needs]) =>
    has
      ? []
      : [
          say.warning(
            'guard',
            what,
            `run the agent as root, with ${needs}; with nothing held here, end the guard (kill ${facts.pid}) and the agent starts it anew`,
          ),
        ],
  );
  return found.length > 0
    ? found
    : [say.ok('guard', 'has its memory locked, real-time priority, and is spared when memory runs out')];
}

export interface StateDirFacts {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  /** Why the key cannot be used. */
  readonly identityProblem: string | undefined;
  readonly fileSystem: string;
  readonly readOnly: boolean;
  readonly freeBytes: number;
  /** Infinity where the file system does not count files. */
  readonly freeFiles: number;
}

/** An epoch is a few hundred bytes; what fills a disk takes the rest of this in a day or so. */
const LOW_BYTES = 64 << 20;
const NO_BYTES = 1 << 20;

export function stateDirFindings(facts: StateDirFacts): Finding[] {
  const say = sayer('state-directory');
  const { path, mode, uid, fileSystem, freeBytes, freeFiles } = facts;
  const found: Finding[] = [];
  if (uid !== 0) found.push(say.error(path, `belongs to uid ${uid}, who could write the policy`, `chown root ${path}`));
  if ((mode & 0o022) !== 0)
    found.push(
      say.error(path, 'can be written by group or others, who could replace the policy', `chmod go-w ${path}`),
    );
  if (facts.identityProblem !== undefined) found.push(say.error(path, facts.identityProblem, identityFix(facts)));
  if (fileSystem === 'tmpfs' || fileSystem === 'ramfs')
    found.push(
      say.error(
        path,
        `is on a ${fileSystem}: key and epochs are forgotten at a reboot`,
        'move it to a disk: holdfast join --state-dir',
      ),
    );
  if (facts.readOnly)
    found.push(
      say.error(
        path,
        'is on a file system that is read-only',
        'look in dmesg for errors of the disk; mount it writable',
      ),
    );
  const free = `${Math.floor(freeBytes / (1 << 20))} MiB and ${freeFiles === Number.POSITIVE_INFINITY ? 'no limit of' : freeFiles} files are free`;
  if (freeBytes < NO_BYTES || freeFiles < 8)
    found.push(
      say.error(
        path,
        `${free}: no epoch can be written, so no group can be started here`,
        `free space there: df -h ${path}; df -i ${path}`,
      ),
    );
  else if (freeBytes < LOW_BYTES || freeFiles < 1_000)
    found.push(
      say.warning(
        path,
        `${free}: when nothing is left no group can be started here`,
        `free space there: df -h ${path}; df -i ${path}`,
      ),
    );
  return found.length > 0 ? found : [say.ok(path, `private, on ${fileSystem}; ${free}`)];
}

function identityFix({ identityProblem = '' }: StateDirFacts): string {
  return /chmod \d+ \S+$/.exec(identityProblem)?.[0] ?? 'holdfast node remove NODE, then join again';
}
