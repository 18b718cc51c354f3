/** Clusters: making and listing them, and the operator's word after a restore. */
import type { Command } from 'commander';
import * as z from 'zod';
import { clusterListSchema } from '../../schemas/api.ts';
import { act } from './operation.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { table } from './text.ts';

async function create(setting: Setting, name: string): Promise<void> {
  const client = await setting.connect();
  await client.call(z.unknown(), { method: 'POST', path: routes.clusters, body: { name } });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/cluster/v1', name });
  else setting.io.data(`cluster ${name} is made`);
  setting.io.note(`next, for each machine: holdfast --cluster ${name} node token create --node NAME`);
}

async function list(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(clusterListSchema, { method: 'GET', path: routes.clusters });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/clusters/v1', ...(sent as object) });
  else if (value.clusters.length === 0) setting.io.note('no cluster yet; holdfast cluster create NAME makes one');
  else
    setting.io.data(
      table(
        ['CLUSTER', 'MADE'],
        value.clusters.map(({ name, createdAt }) => [name, createdAt]),
      ),
    );
}

async function confirmHistory(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const path = routes.confirmHistory(client.cluster);
  await act(
    setting,
    client,
    { method: 'POST', path, body: {} },
    { waitMs: 0, done: 'confirmed: groups may be granted again' },
  );
}

export const registerCluster: Register = (program, io) => {
  const cluster = program.command('cluster').description('Make and list clusters');
  cluster
    .command('create')
    .argument('<name>', 'lower-case letters, digits, - _ .')
    .description('Make a cluster on the coordinator')
    .addHelpText('after', '\nExample: holdfast cluster create shop')
    .action((name: string, _: unknown, command: Command) => create(settingOf(command, io), name));
  cluster
    .command('list')
    .description('Show the clusters of the coordinator')
    .addHelpText('after', '\nExample: holdfast cluster list')
    .action((_: unknown, command: Command) => list(settingOf(command, io)));
  cluster
    .command('confirm-history')
    .description('After the coordinator’s data was restored: grant again without waiting for every node')
    .addHelpText('after', '\nExample: holdfast cluster confirm-history   (once the silent nodes are known to be off)')
    .action((_: unknown, command: Command) => confirmHistory(settingOf(command, io)));
};
