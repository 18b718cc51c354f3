/** Webhooks: who is told of what happens, and whether it arrives. */
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { doneSchema } from '../../schemas/api.ts';
import {
  DEFAULT_WEBHOOK_EVENTS,
  type Delivery,
  deliveriesSchema,
  deliverySchema,
  MAX_WEBHOOK_DELIVERED,
  webhookCreatedSchema,
  webhookFormats,
  webhookListSchema,
  webhookSchema,
  webhookSecretSchema,
} from '../../schemas/webhook.ts';
import { textOf } from '../system/index.ts';
import { CliError, EXIT } from './exit.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { oneLine, table } from './text.ts';

interface CreateOptions {
  readonly events?: string;
  readonly format: string;
  readonly allowPrivate?: boolean;
  readonly keyFile?: string;
}

async function create(setting: Setting, url: string, options: CreateOptions): Promise<void> {
  const key = options.keyFile === undefined ? undefined : await keyFrom(setting, options.keyFile);
  const events = options.events?.split(',').map((event) => event.trim());
  const client = await setting.connect();
  const { value, sent } = await client.call(webhookCreatedSchema, {
    method: 'POST',
    path: routes.webhooks(client.cluster),
    body: { url, format: options.format, events, allowPrivate: options.allowPrivate, key },
  });
  if (setting.json) {
    printJson(setting.io, sent);
    return;
  }
  const { webhook, secret } = value;
  setting.io.data(secret === null ? webhook.id : `${webhook.id}  ${secret}`);
  if (secret !== null)
    setting.io.note('the secret is shown this once: give it to the receiver, which verifies each call with it');
  setting.io.note(`next: holdfast webhook test ${webhook.id}`);
}

async function keyFrom({ io }: Setting, file: string): Promise<string> {
  try {
    return (file === '-' ? await io.readStdin() : await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new CliError(EXIT.usage, `--key-file ${file}: ${textOf(error)}`, {
      next: 'put the integration key of the PagerDuty service into a file, one line',
    });
  }
}

async function list(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(webhookListSchema, {
    method: 'GET',
    path: routes.webhooks(client.cluster),
  });
  if (setting.json) printJson(setting.io, sent);
  else if (value.webhooks.length === 0) setting.io.note('no webhook yet; holdfast webhook create URL makes one');
  else
    setting.io.data(
      table(
        ['WEBHOOK', 'STATE', 'FORMAT', 'WAITING', 'DROPPED', 'LAST ATTEMPT', 'URL'],
        value.webhooks.map((webhook) => [
          webhook.id,
          webhook.state,
          webhook.format,
          String(webhook.pending),
          String(webhook.dropped),
          webhook.last === null ? '-' : oneLine(webhook.last.detail).slice(0, 60),
          webhook.url,
        ]),
      ),
    );
  for (const { id, reason } of value.webhooks)
    if (reason !== undefined && !setting.json)
      setting.io.note(`! ${id} is disabled: ${oneLine(reason)} -> holdfast webhook enable ${id}`);
}

async function remove(setting: Setting, id: string): Promise<void> {
  const client = await setting.connect();
  await client.call(doneSchema, { method: 'DELETE', path: routes.webhook(client.cluster, id) });
  const detail = `${id} is removed, with everything that waited for it`;
  if (setting.json) printJson(setting.io, { schema: 'holdfast/done/v1', detail });
  else setting.io.data(detail);
}

async function test(setting: Setting, id: string): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(deliverySchema, {
    method: 'POST',
    path: routes.webhookAction(client.cluster, id, 'test'),
    body: {},
  });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/webhook-delivery/v1', ...(sent as object) });
  else if (value.ok) setting.io.data(`${oneLine(value.detail)} after ${value.latencyMs} ms`);
  if (value.ok) return;
  throw new CliError(
    EXIT.refused,
    `the receiver did not take it: ${oneLine(answered(value))} (${value.latencyMs} ms)`,
    {
      next: 'it must answer 2xx within 10 s; its own log says what arrived',
    },
  );
}

async function deliveries(setting: Setting, id: string): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(deliveriesSchema, {
    method: 'GET',
    path: routes.webhookAction(client.cluster, id, 'deliveries'),
  });
  if (setting.json) printJson(setting.io, sent);
  else if (value.deliveries.length === 0) setting.io.note('nothing was sent yet');
  else
    setting.io.data(
      table(
        ['AT', 'NOTICE', 'EVENT', 'TOOK', 'ANSWER'],
        value.deliveries.map((one) => [one.at, one.id, one.kind, `${one.latencyMs} ms`, oneLine(answered(one))]),
      ),
    );
}

function answered({ detail, said }: Delivery): string {
  return said === undefined ? detail : `${detail}: ${said}`;
}

async function enable(setting: Setting, id: string): Promise<void> {
  const client = await setting.connect();
  const path = routes.webhookAction(client.cluster, id, 'enable');
  const { value, sent } = await client.call(webhookSchema, { method: 'POST', path, body: {} });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/webhook/v1', ...(sent as object) });
  else setting.io.data(`${id} is active; ${value.pending} that waited are delivered now`);
}

async function replay(setting: Setting, id: string, notice: string): Promise<void> {
  const client = await setting.connect();
  const path = routes.webhookAction(client.cluster, id, 'replay');
  await client.call(doneSchema, { method: 'POST', path, body: { id: notice } });
  const detail = `${notice} is sent again`;
  if (setting.json) printJson(setting.io, { schema: 'holdfast/done/v1', detail });
  else setting.io.data(detail);
}

async function rotate(setting: Setting, id: string): Promise<void> {
  const client = await setting.connect();
  const path = routes.webhookAction(client.cluster, id, 'rotate-secret');
  const { value, sent } = await client.call(webhookSecretSchema, { method: 'POST', path, body: {} });
  if (setting.json) {
    printJson(setting.io, sent);
    return;
  }
  setting.io.data(value.secret);
  setting.io.note(`shown this once; until ${value.previousUntil} the secret before it signs every call as well`);
}

export const registerWebhook: Register = (program, io) => {
  const webhook = program.command('webhook').description('Be told of failovers and failures by HTTP');
  webhook
    .command('create')
    .argument('<url>', 'where the receiver listens: https://…')
    .option('--events <list>', 'kinds of events, comma-separated; `group.*` is all of groups, `*` is all')
    .addOption(new Option('--format <format>', 'how it is written').choices(webhookFormats).default('standard'))
    .option('--key-file <file>', 'holds the integration key for --format pagerduty; - is standard input')
    .option('--allow-private', 'a receiver on a private address or by plain http; a coordinator of your own only')
    .description('Tell a receiver of every failover; the secret that signs the calls is printed once')
    .addHelpText(
      'after',
      `
Left out, --events is: ${DEFAULT_WEBHOOK_EVENTS.join(' ')}
What a receiver gets and how it verifies it: docs/webhooks.md

Example: holdfast webhook create https://hooks.example.org/holdfast
Example: holdfast webhook create https://hooks.slack.com/services/T…/B…/… --format slack
Example: holdfast webhook create https://events.pagerduty.com/v2/enqueue --format pagerduty --key-file pagerduty.key
Example: holdfast webhook create http://10.0.0.9:9000/alerts --allow-private --events 'group.*,node.*'`,
    )
    .action((url: string, options: CreateOptions, command: Command) => create(settingOf(command, io), url, options));
  webhook
    .command('list')
    .description('Show the webhooks of the cluster, and whether they arrive')
    .addHelpText('after', '\nExample: holdfast webhook list')
    .action((_: unknown, command: Command) => list(settingOf(command, io)));
  const one = (
    name: string,
    description: string,
    example: string,
    act: (setting: Setting, id: string) => Promise<void>,
  ) =>
    webhook
      .command(name)
      .argument('<webhook>', 'its id')
      .description(description)
      .addHelpText('after', `\nExample: ${example}`)
      .action((id: string, _: unknown, command: Command) => act(settingOf(command, io), id));
  one('test', 'Send a test now, and say what the receiver answered', 'holdfast webhook test wh_0123456789abcdef', test);
  one(
    'deliveries',
    'Show the newest attempts, with what was answered and how long it took',
    'holdfast webhook deliveries wh_0123456789abcdef',
    deliveries,
  );
  one(
    'enable',
    'Let a disabled one deliver again, beginning with what has waited',
    'holdfast webhook enable wh_0123456789abcdef',
    enable,
  );
  webhook
    .command('replay')
    .argument('<webhook>', 'its id')
    .argument('<notice>', `its id, as \`deliveries\` shows it; the newest ${MAX_WEBHOOK_DELIVERED} are kept`)
    .description('Send a notice that was delivered once more')
    .addHelpText('after', '\nExample: holdfast webhook replay wh_0123456789abcdef msg_0123456789abcdef01234567')
    .action((id: string, notice: string, _: unknown, command: Command) => replay(settingOf(command, io), id, notice));
  one(
    'rotate-secret',
    'Make a new secret; for a day the old one signs as well',
    'holdfast webhook rotate-secret wh_0123456789abcdef',
    rotate,
  );
  one('delete', 'Tell this receiver nothing any more', 'holdfast webhook delete wh_0123456789abcdef', remove);
};
