import { type Host, installNginx, Lab, until, VIP } from '../../test/lab/index.ts';
import { peerPackages } from './peer-packages.ts';
import { pause, type Stack } from './stack.ts';

/** What an administrator writes by hand: both BACKUP with nopreempt, so that a node that returns does not take the address back. */
function configuration(name: string, priority: number, advertS: number): string {
  return `global_defs {
  router_id ${name}
}
vrrp_instance V {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority ${priority}
  advert_int ${advertS}
  virtual_ipaddress {
    ${VIP}/24 dev eth0
  }
}
`;
}

/** keepalived moves the address between hosts on which nginx always runs; it does not look after nginx. */
export async function startKeepalived(name: string, names: readonly string[], advertS: number): Promise<Stack> {
  const lab = await Lab.create({ hosts: names, packages: peerPackages });
  const observer = await lab.observe();
  const equip = async (host: Host, index: number) => {
    await installNginx(host);
    await host.writeFile('/etc/keepalived/keepalived.conf', configuration(host.name, 105 - 5 * index, advertS));
    const nginx = host.unit('nginx', ['nginx', '-g', 'daemon off;'], { enabled: true, restart: 'no' });
    await nginx.start();
    const daemon = ['keepalived', '--dont-fork', '--log-console', '--vrrp', '-f', '/etc/keepalived/keepalived.conf'];
    await host.unit('keepalived', daemon, { enabled: true, restart: 'no' }).start();
  };
  try {
    for (const [index, host] of [...lab.hosts.values()].entries()) await equip(host, index);
  } catch (error) {
    await lab.close();
    throw error;
  }
  const unit = (host: string) => lab.host(host).units.find((one) => one.name === 'keepalived');
  const settleMs = 4_000 * advertS + 2_000;
  return {
    name,
    names,
    lab,
    observer,
    watchesService: false,
    async healthy() {
      await until(() => observer.holders(VIP).length === 1, { deadlineMs: 60_000, what: 'one owner of the address' });
      await pause(settleMs);
    },
    async move(from) {
      await unit(from)?.stop('SIGTERM');
    },
    async tidy() {
      for (const host of names) await unit(host)?.start();
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
