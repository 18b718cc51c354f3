/**
 * `npm run bench:footprint`: memory (PSS) and processor time per node of Holdfast (agent, guard and event source) and of Corosync with
 * Pacemaker, each idle with the same watched group. Every host maps its own copies of all files, and their page cache is dropped first.
 */
import { join } from 'node:path';
import {
  documentOf,
  type Host,
  installNginx,
  Lab,
  labUnavailable,
  nginx,
  Product,
  repoRoot,
  resources,
  until,
  VIP,
} from '../test/lab/index.ts';
import { benchOptions, wanted } from './lib/options.ts';
import { copyOnHost, copyToHost, dropPageCache, mappedFiles } from './lib/own-copies.ts';
import { startPacemaker } from './lib/pacemaker.ts';
import { circumstances, progress, record } from './lib/record.ts';
import { pause } from './lib/stack.ts';
import { figure, type Summary, spread, summarize, table } from './lib/summary.ts';
import { cpuMs, memoryOf, type ProcessMemory } from './lib/usage.ts';

const names = ['alice', 'bob'];
const ownDir = '/srv/holdfast';

interface Windows {
  readonly count: number;
  readonly ms: number;
  readonly settleMs: number;
}

interface NodeUse {
  readonly node: string;
  readonly role: 'runs the group' | 'stands by';
  readonly pssMiB: Summary;
  /** Seconds of processor time per minute: everything on the host. */
  readonly cpu: Summary;
  /** Of it: OCF agents, that is the monitors of the group's resources. */
  readonly cpuOfMonitors: Summary;
  /** Of the last window. */
  readonly processes: readonly ProcessMemory[];
}

/** What is counted of each, by process name. nginx itself and the laboratory's PID 1 are not. */
const counted = {
  holdfast: (name: string) => name.startsWith('holdfast') || name === 'ip' || name === 'MainThread',
  pacemaker: (name: string) => name === 'corosync' || name.startsWith('pacemaker'),
};

type Kind = 'holdfast' | 'holdfast-unit' | 'pacemaker';

/**
 * Where each keeps what it uses, below the host's control group, and of it what the resources' agents use. With a systemd unit only the
 * agent and its guard are counted, not systemd, which serves the whole machine.
 */
const controlGroups: Record<Kind, { readonly all: string; readonly monitors?: string }> = {
  holdfast: { all: '', monitors: 'system.slice/holdfast.service/holdfast-groups' },
  'holdfast-unit': { all: 'system.slice/holdfast.service' },
  pacemaker: { all: '' },
};

async function watch(hosts: readonly Host[], owner: string, kind: Kind, { count, ms }: Windows): Promise<NodeUse[]> {
  const found = hosts.map(() => ({ pss: [] as number[], cpu: [] as number[], monitors: [] as number[] }));
  let last: ProcessMemory[][] = [];
  const groups = controlGroups[kind];
  const { monitors } = groups;
  const processes = kind === 'pacemaker' ? counted.pacemaker : counted.holdfast;
  const read = () =>
    Promise.all(
      hosts.map(async (host) => ({
        all: await cpuMs(join(host.cgroup, groups.all)),
        monitors: monitors === undefined ? 0 : await cpuMs(join(host.cgroup, monitors)),
      })),
    );
  for (let window = 0; window < count; window++) {
    const [begun, before] = [performance.now(), await read()];
    await pause(ms);
    const [after, minutes] = [await read(), (performance.now() - begun) / 60_000];
    last = await Promise.all(hosts.map((host) => memoryOf(host, processes)));
    for (const [index, one] of found.entries()) {
      const used = (what: 'all' | 'monitors') =>
        ((after[index]?.[what] ?? 0) - (before[index]?.[what] ?? 0)) / 1_000 / minutes;
      one.cpu.push(used('all'));
      one.monitors.push(used('monitors'));
      one.pss.push((last[index] ?? []).reduce((sum, { pssMiB }) => sum + pssMiB, 0));
    }
    progress(
      `${kind}: window ${window + 1}: ${found.map((one) => `${figure(one.pss.at(-1) ?? 0)} MiB, ${figure(one.cpu.at(-1) ?? 0)} s/min`).join('; ')}`,
    );
  }
  return hosts.map((host, index) => {
    const one = found[index] ?? { pss: [], cpu: [], monitors: [] };
    return {
      node: host.name,
      role: host.name === owner ? 'runs the group' : 'stands by',
      pssMiB: summarize(one.pss),
      cpu: summarize(one.cpu),
      cpuOfMonitors: summarize(one.monitors),
      processes: last[index] ?? [],
    };
  });
}

async function holdfast(kind: 'holdfast' | 'holdfast-unit', windows: Windows): Promise<NodeUse[]> {
  progress(`${kind}: starting`);
  const unit = kind === 'holdfast-unit';
  await using lab = await Lab.create({ hosts: names, ...(unit ? { init: 'systemd' } : {}) });
  const product = await Product.create(lab);
  await product.startCoordinator();
  await product.createCluster();
  const hosts = [...lab.hosts.values()];
  const params = Object.entries(nginx.params).map(([name, value]) => `ocf=${nginx.agent}:${name}=${value}`);
  for (const host of hosts) {
    await installNginx(host);
    for (const part of ['holdfast', 'holdfast-guard'])
      await copyToHost(host, join(repoRoot, 'dist', part), `${ownDir}/${part}`);
    await product.enrol(host, { allow: ['vip=192.0.2.0/24', ...(unit ? ['service=nginx.service'] : params)] });
    const agent = [`${ownDir}/holdfast`, 'agent', '--state-dir', '/var/lib/holdfast'];
    await host.unit('holdfast', agent, { enabled: true }).start();
  }
  await product.apply(documentOf(names, [resources.vip, unit ? '      - service: nginx' : resources.nginx]));
  const owner = await running(product);
  await ownCopies(lab, hosts);
  await running(product);
  await pause(windows.settleMs);
  return await watch(hosts, owner, kind, windows);
}

async function running(product: Product): Promise<string> {
  let owner = '';
  await until(
    async () => {
      const group = JSON.parse(await product.mustCli(['status', '--json'])).groups.web;
      owner = group?.owner ?? '';
      return group?.state === 'running';
    },
    { deadlineMs: 60_000, everyMs: 200, what: 'the group to run' },
  );
  return owner;
}

/** Copies what is mapped, then switches every host off, drops the cache and switches it on again: all start from their own files. */
async function ownCopies(lab: Lab, hosts: readonly Host[]): Promise<void> {
  const paths = new Set((await Promise.all(hosts.map(mappedFiles))).flat());
  for (const host of hosts) await copyOnHost(host, [...paths]);
  let dropped = 0;
  for (const host of hosts) {
    await host.powerCut();
    dropped += await dropPageCache(lab, host);
  }
  progress(`${paths.size} mapped files copied for each host, page cache of ${dropped} dropped`);
  for (const host of hosts) await host.boot();
}

async function pacemaker(windows: Windows): Promise<NodeUse[]> {
  progress('Pacemaker: starting');
  const stack = await startPacemaker('Pacemaker 2 nodes', names);
  try {
    const hosts = [...stack.lab.hosts.values()];
    await ownCopies(stack.lab, hosts);
    await stack.healthy();
    const owner = await until(() => stack.observer.holders(VIP)[0], { deadlineMs: 60_000, what: 'an owner' });
    await pause(windows.settleMs);
    return await watch(hosts, owner, 'pacemaker', windows);
  } finally {
    await stack.close();
  }
}

async function main(): Promise<void> {
  const missing = labUnavailable();
  if (missing !== undefined) throw new Error(missing);
  const options = benchOptions({ runs: 3, quickRuns: 1 });
  const windows: Windows = options.quick
    ? { count: options.runs, ms: 20_000, settleMs: 5_000 }
    : { count: options.runs, ms: 40_000, settleMs: 30_000 };
  const about = await circumstances();
  const figures: Record<string, NodeUse[]> = {};
  if (wanted(options, 'holdfast')) figures.Holdfast = await holdfast('holdfast', windows);
  if (wanted(options, 'holdfast-unit')) figures['Holdfast, systemd unit'] = await holdfast('holdfast-unit', windows);
  if (wanted(options, 'pacemaker')) figures['Corosync + Pacemaker'] = await pacemaker(windows);
  const rows = Object.entries(figures).flatMap(([name, nodes]) =>
    nodes.map(({ node, role, pssMiB, cpu, cpuOfMonitors }) => {
      const monitors = name === 'Holdfast' ? spread(cpuOfMonitors) : name.startsWith('Holdfast') ? 'none' : 'included';
      return [name, `${node}, ${role}`, spread(pssMiB), spread(cpu), monitors, String(pssMiB.n)];
    }),
  );
  const main = table(
    ['median (min – max)', 'node', 'PSS, MiB', 'CPU, s per minute', 'of it the OCF monitors', 'n'],
    rows,
  );
  const [ours, theirs] = [figures.Holdfast, figures['Corosync + Pacemaker']];
  const compared = (ours ?? []).flatMap((own) => {
    const other = theirs?.find(({ role }) => role === own.role);
    if (other === undefined) return [];
    return [
      [
        own.role,
        `${(own.pssMiB.median / other.pssMiB.median).toFixed(2)} ×`,
        `${(own.cpu.median / other.cpu.median).toFixed(2)} ×`,
      ],
    ];
  });
  const details = Object.entries(figures).flatMap(([name, nodes]) =>
    nodes.flatMap(({ node, processes }) =>
      processes.map(({ name: comm, pssMiB, fileMiB, rssMiB, privateMiB }) => [
        name,
        node,
        comm,
        figure(pssMiB),
        figure(fileMiB),
        figure(rssMiB),
        figure(privateMiB),
      ]),
    ),
  );
  await record(
    about,
    [
      main,
      table(['ours ÷ theirs', 'PSS', 'CPU'], compared),
      table(['', 'node', 'process', 'PSS, MiB', 'of it files', 'RSS, MiB', 'private, MiB'], details),
    ],
    { windows, figures },
  );
}

await main();
