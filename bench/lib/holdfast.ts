import { Cluster, documentOf, resources } from '../../test/lab/index.ts';
import type { Stack } from './stack.ts';

/** Holdfast with its coordinator on a machine of its own, one group: the address and nginx by its OCF agent. */
export async function startHoldfast(
  name: string,
  names: readonly string[],
  lease: 'default' | 'fast',
): Promise<Stack & { readonly cluster: Cluster }> {
  const document = documentOf(names, [resources.vip, resources.nginx], { lease });
  const cluster = await Cluster.start({ hosts: names, document });
  const { lab, observer, product } = cluster;
  return {
    name,
    names,
    lab,
    observer,
    cluster,
    watchesService: true,
    healthy: () => cluster.healthy('web', 60_000),
    async move(_from, to) {
      await product.mustCli(['move', 'web', '--to', to, '--wait', '30s']);
    },
    async tidy() {
      await product.mustCli(['group', 'cleanup', 'web']);
    },
    async coldStart() {
      const coordinator = async () => {
        await lab.arbiter.boot();
        await product.startCoordinator();
      };
      await Promise.all([coordinator(), ...[...lab.hosts.values()].map((host) => host.boot())]);
    },
    async ownStarts() {
      const group = (await cluster.status()).groups.web;
      return Object.fromEntries((group?.resources ?? []).map(({ id, startMs }) => [id, startMs ?? 0]));
    },
    close: () => cluster.close(),
  };
}
