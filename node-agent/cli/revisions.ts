/** `config history`, `diff` and `rollback`: the documents that were in force before. */
import { type Command, InvalidArgumentError } from 'commander';
import { configurationSchema, revisionListSchema } from '../../schemas/api.ts';
import type { Client } from './client.ts';
import { putInForce } from './configuration.ts';
import { CliError, EXIT } from './exit.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { table } from './text.ts';

async function history(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(revisionListSchema, {
    method: 'GET',
    path: routes.history(client.cluster),
  });
  if (setting.json) printJson(setting.io, sent);
  else if (value.revisions.length === 0) setting.io.note('nothing is configured yet; holdfast apply FILE does');
  else
    setting.io.data(
      table(
        ['REVISION', 'IN FORCE SINCE', 'LINES'],
        value.revisions.map(({ revision, at, lines }) => [String(revision), at, String(lines)]),
      ),
    );
}

/** @param revision left out: the one in force. */
async function documentOf(client: Client, revision?: number): Promise<{ revision: number; document: string }> {
  const path = routes.config(client.cluster);
  const query = revision === undefined ? {} : { revision };
  return (await client.call(configurationSchema, { method: 'GET', path, query })).value;
}

async function diff(setting: Setting, from: number, to: number | undefined): Promise<void> {
  const client = await setting.connect();
  const [before, after] = [await documentOf(client, from), await documentOf(client, to)];
  const { createTwoFilesPatch } = await import('diff');
  const names = [`revision ${before.revision}`, `revision ${after.revision}`] as const;
  const patch =
    before.document === after.document ? '' : createTwoFilesPatch(...names, before.document, after.document);
  const lines = patch.split('\n').filter((line) => !/^={10,}$/.test(line));
  if (setting.json)
    printJson(setting.io, {
      schema: 'holdfast/config-diff/v1',
      from: before.revision,
      to: after.revision,
      diff: patch,
    });
  else if (patch === '') setting.io.note(`${names[0]} and ${names[1]} are the same`);
  else setting.io.data(lines.join('\n').trimEnd());
}

async function rollback(setting: Setting, to: number, yes: boolean): Promise<void> {
  const client = await setting.connect();
  const { document } = await documentOf(client, to);
  if (document === '') throw new CliError(EXIT.refused, `revision ${to} has no document`);
  const written = { name: `revision ${to}`, text: document };
  await putInForce(setting, client, written, { yes, command: `holdfast config rollback ${to} --yes` });
}

function revisionNumber(text: string): number {
  const revision = Number(text);
  if (/^\d{1,9}$/.test(text) && revision > 0) return revision;
  throw new InvalidArgumentError('a revision is a whole number from 1; `holdfast config history` lists them.');
}

/** Below `config`. */
export const registerRevisions: Register = (config, io) => {
  config
    .command('history')
    .description('Show the revisions that are kept: the newest 100')
    .addHelpText('after', '\nExample: holdfast config history')
    .action((_: unknown, command: Command) => history(settingOf(command, io)));
  config
    .command('diff')
    .argument('<from>', 'a revision', revisionNumber)
    .argument('[to]', 'another; left out: the one in force', revisionNumber)
    .description('Show what changed between two revisions')
    .addHelpText('after', '\nExample: holdfast config diff 3')
    .action((from: number, to: number | undefined, _: unknown, command: Command) =>
      diff(settingOf(command, io), from, to),
    );
  config
    .command('rollback')
    .argument('<revision>', 'the one to go back to', revisionNumber)
    .option('--yes', 'do not ask, even when groups restart, move or are removed', false)
    .description(
      'Put an older document in force again, as a new revision: shows the plan, asks if a service would be interrupted',
    )
    .addHelpText('after', '\nExample: holdfast config rollback 3')
    .action((to: number, options: { yes: boolean }, command: Command) =>
      rollback(settingOf(command, io), to, options.yes),
    );
};
