/** What the words of systemd mean for a service that Holdfast runs. Pure. Source: org.freedesktop.systemd1(5), systemd.service(5). */
import { shellWord, type UnitState } from '../system/index.ts';
import type { Severity } from './resource.ts';

export interface Failure {
  readonly severity: Severity;
  readonly reason: string;
}

/** Up, whatever it is busy with. */
export function isUp(active: string): boolean {
  return active === 'active' || active === 'reloading' || active === 'refreshing';
}

export function isDown(active: string): boolean {
  return active === 'inactive' || active === 'failed';
}

/** On its way to something else: not a failure, and no answer yet. A restart by hand is down for a moment, with its job still to go. */
export function isSettled(state: Pick<UnitState, 'active' | 'job'>): boolean {
  return !state.job && (isUp(state.active) || isDown(state.active));
}

/** Why this node may not run a unit, and what to do about it. */
export interface UnitTrouble {
  readonly what: string;
  readonly fix: string;
}

export function unitTrouble(unit: string, state: UnitState): UnitTrouble | undefined {
  switch (state.load) {
    case 'loaded':
      break;
    case 'not-found':
      return {
        what: `${unit} does not exist on this node`,
        fix: `install what brings it (systemctl cat ${shellWord(unit)})`,
      };
    case 'masked':
      return { what: `${unit} is masked on this node`, fix: `systemctl unmask ${shellWord(unit)}` };
    default:
      return {
        what: `${unit} cannot be loaded (${state.load}${state.loadError === '' ? '' : `: ${state.loadError}`})`,
        fix: `systemd-analyze verify ${shellWord(unit)}`,
      };
  }
  if (state.id !== unit) return { what: `${unit} is another name of ${state.id}`, fix: 'write that one' };
  const starts = 'it would run without a lease after a reboot';
  if (state.file.startsWith('enabled'))
    return { what: `${unit} is enabled at boot: ${starts}`, fix: `systemctl disable ${shellWord(unit)}` };
  const [by] = state.wantedBy.filter((name) => name.endsWith('.target'));
  if (by !== undefined)
    return { what: `${unit} is started by ${by}: ${starts}`, fix: `remove it from ${by} (systemctl cat ${by})` };
  if (state.type === 'oneshot' && !state.remainAfterExit)
    return {
      what: `${unit} is Type=oneshot without RemainAfterExit=yes: it is over as soon as it was started, and nothing is left to run here`,
      fix: 'add it, or name another unit',
    };
  return undefined;
}

/** @returns trouble with the unit in one sentence. */
export function unitProblem(unit: string, state: UnitState): string | undefined {
  const trouble = unitTrouble(unit, state);
  return trouble === undefined ? undefined : `${trouble.what}; ${trouble.fix}`;
}

/** What else starts the unit whenever it likes; only news when it is active. */
export function activatorsOf(state: UnitState): readonly string[] {
  return state.triggeredBy.filter((name) => /\.(socket|timer|path|automount)$/.test(name));
}

export function activatorTrouble(unit: string, activator: string): UnitTrouble {
  return {
    what: `${unit} is started by ${activator} whenever that sees fit, without a lease`,
    fix: `systemctl disable --now ${shellWord(activator)}`,
  };
}

export function activatorProblem(unit: string, activator: string): string {
  const { what, fix } = activatorTrouble(unit, activator);
  return `${what}; ${fix}`;
}

/** Why a unit that should run does not. `starting`: right after its start, when systemd has just looked at its conditions. */
export function whyDown(unit: string, state: UnitState, { starting = false } = {}): Failure {
  const soft = (reason: string): Failure => ({ severity: 'soft', reason });
  const log = `journalctl -u ${unit}`;
  const ended = howItEnded(state);
  switch (state.result) {
    case 'success':
      if (starting && !state.conditions)
        return {
          severity: 'hard',
          reason: `a Condition… or Assert… of ${unit} does not hold here, so systemd did not start it; systemctl status ${unit}`,
        };
      return soft(
        `${ended} by itself and without an error, and nothing of it is left (a program that puts itself into the background needs Type=forking)`,
      );
    case 'protocol':
      return soft(
        state.type === 'notify' || state.type === 'notify-reload'
          ? `${ended} before it said READY=1, which Type=${state.type} asks for; ${log}`
          : `it did not keep to Type=${state.type}: its main process could not be found (a wrong PIDFile=, or it does not put itself into the background); ${log}`,
      );
    case 'timeout':
      return soft(`systemd gave up waiting for it (a time-out of the unit); ${log}`);
    case 'exit-code':
      if (state.exit.status === 0 || state.exit.how !== 'exited') return soft(`one of its commands failed; ${log}`);
      return soft(`${ended}; ${log}`);
    case 'signal':
    case 'core-dump':
      return soft(ended);
    case 'watchdog':
      return soft('its watchdog (WatchdogSec=) was not fed in time');
    case 'oom-kill':
      return soft('the kernel killed it for want of memory (oom-kill)');
    case 'start-limit-hit':
      return soft('systemd refuses to start it so often (StartLimitBurst=)');
    case 'resources':
      return soft(`systemd could not set it up (a user, directory or limit of the unit is missing); ${log}`);
    default:
      return soft(`systemd says ${state.active}, result ${state.result || 'unknown'}; ${log}`);
  }
}

function howItEnded({ exit }: UnitState): string {
  switch (exit.how) {
    case 'exited':
      return `its main process ended with exit code ${exit.status}`;
    case 'killed':
      return `its main process was ended by ${signalName(exit.status)}`;
    case 'dumped':
      return `its main process crashed with ${signalName(exit.status)}`;
    case 'unknown':
      return 'its main process ended';
  }
}

const SIGNALS: Readonly<Record<number, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  4: 'SIGILL',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
};

function signalName(number: number): string {
  return SIGNALS[number] ?? `signal ${number}`;
}

/** Why a start took too long. */
export function whyNotActive(state: UnitState, afterMs: number): string {
  const waited = `it did not become active within ${afterMs / 1_000} s (systemd: ${state.active}, ${state.sub})`;
  if (state.active !== 'activating') return waited;
  switch (state.type) {
    case 'notify':
    case 'notify-reload':
      return `${waited}; Type=${state.type} waits for READY=1, which it has not said`;
    case 'forking':
      return `${waited}; Type=forking waits until the program has put itself into the background (and written its PIDFile=, where one is set)`;
    case 'dbus':
      return `${waited}; Type=dbus waits for its BusName=`;
    default:
      return waited;
  }
}
