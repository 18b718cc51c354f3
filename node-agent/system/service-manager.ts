/**
 * What a service and its service manager tell each other: readiness and state (sd_notify(3)), and whether the journal reads what this
 * process writes.
 *
 * Node has no datagram sockets of the kind that NOTIFY_SOCKET is. systemd's own `systemd-notify` has; it is there wherever that variable
 * is set, and takes 14 ms, twice in the life of an agent. It speaks in the name of the process that calls it.
 */
import { existsSync, fstatSync } from 'node:fs';
import { run } from './process.ts';

const PLACES = ['/usr/bin/systemd-notify', '/bin/systemd-notify'];
/** systemd takes the message at once; while it reloads, that may be after some seconds. */
const TELL_MS = 10_000;
const STANDARD_ERROR = 2;

export interface ServiceNews {
  /** `ready`: it serves. `stopping`: it is on its way to its end, by itself. */
  readonly state: 'ready' | 'stopping';
  /** One line, for `systemctl status`. */
  readonly status: string;
}

/**
 * Tells the service manager, if there is one.
 * @returns why it could not be told; undefined when it was, or when nobody has asked (no NOTIFY_SOCKET).
 */
export async function tellServiceManager(
  { state, status }: ServiceNews,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string | undefined> {
  const socket = env.NOTIFY_SOCKET;
  if (socket === undefined || socket === '') return undefined;
  const program = PLACES.find((place) => existsSync(place));
  if (program === undefined) return `systemd-notify is missing (${PLACES.join(', ')})`;
  const news = state === 'ready' ? '--ready' : 'STOPPING=1';
  const told = await run([program, news, `--status=${status.replaceAll(/\s+/g, ' ')}`], {
    env: { NOTIFY_SOCKET: socket, LC_ALL: 'C' },
    timeoutMs: TELL_MS,
  });
  if (told.code === 0) return undefined;
  const why = told.notStarted ?? (told.timedOut ? `no end within ${TELL_MS} ms` : told.output.trim());
  return `systemd-notify failed: ${why || `exit code ${told.code ?? told.signal}`}`;
}

/**
 * Is standard error what the journal reads (systemd.exec(5), JOURNAL_STREAM)? The variable alone does not say so: whatever a unit starts
 * inherits it, a terminal with its shell as well.
 */
export function journalReads(env: NodeJS.ProcessEnv = process.env, descriptor = STANDARD_ERROR): boolean {
  const [device, inode] = env.JOURNAL_STREAM?.split(':') ?? [];
  if (device === undefined || inode === undefined) return false;
  const { dev, ino } = fstatSync(descriptor, { bigint: true });
  return String(dev) === device && String(ino) === inode;
}
