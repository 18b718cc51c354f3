/** Corosync and Pacemaker as Debian ships them, with their defaults; no fencing, so that none of its time is counted. */
import { type Host, installNginx, Lab, nginx, type Observer, until, VIP } from '../../test/lab/index.ts';
import { peerPackages } from './peer-packages.ts';
import type { Stack } from './stack.ts';

const dirs = {
  '/var/lib/pacemaker': '750',
  '/var/lib/pacemaker/cib': '750',
  '/var/lib/pacemaker/pengine': '750',
  '/var/lib/pacemaker/blackbox': '750',
  '/var/lib/pacemaker/cores': '750',
  '/var/log/pacemaker': '770',
};

/** Two nodes need `two_node`; three have a majority of their own. Everything that is not said is Corosync's default. */
function corosyncConf(lab: Lab): string {
  const hosts = [...lab.hosts.values()];
  const nodes = hosts.map(
    (host, index) =>
      `  node {\n    name: ${host.name}\n    nodeid: ${index + 1}\n    ring0_addr: ${host.address('lan')}\n  }\n`,
  );
  const quorum = hosts.length === 2 ? '  two_node: 1\n  wait_for_all: 0\n' : '';
  return `totem {
  version: 2
  cluster_name: bench
  transport: knet
  crypto_cipher: none
  crypto_hash: none
}
logging {
  to_stderr: yes
  to_syslog: no
}
quorum {
  provider: corosync_votequorum
${quorum}}
nodelist {
${nodes.join('')}}
`;
}

/** The group of the benchmark: the address and nginx, as Holdfast has it. */
function groupXml(monitor: string): string {
  const value = (id: string, params: Readonly<Record<string, string>>) =>
    Object.entries(params)
      .map(([name, text]) => `<nvpair id="${id}-${name}" name="${name}" value="${text}"/>`)
      .join('');
  const primitive = (id: string, type: string, params: Readonly<Record<string, string>>, timeout: string) =>
    `<primitive id="${id}" class="ocf" provider="heartbeat" type="${type}"><instance_attributes id="${id}-a">${value(id, params)}</instance_attributes><operations><op id="${id}-m" name="monitor" interval="${monitor}" timeout="${timeout}"/></operations></primitive>`;
  const address = primitive('vip', 'IPaddr2', { ip: VIP, cidr_netmask: '24', nic: 'eth0' }, '20s');
  return `<group id="web">${address}${primitive('nginx', 'nginx', nginx.params, '30s')}</group>`;
}

/** Accounts, directories and units that the packages' scripts would have made. */
async function equip(lab: Lab, host: Host): Promise<void> {
  await installNginx(host);
  const passwd = await host.readFile('/etc/passwd');
  const group = await host.readFile('/etc/group');
  if (!/^hacluster:/m.test(passwd)) {
    await host.writeFile('/etc/passwd', `${passwd}hacluster:x:899:899::/var/lib/pacemaker:/usr/sbin/nologin\n`);
    await host.writeFile('/etc/group', `${group}haclient:x:899:\n`);
  }
  for (const [dir, mode] of Object.entries(dirs)) {
    await host.mustExec(['install', '-d', '-o', 'hacluster', '-g', 'haclient', '-m', mode, dir]);
  }
  await host.mustExec(['install', '-d', '/var/lib/corosync', '/var/log/corosync', '/etc/corosync']);
  await host.writeFile('/etc/corosync/corosync.conf', corosyncConf(lab));
  await host
    .unit('corosync', ['sh', '-c', 'mkdir -p /run/corosync; exec corosync -f'], { enabled: true, restart: 'no' })
    .start();
  const ready = 'until corosync-cfgtool -s >/dev/null 2>&1; do sleep 0.1; done';
  const run = 'install -d -o hacluster -g haclient -m 750 /run/crm';
  await host
    .unit('pacemaker', ['sh', '-c', `${run}; ${ready}; exec pacemakerd -f`], { enabled: true, restart: 'no' })
    .start();
}

export interface PacemakerStack extends Stack {
  readonly monitor: string;
}

/** @param monitor pause between two monitors of each resource; 10 s is what the agents' meta-data advise. */
export async function startPacemaker(name: string, names: readonly string[], monitor = '10s'): Promise<PacemakerStack> {
  const lab = await Lab.create({ hosts: names, packages: peerPackages });
  try {
    const observer = await lab.observe();
    for (const host of lab.hosts.values()) await equip(lab, host);
    const stack = stackOf(name, names, lab, observer, monitor);
    await stack.online();
    const first = lab.host(names[0] ?? '');
    await first.mustExec(['crm_attribute', '-n', 'stonith-enabled', '-v', 'false']);
    if (names.length === 2) await first.mustExec(['crm_attribute', '-n', 'no-quorum-policy', '-v', 'ignore']);
    await first.mustExec(['crm_attribute', '-t', 'rsc_defaults', '-n', 'resource-stickiness', '-v', '100']);
    await first.mustExec(['cibadmin', '-C', '-o', 'resources', '-X', groupXml(monitor)]);
    await until(() => observer.holders(VIP).length === 1, { deadlineMs: 60_000, what: 'Pacemaker to start the group' });
    await stack.healthy();
    return stack;
  } catch (error) {
    const logs = await lab.logs();
    await lab.close();
    throw new Error(`${name} did not start: ${error instanceof Error ? error.message : error}\n${logs}`, {
      cause: error,
    });
  }
}

function stackOf(name: string, names: readonly string[], lab: Lab, observer: Observer, monitor: string) {
  const anyone = () => [...lab.hosts.values()].find((host) => host.state.is === 'on') ?? lab.host(names[0] ?? '');
  const ask = async (argv: readonly string[]) => (await anyone().exec(argv, { deadlineMs: 20_000 })).stdout;
  const online = () =>
    until(
      async () => {
        const text = await ask(['crm_mon', '-1', '--output-as', 'xml']);
        return [...text.matchAll(/<node [^>]*online="true"[^>]*pending="false"/g)].length === names.length;
      },
      { deadlineMs: 120_000, everyMs: 300, what: `every node of ${name} to be online` },
    );
  const idle = () =>
    until(
      async () => {
        const dc = (await ask(['crmadmin', '-q', '-D'])).trim();
        return dc !== '' && (await ask(['crmadmin', '-S', dc])).includes('S_IDLE');
      },
      { deadlineMs: 120_000, everyMs: 300, what: `${name} to be idle` },
    );
  return {
    name,
    names,
    lab,
    observer,
    monitor,
    watchesService: true,
    online,
    async healthy() {
      await online();
      await idle();
    },
    async move(_from: string, to: string) {
      await anyone().mustExec(['crm_resource', '--move', '-r', 'web', '-N', to]);
    },
    async tidy() {
      await anyone().mustExec(['crm_resource', '--clear', '-r', 'web']);
      await anyone().mustExec(['crm_resource', '--cleanup']);
    },
    async coldStart() {
      await Promise.all([...lab.hosts.values()].map((host) => host.boot()));
    },
    async ownStarts() {
      return {};
    },
    close: () => lab.close(),
  };
}
