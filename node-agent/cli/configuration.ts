/** `plan`, `apply` and `config get`: the document that configures the cluster. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { appliedSchema, configurationSchema, type Plan, planSchema } from '../../schemas/api.ts';
import { followApplied } from './applied.ts';
import { type Answer, Client, Refused } from './client.ts';
import { planText, problemLines } from './configuration-text.ts';
import { connectionFrom } from './context.ts';
import { CliError, EXIT, whyUnreadable } from './exit.ts';
import type { Io } from './io.ts';
import { durationOption } from './operation.ts';
import { registerRevisions } from './revisions.ts';
import { revisionTag, routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';

/** A document as it was read, with the name to call it by in messages. */
export interface Written {
  readonly name: string;
  readonly text: string;
}

export async function readDocument({ io }: Setting, file: string): Promise<Written> {
  if (file === '-') return { name: 'standard input', text: await io.readStdin() };
  try {
    return { name: file, text: await readFile(file, 'utf8') };
  } catch (error) {
    throw new CliError(EXIT.usage, `cannot read ${file}: ${whyUnreadable(error)}`, { cause: error });
  }
}

/** The cluster is the one that is named, or else the one that the document names. */
export async function connectFor(setting: Setting, document: Written): Promise<Client> {
  const connection = await connectionFrom(setting.options, setting.io);
  if (connection.cluster !== undefined) return new Client(connection);
  const { parseDocument } = await import('../../schemas/document.ts');
  const parsed = parseDocument(document.text);
  if (!parsed.ok) throw badDocument(document, parsed.errors);
  return new Client({ ...connection, cluster: parsed.config.cluster });
}

function badDocument(document: Written, errors: NonNullable<Refused['problem']['errors']>): CliError {
  return new CliError(EXIT.badConfiguration, `${document.name} is refused; the configuration in force stays as it is`, {
    lines: problemLines(document, errors),
  });
}

/** Tells a refusal of the document with the places in it. */
export async function judged<T>(document: Written, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (
      error instanceof Refused &&
      error.problem.code === 'invalid-configuration' &&
      error.problem.errors !== undefined
    )
      throw badDocument(document, error.problem.errors);
    if (error instanceof Refused && error.problem.code === 'body-too-large')
      throw new CliError(
        EXIT.badConfiguration,
        `${document.name} is too large (${error.problem.detail}); the configuration in force stays as it is`,
        { cause: error },
      );
    throw error;
  }
}

function planOf(client: Client, document: Written): Promise<Answer<Plan>> {
  const path = routes.plan(client.cluster);
  return judged(document, () => client.call(planSchema, { method: 'POST', path, body: document.text }));
}

async function plan(setting: Setting, file: string, detailedExitCode: boolean): Promise<void> {
  const document = await readDocument(setting, file);
  const { value, sent } = await planOf(await connectFor(setting, document), document);
  if (setting.json) printJson(setting.io, sent);
  else setting.io.data(planText(value, setting.io));
  if (detailedExitCode && value.changed) setting.io.exit.code = EXIT.planChanges;
}

/** Effects that interrupt a service. */
const INTERRUPTING: readonly Plan['effects'][number]['effect'][] = ['removed', 'moves', 'restarts'];

async function apply(
  setting: Setting,
  file: string,
  options: { dryRun: boolean; yes: boolean; wait: string },
): Promise<void> {
  const waitMs = durationOption(options.wait, '--wait');
  if (options.dryRun) return plan(setting, file, false);
  const document = await readDocument(setting, file);
  const client = await connectFor(setting, document);
  const applied = await putInForce(setting, client, document, {
    yes: options.yes,
    command: `holdfast apply ${file} --yes`,
  });
  if (applied !== undefined && waitMs > 0) await followApplied(setting.io, client, applied, waitMs);
}

/**
 * Shows the plan, asks if it interrupts something, applies.
 * @param command what somebody has to call who cannot be asked.
 * @returns what was carried out; undefined when there was nothing to change.
 */
export async function putInForce(
  { io, json }: Setting,
  client: Client,
  document: Written,
  { yes, command }: { readonly yes: boolean; readonly command: string },
): Promise<Plan | undefined> {
  const { value: planned } = await planOf(client, document);
  io.note(planText(planned, io));
  if (!planned.changed) {
    const unchanged = { ...planned, schema: 'holdfast/applied/v1', newRevision: planned.revision };
    if (json) printJson(io, unchanged);
    return undefined;
  }
  if (!yes) await agreed(io, planned, command);
  const answer = await judged(document, () =>
    client.call(appliedSchema, {
      method: 'PUT',
      path: routes.config(client.cluster),
      body: document.text,
      headers: { 'if-match': revisionTag(planned.revision) },
    }),
  );
  if (json) printJson(io, answer.sent);
  else io.data(`applied: ${client.cluster} is at revision ${answer.value.newRevision}`);
  return planned;
}

async function agreed(io: Io, planned: Plan, command: string): Promise<void> {
  const interrupted = planned.effects.filter(({ effect }) => INTERRUPTING.includes(effect)).map(({ group }) => group);
  if (interrupted.length === 0) return;
  const question = `This interrupts ${interrupted.join(', ')}.`;
  if (!io.mayAsk)
    throw new CliError(EXIT.refused, `${question} Nothing was changed, because nobody could be asked`, {
      next: command,
    });
  const answer = await io.ask(`${question} Apply? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError(EXIT.refused, 'Nothing was changed');
}

async function get(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(configurationSchema, {
    method: 'GET',
    path: routes.config(client.cluster),
  });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/config/v1', ...(sent as object) });
  else if (value.revision === 0) setting.io.note('nothing is configured yet; holdfast apply FILE does');
  else setting.io.data(value.document.replace(/\n$/, ''));
}

export const registerPlan: Register = (program, io) => {
  program
    .command('plan')
    .argument('<file>', 'the document; - is standard input')
    .option('--detailed-exitcode', 'end with 2 when something would change', false)
    .description('Show what a document would change and what that does to each group; changes nothing')
    .addHelpText('after', '\nExample: holdfast plan shop.yaml')
    .action((file: string, options: { detailedExitcode: boolean }, command: Command) =>
      plan(settingOf(command, io), file, options.detailedExitcode),
    );
};

export const registerApply: Register = (program, io) => {
  program
    .command('apply')
    .argument('<file>', 'the document; - is standard input')
    .option('--dry-run', 'only show the plan', false)
    .option('--yes', 'do not ask, even when groups restart, move or are removed', false)
    .description('Configure the cluster by a document: shows the plan, asks if a service would be interrupted, applies')
    .option(
      '--wait <duration>',
      'how long to wait until every group that it touches is served; names what nodes refuse, as a masked unit',
      '0s',
    )
    .addHelpText(
      'after',
      '\nExample: holdfast apply shop.yaml --dry-run\nExample: holdfast apply shop.yaml --wait 30s   (ends with 124 when a group is not served by then)',
    )
    .action((file: string, options: { dryRun: boolean; yes: boolean; wait: string }, command: Command) =>
      apply(settingOf(command, io), file, options),
    );
};

export const registerConfig: Register = (program, io) => {
  const config = program.command('config').description('The configuration in force, and those before it');
  config
    .command('get')
    .description('Print the document in force')
    .addHelpText('after', '\nExample: holdfast config get > shop.yaml')
    .action((_: unknown, command: Command) => get(settingOf(command, io)));
  registerRevisions(config, io);
};
