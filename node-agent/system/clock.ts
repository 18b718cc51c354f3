import { openSync, readSync } from 'node:fs';

const buffer = Buffer.alloc(64);
let uptime: number | undefined;

/**
 * CLOCK_BOOTTIME in milliseconds, the only clock that leases are measured by: it runs on while the machine sleeps and
 * nobody can set it. /proc/uptime has steps of 10 ms and is rounded down, which is the safe side for a send time (protocol.md O1).
 */
export function bootMs(): number {
  uptime ??= openSync('/proc/uptime', 'r');
  const length = readSync(uptime, buffer, 0, buffer.length, 0);
  const seconds = buffer.toString('latin1', 0, length).split(' ', 1)[0] ?? '';
  const ms = parseUptimeMs(seconds);
  if (ms === undefined) throw new Error(`/proc/uptime begins with "${seconds}", which is not a number of seconds`);
  return ms;
}

/** @returns whole milliseconds of a text like `12345.67`, computed without fractions so that nothing is ever rounded up. */
export function parseUptimeMs(text: string): number | undefined {
  const match = /^(\d+)(?:\.(\d{1,3})\d*)?$/.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * 1_000 + Number((match[2] ?? '').padEnd(3, '0'));
}
