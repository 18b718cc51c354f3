/** Tokens of people and machines for the API of a cluster. */
import { type Command, Option } from 'commander';
import { accessTokenCreatedSchema, accessTokenListSchema, roles } from '../../schemas/access.ts';
import { doneSchema } from '../../schemas/api.ts';
import { durationOption } from './operation.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { table } from './text.ts';

interface CreateOptions {
  readonly role: string;
  readonly groups?: string;
  readonly ttl: string;
}

const DEFAULT_TTL = '90d';

async function create(setting: Setting, name: string, options: CreateOptions): Promise<void> {
  const ttlMs = durationOption(options.ttl, '--ttl');
  const groups = options.groups?.split(',').map((group) => group.trim());
  const client = await setting.connect();
  const path = routes.tokens(client.cluster);
  const body = { name, role: options.role, groups, ttlMs };
  const { value, sent } = await client.call(accessTokenCreatedSchema, { method: 'POST', path, body });
  if (setting.json) {
    printJson(setting.io, sent);
    return;
  }
  setting.io.data(value.secret);
  setting.io.note(`the token of ${name} (${value.token.role}), shown this once, good until ${value.token.expiresAt}`);
  setting.io.note('put it into a file that others cannot read, and use it by --token-file or HOLDFAST_TOKEN_FILE');
}

async function list(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const path = routes.tokens(client.cluster);
  const { value, sent } = await client.call(accessTokenListSchema, { method: 'GET', path });
  if (setting.json) printJson(setting.io, sent);
  else if (value.tokens.length === 0)
    setting.io.note('no token but the administrator’s; holdfast token create NAME makes one');
  else
    setting.io.data(
      table(
        ['TOKEN', 'NAME', 'ROLE', 'GROUPS', 'UNTIL'],
        value.tokens.map(({ id, name, role, groups, expiresAt }) => [
          id,
          name,
          role,
          groups === null ? 'all' : groups.join(','),
          expiresAt,
        ]),
      ),
    );
}

async function revoke(setting: Setting, which: string): Promise<void> {
  const client = await setting.connect();
  await client.call(doneSchema, { method: 'DELETE', path: routes.token(client.cluster, which) });
  const detail = `${which} is revoked; it is refused from now on`;
  if (setting.json) printJson(setting.io, { schema: 'holdfast/done/v1', detail });
  else setting.io.data(detail);
}

export const registerToken: Register = (program, io) => {
  const token = program
    .command('token')
    .description('Who else may use the API of the cluster: tokens with a role and an end');
  token
    .command('create')
    .argument('<name>', 'whose it is')
    .addOption(
      new Option('--role <role>', 'viewer looks, operator acts on what runs, admin changes everything')
        .choices(roles)
        .default('viewer'),
    )
    .option('--groups <list>', 'the only groups that it may act on, comma-separated; left out: all')
    .option('--ttl <duration>', 'how long it is good, a year at most', DEFAULT_TTL)
    .description('Make a token; it is printed once')
    .addHelpText(
      'after',
      `
Example: holdfast token create ci --role operator --groups web,shop --ttl 30d > ci.token
Example: holdfast token create grafana`,
    )
    .action((name: string, options: CreateOptions, command: Command) => create(settingOf(command, io), name, options));
  token
    .command('list')
    .description('Show the tokens of the cluster; the tokens themselves are known to their owners alone')
    .addHelpText('after', '\nExample: holdfast token list')
    .action((_: unknown, command: Command) => list(settingOf(command, io)));
  token
    .command('revoke')
    .argument('<token>', 'its name or id')
    .description('End a token at once')
    .addHelpText('after', '\nExample: holdfast token revoke ci')
    .action((which: string, _: unknown, command: Command) => revoke(settingOf(command, io), which));
};
