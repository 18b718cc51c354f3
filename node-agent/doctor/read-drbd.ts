/** Reads what the judgements of DRBD need. Executes drbdadm and drbdsetup, which change nothing by what they are asked here. */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { copyFrom, Drbd } from '../resources/index.ts';
import { type Declared, wanted } from './declared.ts';
import type { DrbdFacts } from './drbd.ts';

export async function readDrbd(declared: Declared, drbd = new Drbd()): Promise<DrbdFacts[]> {
  const resources = wanted(declared, 'drbd');
  if (resources.length === 0) return [];
  const read = await drbd.config();
  const version = drbd.version();
  const snapshot = await drbd.snapshot();
  return await Promise.all(
    resources.map(async (one): Promise<DrbdFacts> => {
      const { resource: name } = one.resource;
      const config =
        'problem' in read
          ? read
          : (read.resources.get(name) ?? { problem: `the DRBD configuration has no resource ${name}` });
      const known = 'state' in snapshot ? snapshot.state.resources[name] : undefined;
      const kernel =
        known === undefined || 'problem' in config
          ? undefined
          : { freezes: (await drbd.freezesWithoutPeer(name)) ?? false, copy: copyFrom(known, config, hostname()) };
      return { wanted: one, config, version, kernel, host: hostname(), exists: existsSync };
    }),
  );
}
