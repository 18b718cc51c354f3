/** `status`: is everything served, by whom, and would it survive the next failure? */
import type { Command } from 'commander';
import { type Status, statusSchema } from '../../schemas/api.ts';
import { namesOffered } from '../../schemas/names.ts';
import { DEFAULT_STATE_DIR } from '../agent/identity.ts';
import type { Answer, Client } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import { answerLocally } from './local.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { checkText, groupText, statusText } from './status-text.ts';

export function fetchStatus(client: Client, signal?: AbortSignal): Promise<Answer<Status>> {
  const path = routes.status(client.cluster);
  return client.call(statusSchema, { method: 'GET', path, ...(signal === undefined ? {} : { signal }) });
}

interface StatusOptions {
  readonly check: boolean;
  readonly stateDir: string;
}

async function status(setting: Setting, group: string | undefined, options: StatusOptions): Promise<void> {
  const { io, json } = setting;
  if (options.check && json)
    throw new CliError(EXIT.usage, '--check prints one line for a monitor, --json one object', {
      next: 'give one of them',
    });
  if (options.check) return check(setting, group);
  let answer: Answer<Status>;
  try {
    answer = await fetchStatus(await setting.connect());
  } catch (error) {
    return answerLocally(io, json, options.stateDir, error, group);
  }
  if (group !== undefined) {
    const found = answer.value.groups[group] ?? unknownGroup(group, answer.value);
    if (!json) io.data(groupText(group, found, answer.value.at, io));
  } else if (!json) io.data(statusText(answer.value, io));
  if (json) printJson(io, group === undefined ? answer.sent : onlyGroup(answer.sent, group));
}

function onlyGroup(sent: unknown, group: string): unknown {
  const { groups, ...rest } = sent as { groups: Record<string, unknown> };
  return { ...rest, groups: { [group]: groups[group] } };
}

export function unknownGroup(group: string, status: Status): never {
  const names = Object.keys(status.groups);
  throw new CliError(EXIT.refused, `no group ${group} in the configuration${namesOffered(group, names)}`, {
    next: names.length === 0 ? 'holdfast apply FILE' : 'holdfast status',
  });
}

/** For a monitor: one line on standard output whatever happens, and the exit codes of Nagios plug-ins. */
async function check({ io, connect }: Setting, group: string | undefined): Promise<void> {
  let status: Status;
  try {
    status = (await fetchStatus(await connect())).value;
    if (group !== undefined)
      status = { ...status, groups: { [group]: status.groups[group] ?? unknownGroup(group, status) } };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    io.data(`HOLDFAST UNKNOWN - ${error.message}`.replaceAll('|', '/'));
    io.exit.code = 3;
    return;
  }
  const { exit, line } = checkText(status);
  io.data(line);
  io.exit.code = exit;
}

export const registerStatus: Register = (program, io) => {
  program
    .command('status')
    .argument('[group]', 'only this one, with its resources')
    .option('--check', 'one line and the exit codes of a Nagios plug-in: 0 ok, 1 warning, 2 critical, 3 unknown', false)
    .option('--state-dir <dir>', 'of the agent here, asked when the coordinator does not answer', DEFAULT_STATE_DIR)
    .description('Show whether everything is served, by which node, and who would take over')
    .addHelpText('after', '\nExample: holdfast status db')
    .action((group: string | undefined, options: StatusOptions, command: Command) =>
      status(settingOf(command, io), group, options),
    );
};
