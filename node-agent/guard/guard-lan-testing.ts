/** For the tests of the guard: a LAN with a neighbour on it, made of network namespaces, and a guard that runs on it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext } from 'node:test';
import type { Holding } from '../resources/resource.ts';
import { bootMs } from '../system/index.ts';
import { until } from '../system/testing.ts';
import { cgroupMount, compile, type FiredGroup, fired, startGuard } from './guard-testing.ts';
import type { GuardClient } from './index.ts';

const lan = `hfg-${process.pid}`;
const neighbour = `${lan}-n`;
export const root: string = mkdtempSync(join(tmpdir(), 'hfg-'));
export const binary: string = join(root, 'holdfast-guard');
/** Starts the guard inside the test's network namespace. (`ip netns exec` would hide /sys/fs/cgroup.) */
export const inLan: string = join(root, 'guard-in-lan');
/** Below it are those of the tests. */
export const cgroup: string = join(cgroupMount ?? '/nowhere', lan);

type Vip = Extract<Holding, { kind: 'vip' }>;
export const V4: Vip = { kind: 'vip', interface: 'lan0', address: '192.0.2.10/32' };
export const V6: Vip = { kind: 'vip', interface: 'lan0', address: '2001:db8::10/128' };

/** The programs that all this needs. */
export const TOOLS: readonly string[] = ['cc', 'ip', 'nsenter'];

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
export const lanIp = (...args: string[]) => ip('-n', lan, ...args);
export const neighbourIp = (...args: string[]) => ip('-n', neighbour, ...args);

interface Address {
  readonly local: string;
  readonly prefixlen: number;
  readonly valid_life_time: number;
  readonly noprefixroute?: boolean;
  readonly nodad?: boolean;
}

function addressIn(list: () => string, { address }: Vip): Address | undefined {
  const links = JSON.parse(list()) as { addr_info?: Address[] }[];
  return links.flatMap((link) => link.addr_info ?? []).find(({ local }) => local === address.split('/')[0]);
}
export const addressOf = (vip: Vip) => addressIn(() => lanIp('-j', 'addr', 'show', 'dev', 'lan0'), vip);
export const add = ({ address }: Vip) =>
  lanIp('addr', 'add', address, 'dev', 'lan0', 'noprefixroute', ...(address.includes(':') ? ['nodad'] : []));
export const clear = ({ address }: Vip) => {
  if (addressOf({ kind: 'vip', interface: 'lan0', address }) !== undefined)
    lanIp('addr', 'del', address, 'dev', 'lan0');
};

/** Makes it before the tests of the suite that calls this, and takes it away after them. */
export function onLan(): void {
  before(() => {
    compile(binary);
    writeFileSync(inLan, `#!/bin/sh\nexec nsenter --net=/run/netns/${lan} ${binary} "$@"\n`, { mode: 0o755 });
    ip('netns', 'add', lan);
    ip('netns', 'add', neighbour);
    lanIp('link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'lan1', 'netns', neighbour);
    for (const run of [lanIp, neighbourIp]) run('link', 'set', 'lo', 'up');
    lanIp('link', 'set', 'lan0', 'up');
    neighbourIp('link', 'set', 'lan1', 'up');
    lanIp('addr', 'add', '192.0.2.1/24', 'dev', 'lan0');
    neighbourIp('addr', 'add', '192.0.2.2/24', 'dev', 'lan1');
    neighbourIp('addr', 'add', '2001:db8::2/64', 'dev', 'lan1', 'nodad');
    mkdirSync(cgroup);
  });

  after(() => {
    for (const name of [lan, neighbour]) if (existsSync(`/run/netns/${name}`)) ip('netns', 'del', name);
    if (existsSync(cgroup)) rmdirSync(cgroup);
    rmSync(root, { recursive: true, force: true });
  });
}

/** A guard on a directory of its own, gone when the test ends. */
export async function guard(t: TestContext): Promise<{ dir: string; pid: number; reader: GuardClient }> {
  const dir = mkdtempSync(join(root, 'state-'));
  const started = await startGuard(t, dir, inLan);
  t.after(() => {
    clear(V4);
    clear(V6);
  });
  return { dir, ...started };
}

export const lease = (group: string, epoch: number, ms: number) => {
  const now = bootMs();
  return { group, epoch, deadlineMs: now + ms, fireAtMs: now + ms - 50 };
};

/** The group, once it has fired and nothing of it is held any more. */
export function firedAndClean(reader: GuardClient, group: string): Promise<FiredGroup> {
  return until(`${group} fires and is clean`, async () => {
    const found = await fired(reader, group);
    return found.clean && found;
  });
}
