/** What the doctor says: one finding for each thing it looked at, as data. */

export const CHECKS = [
  'policy',
  'notify',
  'packages',
  'units',
  'drbd',
  'mounts',
  'addresses',
  'network-settings',
  'timing',
  'coordinator',
  'agent',
  'guard',
  'peers',
  'state-directory',
  'kernel',
  'clock',
  'watchdog',
  'virtual-machine',
  'nodes',
  'groups',
  'configuration',
  'versions',
  'history',
  'webhooks',
] as const;
export type Check = (typeof CHECKS)[number];

/** `unknown`: it could not be looked at, and the detail says why. Never stands for `ok`. */
export type Level = 'ok' | 'warning' | 'error' | 'unknown';

export interface Finding {
  readonly check: Check;
  readonly level: Level;
  /** What it is about: `web/nginx`, a node, a file. */
  readonly subject: string;
  readonly detail: string;
  /** What to do, to be carried out as it stands; several lines where a file has to be changed. */
  readonly fix?: string;
}

/** As monitors rank them: what is broken first, then what may break, then what nobody knows. */
const RANK = ['ok', 'unknown', 'warning', 'error'] as const satisfies readonly Level[];

export function worst(findings: readonly Finding[]): Level {
  return RANK[Math.max(0, ...findings.map(({ level }) => RANK.indexOf(level)))] ?? 'ok';
}

/** The exit codes of `status --check`. */
export function exitOf(level: Level): 0 | 1 | 2 | 3 {
  switch (level) {
    case 'ok':
      return 0;
    case 'warning':
      return 1;
    case 'error':
      return 2;
    case 'unknown':
      return 3;
    default:
      return level satisfies never;
  }
}

type Say = (subject: string, detail: string, fix?: string) => Finding;

/** @returns one word for each level, all of the same check. */
export function sayer(check: Check): Readonly<Record<Level, Say>> {
  const say =
    (level: Level): Say =>
    (subject, detail, fix) => ({ check, level, subject, detail, ...(fix === undefined ? {} : { fix }) });
  return { ok: say('ok'), warning: say('warning'), error: say('error'), unknown: say('unknown') };
}
