/** Nodes: their tokens, draining them, maintenance and taking them back, removing them, an operator's word that one is dead. */
import type { Command } from 'commander';
import { doneSchema, tokenCreatedSchema } from '../../schemas/api.ts';
import { formatDuration } from '../../schemas/duration.ts';
import { CliError, EXIT } from './exit.ts';
import { act, DEFAULT_WAIT, durationOption } from './operation.ts';
import { DEFAULT_FOR, type PauseOptions, pauseBody } from './pause.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { fetchStatus } from './status.ts';
import { nodeTable } from './status-text.ts';

async function createToken(setting: Setting, options: { node: string; ttl?: string }): Promise<void> {
  const ttlMs = options.ttl === undefined ? undefined : durationOption(options.ttl, '--ttl');
  const client = await setting.connect();
  const { value, sent } = await client.call(tokenCreatedSchema, {
    method: 'POST',
    path: routes.nodeAction(client.cluster, options.node, 'token'),
    body: ttlMs === undefined ? {} : { ttlMs },
  });
  if (setting.json) {
    printJson(setting.io, { schema: 'holdfast/token/v1', ...(sent as object) });
    return;
  }
  setting.io.data(value.token);
  setting.io.note(
    `good once, for ${value.node}, until ${value.expiresAt}; on that machine, with the token on standard input:\n` +
      `  holdfast join ${client.base.href}${client.cluster} --name ${value.node} --token-file -`,
  );
}

async function list(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const { value } = await fetchStatus(client);
  if (setting.json) printJson(setting.io, { schema: 'holdfast/nodes/v1', nodes: value.nodes });
  else setting.io.data(nodeTable(value, setting.io));
}

async function standby(setting: Setting, node: string, wait: string): Promise<void> {
  const waitMs = durationOption(wait, '--wait');
  const client = await setting.connect();
  const path = routes.nodeAction(client.cluster, node, 'standby');
  await act(setting, client, { method: 'POST', path, body: {} }, { waitMs, done: `${node} is in standby` });
}

async function ready(setting: Setting, node: string): Promise<void> {
  const client = await setting.connect();
  const path = routes.nodeAction(client.cluster, node, 'ready');
  await act(setting, client, { method: 'POST', path, body: {} }, { waitMs: 0, done: `${node} may run groups again` });
}

async function maintenance(setting: Setting, node: string, options: PauseOptions): Promise<void> {
  const body = pauseBody(options, `holdfast node maintenance ${node}`);
  const client = await setting.connect();
  const path = routes.nodeAction(client.cluster, node, 'maintenance');
  const done = `${node} is in maintenance for ${formatDuration(body.forMs)}: what it runs stays as it is and nobody takes it over; \`holdfast node ready ${node}\` ends it`;
  await act(setting, client, { method: 'POST', path, body }, { waitMs: 0, done });
}

async function remove(setting: Setting, node: string, force: boolean): Promise<void> {
  const client = await setting.connect();
  await client.call(doneSchema, { method: 'DELETE', path: routes.node(client.cluster, node), body: { force } });
  const detail = `${node} is removed; its key is no longer accepted`;
  if (setting.json) printJson(setting.io, { schema: 'holdfast/done/v1', detail });
  else setting.io.data(detail);
}

const RISK = 'not-really-off';

async function confirmDead(setting: Setting, node: string, acceptRisk: string | undefined): Promise<void> {
  if (acceptRisk !== RISK)
    throw new CliError(
      EXIT.unsafe,
      acceptRisk === undefined
        ? `confirm-dead gives everything that ${node} runs to other nodes at once`
        : `“${acceptRisk}” is not the name of the risk`,
      {
        lines: [
          `If ${node} is in truth still running, two machines then hold the same address and write to the same data.`,
          'Without this word the groups move by themselves as soon as its leases have run out, which takes seconds.',
        ],
        next: `make sure that it has no power (not only no network), then: holdfast confirm-dead ${node} --accept-risk=${RISK}`,
      },
    );
  const client = await setting.connect();
  const path = routes.nodeAction(client.cluster, node, 'confirm-dead');
  await act(
    setting,
    client,
    { method: 'POST', path, body: { acceptRisk } },
    { waitMs: 0, done: `${node} is declared dead` },
  );
}

export const registerNode: Register = (program, io) => {
  const node = program.command('node').description('Tokens for joining, draining, maintenance, removing');
  node
    .command('list')
    .description('Show the nodes of the cluster')
    .addHelpText('after', '\nExample: holdfast node list')
    .action((_: unknown, command: Command) => list(settingOf(command, io)));
  node
    .command('standby')
    .argument('<node>', 'its name')
    .option('--wait <duration>', 'how long to wait until its groups have moved; 0s: not at all', DEFAULT_WAIT)
    .description('Drain a node: its groups move away, and none comes back until `node ready`')
    .addHelpText('after', '\nExample: holdfast node standby alice --wait 5m')
    .action((name: string, options: { wait: string }, command: Command) =>
      standby(settingOf(command, io), name, options.wait),
    );
  node
    .command('ready')
    .argument('<node>', 'its name')
    .description('End standby and maintenance: the node may run groups again')
    .addHelpText('after', '\nExample: holdfast node ready alice')
    .action((name: string, _: unknown, command: Command) => ready(settingOf(command, io), name));
  node
    .command('maintenance')
    .argument('<node>', 'its name')
    .option('--reason <text>', 'why, for whoever finds it so')
    .option('--for <duration>', 'when it ends by itself', DEFAULT_FOR)
    .description('Leave what a node runs as it is while somebody works on it, and give it nothing more')
    .addHelpText('after', '\nExample: holdfast node maintenance alice --reason "new kernel" --for 30m')
    .action((name: string, options: PauseOptions, command: Command) =>
      maintenance(settingOf(command, io), name, options),
    );
  node
    .command('remove')
    .argument('<node>', 'its name')
    .option('--force', 'also while it runs groups: they move when its leases have run out', false)
    .description('Take a node out of the cluster for good')
    .addHelpText('after', '\nExample: holdfast node remove carol')
    .action((name: string, options: { force: boolean }, command: Command) =>
      remove(settingOf(command, io), name, options.force),
    );
  const token = node.command('token').description('One-time tokens for joining');
  token
    .command('create')
    .requiredOption('--node <name>', 'the node that may join with it')
    .option('--ttl <duration>', 'how long it is good (the coordinator’s default: 30m)')
    .description('Make a token with which one machine can join once; it stands alone on standard output')
    .addHelpText(
      'after',
      '\nExample: holdfast node token create --node bob | ssh bob holdfast join URL/CLUSTER --token-file -',
    )
    .action((options: { node: string; ttl?: string }, command: Command) =>
      createToken(settingOf(command, io), options),
    );
};

export const registerConfirmDead: Register = (program, io) => {
  program
    .command('confirm-dead')
    .argument('<node>', 'the machine that has no power')
    .option('--accept-risk <name>', `must be ${RISK}`)
    .description('Give your word that a machine is powered off, so that its groups move at once')
    .addHelpText('after', `\nExample: holdfast confirm-dead alice --accept-risk=${RISK}`)
    .action((name: string, options: { acceptRisk?: string }, command: Command) =>
      confirmDead(settingOf(command, io), name, options.acceptRisk),
    );
};
