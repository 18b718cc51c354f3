/** The agent as a real host runs it: a unit of systemd, which ends it at a shutdown before the units that wait for it. */
import type { Cluster } from './cluster.ts';
import type { Host } from './host.ts';
import { repoRoot } from './paths.ts';

const LOG = '/srv/agent.log';

/** From now on the systemd of this host runs its agent, as the unit file of the guide says. */
export async function runAgentByUnit(cluster: Cluster, host: Host): Promise<void> {
  const agent = cluster.product.agent(host);
  await agent.stop('SIGTERM');
  agent.enabled = false;
  // the host's own mounts go at a shutdown too, and with them the executable
  const unit = `[Unit]
RequiresMountsFor=/srv /var/lib/holdfast ${repoRoot}
[Service]
ExecStart=${cluster.product.binary} agent
StandardError=append:${LOG}
KillMode=process
Delegate=yes
TimeoutStopSec=60
`;
  await host.writeFile('/etc/systemd/system/holdfast.service', unit);
  await host.mustExec(['systemctl', 'daemon-reload']);
  await host.mustExec(['systemctl', 'start', 'holdfast.service']);
}

/** What that agent has said, also after the host is off. */
export async function saidByAgent(host: Host): Promise<string> {
  return await host.readFile(LOG);
}
