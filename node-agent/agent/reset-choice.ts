/**
 * What the administrator of a machine has chosen as the last word of its guard (`--reset`, `--watchdog`), and how that reaches the guard:
 * `join` writes it to STATE_DIR/reset.env, from where the package's units give it to the guard and to the agent; an agent that starts the
 * guard itself passes on its own.
 */
import { readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

export type ResetChoice =
  | { readonly kind: 'none' | 'sysrq' }
  | { readonly kind: 'watchdog' /** Left out: /dev/watchdog. */; readonly device?: string };

/** @returns the choice, or what is wrong with it. */
export function resetChoice(reset: string, device?: string): ResetChoice | { readonly problem: string } {
  if (reset !== 'none' && reset !== 'watchdog' && reset !== 'sysrq')
    return { problem: `--reset=${reset}: it must be none, watchdog or sysrq` };
  if (reset === 'watchdog' && device !== undefined)
    return /^\/[A-Za-z0-9._/-]{1,300}$/.test(device)
      ? { kind: reset, device }
      : { problem: `--watchdog ${device}: it must be the absolute path of a device, as /dev/watchdog1` };
  if (device !== undefined)
    return { problem: `--watchdog ${device} needs --reset=watchdog: with --reset=${reset} it would not be used` };
  return { kind: reset };
}

/**
 * The kernel's own watchdog, now and at every boot. Debian's kernel packages deny-list the modules of all watchdogs, so that modules-load.d
 * leaves them out; modprobe by name does not ask that list. Another module instead of softdog: the one of the hardware.
 */
export const LOAD_SOFTDOG = [
  'modprobe softdog',
  'mkdir -p /etc/systemd/system/holdfast-guard.service.d',
  "printf '[Service]\\nExecStartPre=+/sbin/modprobe softdog\\n' >/etc/systemd/system/holdfast-guard.service.d/watchdog.conf",
  'systemctl daemon-reload',
].join(' && ');

/** Of every process outside of containers. Source: include/linux/proc_ns.h, PROC_PID_INIT_INO. */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';

/** @returns why the guard would not start with this choice on this machine, as far as can be seen without opening the device. */
export function resetObstacle(choice: ResetChoice): { readonly what: string; readonly next: string } | undefined {
  if (choice.kind === 'none') return undefined;
  if (readlinkSync('/proc/self/ns/pid') !== INITIAL_PID_NAMESPACE)
    return {
      what: `--reset=${choice.kind} resets the whole machine, and this is a container of it`,
      next: 'leave --reset out here',
    };
  if (choice.kind !== 'watchdog') return undefined;
  const device = choice.device ?? '/dev/watchdog';
  if (statSync(device, { throwIfNoEntry: false })?.isCharacterDevice() === true) return undefined;
  return {
    what: `--reset=watchdog: there is no watchdog at ${device}`,
    next: `name its device with --watchdog, or load its module; without hardware: ${LOAD_SOFTDOG}`,
  };
}

/** As the guard takes it. */
export function guardArguments(choice: ResetChoice): string[] {
  const device = choice.kind === 'watchdog' ? choice.device : undefined;
  return [
    ...(choice.kind === 'none' ? [] : [`--reset=${choice.kind}`]),
    ...(device === undefined ? [] : [`--watchdog=${device}`]),
  ];
}

export function resetFile(stateDir: string): string {
  return join(stateDir, 'reset.env');
}

/** An environment file of systemd, see systemd.exec(5). */
export function resetFileText(choice: ResetChoice): string {
  return `# What resets this machine when something held cannot be taken away: --reset=none, watchdog (with --watchdog DEVICE) or sysrq.
# Read by holdfast-guard.service and holdfast.service. To change it, with nothing on this node: holdfast node standby NODE,
# systemctl stop holdfast holdfast-guard, edit, systemctl start holdfast, holdfast node ready NODE.
HOLDFAST_RESET_OPTIONS="${guardArguments(choice).join(' ')}"
`;
}
