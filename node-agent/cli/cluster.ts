/** Clusters: making and listing them, and the operator's word after a restore. */
import { isDeepStrictEqual } from 'node:util';
import { type Command, Option } from 'commander';
import * as z from 'zod';
import { type ClusterKeys, clusterKeysSchema, clusterListSchema, LOCATIONS } from '../../schemas/api.ts';
import { textOf } from '../system/index.ts';
import { contextOf, contextPath, readContext, saveContext } from './context.ts';
import { act } from './operation.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { table } from './text.ts';

async function create(setting: Setting, name: string, { location }: { readonly location?: string }): Promise<void> {
  const client = await setting.connect();
  await client.call(z.unknown(), { method: 'POST', path: routes.clusters, body: { name, location } });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/cluster/v1', name });
  else setting.io.data(`cluster ${name} is made`);
  const named = (await savedFor(setting, name)) ? '' : ` --cluster ${name}`;
  setting.io.note(`next, for each machine: holdfast${named} node token create --node NAME`);
}

/**
 * Who says on the command line where everything is, and has saved nothing yet, need not say it again. The cluster is made already, so
 * whatever keeps it from being saved is only told.
 * @returns whether the commands to come are for this cluster by what is saved.
 */
async function savedFor({ io, options }: Setting, cluster: string): Promise<boolean> {
  const { url, tokenFile } = options;
  if (url === undefined || tokenFile === undefined || tokenFile === '-') return false;
  const path = contextPath(io.env);
  const wanted = contextOf({ ...options, cluster });
  const again = `holdfast context set --url ${wanted.url} --cluster ${cluster} --token-file ${wanted.tokenFile}`;
  try {
    const before = await readContext(io.env);
    if (isDeepStrictEqual(before, wanted)) return true;
    if (Object.keys(before).length > 0) {
      io.note(
        `warning: ${path} says otherwise and was left as it is: commands to come go by it. To have them go here: ${again}`,
      );
      return false;
    }
    io.note(`saved in ${await saveContext(io.env, wanted)}: commands to come are for this cluster`);
  } catch (error) {
    io.note(
      `warning: ${path} could not be written (${textOf(error)}); commands to come need --url, --cluster and --token-file`,
    );
    return false;
  }
  const other = ['HOLDFAST_URL', 'HOLDFAST_CLUSTER', 'HOLDFAST_TOKEN', 'HOLDFAST_TOKEN_FILE'].filter(
    (key) => io.env[key],
  );
  if (other.length > 0) io.note(`warning: ${other.join(' and ')} in the environment come before that`);
  return other.length === 0;
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

async function keys(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(clusterKeysSchema, { method: 'GET', path: routes.keys(client.cluster) });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/cluster-keys/v1', ...(sent as object) });
  else setting.io.data(keyTable(value));
}

async function rotateKey(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const request = { method: 'POST', path: routes.rotateKey(client.cluster), body: {} } as const;
  const { value, sent } = await client.call(clusterKeysSchema, request);
  if (setting.json) printJson(setting.io, { schema: 'holdfast/cluster-keys/v1', ...(sent as object) });
  else setting.io.data(keyTable(value));
  setting.io.note('nodes follow as they report; join tokens made before are not good any more: make them anew');
}

function keyTable({ keys: all }: ClusterKeys): string {
  return table(
    ['KEY', 'MADE', ''],
    all.map(({ fingerprint, madeAt }, index) => [fingerprint, madeAt, index === 0 ? 'in use' : 'before']),
  );
}

export const registerCluster: Register = (program, io) => {
  const cluster = program.command('cluster').description('Make and list clusters');
  cluster
    .command('create')
    .argument('<name>', 'lower-case letters, digits, - _ .')
    .addOption(
      new Option('--location <where>', 'near which part of the world Cloudflare is asked to keep it, once').choices(
        LOCATIONS,
      ),
    )
    .description('Make a cluster on the coordinator')
    .addHelpText(
      'after',
      `
Left out, Cloudflare keeps the cluster near whoever makes it; it stays where it was made. A coordinator of your own is where it is.
With --url and --token-file, and where no context is saved yet, they and the cluster are saved as \`holdfast context set\` does.

Example: holdfast cluster create shop
Example: holdfast cluster create shop --url http://198.51.100.1:8443 --token-file admin.token
Example: holdfast cluster create shop --location weur   (western Europe)`,
    )
    .action((name: string, options: { readonly location?: string }, command: Command) =>
      create(settingOf(command, io), name, options),
    );
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
  cluster
    .command('keys')
    .description('Show the key by which nodes know the coordinator, and those before it')
    .addHelpText('after', '\nExample: holdfast cluster keys')
    .action((_: unknown, command: Command) => keys(settingOf(command, io)));
  cluster
    .command('rotate-key')
    .description('Make another key by which nodes know the coordinator')
    .addHelpText(
      'after',
      `
The old key signs the new one and is deleted. Nodes follow with their next report, or when they come back. Nothing is stopped.

Example: holdfast cluster rotate-key`,
    )
    .action((_: unknown, command: Command) => rotateKey(settingOf(command, io)));
};
