/**
 * What Holdfast changes about a unit while it runs it: a drop-in below /run, so that nothing survives a reboot. It stays for as long
 * as the configuration names the unit, not only while the unit runs, so that a takeover needs no daemon-reload, and `Restart=` is off
 * whoever started it.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, type UnitState } from '../system/index.ts';
import type { OperationTimes } from './resource.ts';

const RUN_UNITS = '/run/systemd/system';
/** Sorts behind what `systemctl edit` writes (`override.conf`): the last word counts. */
const FILE = 'zz-holdfast.conf';
/** Stopped before the unit when the machine goes down, so that the group is taken down in its order. */
export const AGENT_UNIT = 'holdfast.service';
/** systemd's own patience ends after ours, whose end is reported with a reason. */
const LONGER_MS = 5_000;

/** @param declared the times that the document gives; the others are the unit's own. */
export function dropInText(declared: Partial<OperationTimes>): string {
  const limit = (name: string, ms: number | undefined) => (ms === undefined ? [] : [`${name}=${ms + LONGER_MS}ms`]);
  return [
    '# Written by Holdfast, which starts, watches and stops this unit; gone when the cluster’s configuration no longer names it.',
    '[Unit]',
    `Before=${AGENT_UNIT}`,
    '[Service]',
    'Restart=no',
    'RestartForceExitStatus=',
    ...limit('TimeoutStartSec', declared.startMs),
    ...limit('TimeoutStopSec', declared.stopMs),
    '',
  ].join('\n');
}

/** @returns whether it has changed; then systemd has to be told. */
export function writeDropIn(unit: string, text: string, root = RUN_UNITS): boolean {
  const directory = join(root, `${unit}.d`);
  const path = join(directory, FILE);
  try {
    if (readFileSync(path, 'utf8') === text) return false;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${path}.new`, text, { mode: 0o644 });
  renameSync(`${path}.new`, path);
  return true;
}

/** Does what systemd has loaded agree with the drop-in? A later drop-in of somebody else may overrule it. */
export function dropInInForce(
  unit: string,
  declared: Partial<OperationTimes>,
  state: UnitState,
  root = RUN_UNITS,
): boolean {
  const agrees = (found: number, wanted: number | undefined) => wanted === undefined || found === wanted + LONGER_MS;
  return (
    state.dropIns.includes(join(root, `${unit}.d`, FILE)) &&
    state.restart === 'no' &&
    agrees(state.startTimeoutMs, declared.startMs) &&
    agrees(state.stopTimeoutMs, declared.stopMs)
  );
}

/** Units that have a drop-in of Holdfast's. */
export function unitsWithDropIn(root = RUN_UNITS): string[] {
  let directories: string[];
  try {
    directories = readdirSync(root).filter((name) => name.endsWith('.service.d'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  return directories
    .filter((directory) => readdirSync(join(root, directory)).includes(FILE))
    .map((directory) => directory.slice(0, -'.d'.length));
}

export function removeDropIn(unit: string, root = RUN_UNITS): void {
  const directory = join(root, `${unit}.d`);
  rmSync(join(directory, FILE), { force: true });
  try {
    rmdirSync(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'ENOENT') throw error;
  }
}
