/** The watchdog: what there is, who has it, and whether it fits the lease and what the groups demand. */
import { fuseProblem } from '../../schemas/fuse.ts';
import { LOAD_SOFTDOG } from '../agent/reset-choice.ts';
import type { Declared } from './declared.ts';
import { type Finding, sayer } from './finding.ts';

export interface WatchdogFact {
  /** `watchdog0`; as a device /dev/watchdog0, and the first also /dev/watchdog. */
  readonly name: string;
  readonly identity: string;
  /** Seconds; undefined where the driver does not tell. */
  readonly leastS: number | undefined;
  readonly mostS: number | undefined;
  readonly noWayOut: boolean;
}

export interface WatchdogFacts {
  readonly devices: readonly WatchdogFact[];
  /** Who has one open, but for the guard: `systemd (process 1)`. */
  readonly holder: string | undefined;
  /** What the guard that runs was started with; without one, what was chosen at `join`. */
  readonly chosen: 'none' | 'watchdog' | 'sysrq';
  readonly device: string;
}

const { ok, warning, error } = sayer('watchdog');
const CHOOSE = '--reset=watchdog in reset.env of the state directory, which says how (docs/operations.md, Watchdog)';

export function watchdogFindings(facts: WatchdogFacts, declared: Declared | undefined): Finding[] {
  return [...deviceFindings(facts, declared), ...demandFindings(facts, declared)];
}

function deviceFindings(facts: WatchdogFacts, declared: Declared | undefined): Finding[] {
  const { devices, chosen, device } = facts;
  if (devices.length === 0)
    return chosen === 'watchdog'
      ? [error('none', `there is none, and the guard is to use ${device}: it does not start`, LOAD_SOFTDOG)]
      : [ok('none', 'there is none; nothing here would reset this machine if it hung')];
  return devices.map((one) => deviceFinding(one, facts, declared));
}

function deviceFinding(fact: WatchdogFact, facts: WatchdogFacts, declared: Declared | undefined): Finding {
  const { name, identity, leastS, mostS, noWayOut } = fact;
  const range = leastS === undefined || mostS === undefined ? 'time-outs unknown' : `${leastS} to ${mostS} s`;
  const stop = noWayOut ? ', cannot be stopped once armed (nowayout)' : '';
  const what = `${identity}, ${range}${stop}`;
  const mine =
    facts.chosen === 'watchdog' &&
    (facts.device === `/dev/${name}` || (facts.device === '/dev/watchdog' && name === 'watchdog0'));
  if (facts.holder !== undefined)
    return (mine ? error : ok)(
      name,
      `${what}; in use by ${facts.holder}`,
      ...(mine
        ? [
            facts.holder.startsWith('systemd ')
              ? 'RuntimeWatchdogSec=off in /etc/systemd/system.conf, and systemctl daemon-reexec'
              : `end ${facts.holder}, or give the guard another one: --watchdog`,
          ]
        : []),
    );
  const problem =
    declared === undefined ? undefined : fuseProblem(declared.timing, { kind: 'watchdog', leastS, mostS });
  if (mine && problem !== undefined)
    return error(name, `${what}; ${problem}`, '`lease:` in the document, or --reset=none on this node');
  if (mine) return ok(name, `${what}; the guard arms it with the first lease`);
  return ok(name, `${what}; not used${problem === undefined ? '' : `, and too slow for this lease: ${problem}`}`);
}

/** Groups that demand a watchdog, on a node that has none. */
function demandFindings({ chosen }: WatchdogFacts, declared: Declared | undefined): Finding[] {
  if (chosen === 'watchdog') return [];
  return (declared?.groups ?? [])
    .filter(({ fence }) => fence === 'watchdog')
    .map(({ name }) =>
      warning(name, 'demands a watchdog (`fence: watchdog`, or a shared disk), so it does not start here', CHOOSE),
    );
}
