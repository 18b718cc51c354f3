/** Long actions: followed until they end, and shown. What is not known to have failed is never called failed. */
import type { Command } from 'commander';
import * as z from 'zod';
import { doneSchema, type Operation, operationListSchema, operationSchema } from '../../schemas/api.ts';
import { parseDuration } from '../../schemas/duration.ts';
import type { Answer, Client, Request } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { oneLine, table } from './text.ts';

export const DEFAULT_WAIT = '60s';
/** The coordinator answers when an operation has ended, and at the latest after this time, so that progress shows. */
const LOOK_SECONDS = 2;

/** @throws {CliError} `usage` */
export function durationOption(text: string, option: string): number {
  const ms = parseDuration(text);
  if (ms === undefined)
    throw new CliError(EXIT.usage, `${option}: “${text}” is not a duration`, {
      next: 'write it with its unit: 500ms, 30s, 5m',
    });
  return ms;
}

const maybeOperation = z.union([operationSchema, doneSchema]);

/**
 * Asks for an action and, when it takes time, follows it to its end.
 * @param done what to print when it was done at once.
 */
export async function act(
  setting: Setting,
  client: Client,
  request: Request,
  options: { waitMs: number; done: string },
): Promise<void> {
  const answer = await client.call(maybeOperation, request);
  const { value } = answer;
  if ('id' in value) {
    await follow(setting, client, { ...answer, value }, options.waitMs);
    return;
  }
  if (setting.json) printJson(setting.io, { schema: 'holdfast/done/v1', detail: options.done });
  else setting.io.data(options.done);
}

async function follow(setting: Setting, client: Client, first: Answer<Operation>, waitMs: number): Promise<void> {
  const { io } = setting;
  if (waitMs === 0) {
    if (setting.json) printJson(io, { schema: 'holdfast/operation/v1', ...(first.sent as object) });
    else io.data(first.value.id);
    return;
  }
  const until = io.now() + waitMs;
  let { value: operation, sent } = first;
  let shown = '';
  for (;;) {
    if (operation.state !== 'running') break;
    const line = `${title(operation)}: still running: ${operation.progress}`;
    if (line !== shown) io.note(line);
    shown = line;
    const left = until - io.now();
    if (left <= 0) throw stillRunning(operation, waitMs);
    const next = await look(client, operation, left);
    operation = next.value;
    sent = next.sent;
  }
  if (setting.json) printJson(io, { schema: 'holdfast/operation/v1', ...(sent as object) });
  else if (operation.state === 'succeeded') io.data(`${title(operation)}: done: ${operation.progress}`);
  if (operation.state === 'failed' || operation.state === 'cancelled')
    throw new CliError(
      EXIT.refused,
      `${title(operation)} ${operation.state === 'failed' ? 'failed' : 'was cancelled'}: ${operation.progress}`,
      {
        next: nextAfter(operation),
      },
    );
}

async function look(client: Client, operation: Operation, leftMs: number): Promise<Answer<Operation>> {
  const wait = Math.min(LOOK_SECONDS, Math.floor(leftMs / 1_000));
  if (wait === 0) await pause(leftMs);
  try {
    return await client.call(operationSchema, {
      method: 'GET',
      path: routes.operation(client.cluster, operation.id),
      query: { wait },
    });
  } catch (error) {
    if (!(error instanceof CliError) || error.exit !== EXIT.unreachable) throw error;
    throw new CliError(
      EXIT.outcomeUnknown,
      `${title(operation)} was still running when the coordinator stopped answering (${error.message})`,
      {
        next: `it goes on without this command: holdfast op wait ${operation.id}`,
        cause: error,
      },
    );
  }
}

function stillRunning(operation: Operation, waitMs: number): CliError {
  return new CliError(
    EXIT.timedOut,
    `${title(operation)} is still running after ${waitMs / 1_000} s: ${operation.progress}`,
    {
      ...(operation.group === null ? {} : { lines: [`-> holdfast why ${operation.group}`] }),
      next: `it goes on without this command: holdfast op wait ${operation.id}`,
    },
  );
}

function nextAfter(operation: Operation): string {
  return operation.group === null ? 'holdfast status' : `holdfast why ${operation.group}`;
}

/** What is done to what: `move of db to bob`. */
export function title(operation: Operation): string {
  switch (operation.kind) {
    case 'move':
      return `move of ${operation.group}${operation.node === null ? '' : ` to ${operation.node}`}`;
    case 'stop':
    case 'start':
      return `${operation.kind} of ${operation.group}`;
    case 'standby':
      return `standby of ${operation.node}`;
    default:
      return operation.kind satisfies never;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function listOperations(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const request = { method: 'GET', path: routes.operations(client.cluster) } as const;
  const { value, sent } = await client.call(operationListSchema, request);
  if (setting.json) printJson(setting.io, sent);
  else if (value.operations.length === 0) setting.io.note('no operation yet; move, stop, start and standby make one');
  else
    setting.io.data(
      table(
        ['ID', 'WHAT', 'STATE', 'STARTED', 'PROGRESS'],
        value.operations.map((one) => [one.id, title(one), one.state, one.startedAt, oneLine(one.progress)]),
      ),
    );
}

async function showOperation(setting: Setting, id: string): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(operationSchema, {
    method: 'GET',
    path: routes.operation(client.cluster, id),
  });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/operation/v1', ...(sent as object) });
  else setting.io.data(operationText(value));
}

function operationText(operation: Operation): string {
  const ended = operation.finishedAt === null ? '' : `, ended ${operation.finishedAt}`;
  return `${title(operation)} (${operation.id}): ${operation.state}: ${operation.progress}\nstarted ${operation.startedAt}${ended}`;
}

async function waitFor(setting: Setting, id: string, waitMs: number): Promise<void> {
  const client = await setting.connect();
  const first = await client.call(operationSchema, { method: 'GET', path: routes.operation(client.cluster, id) });
  await follow(setting, client, first, waitMs);
}

async function cancelOperation(setting: Setting, id: string): Promise<void> {
  const client = await setting.connect();
  const { value, sent } = await client.call(operationSchema, {
    method: 'POST',
    path: routes.cancelOperation(client.cluster, id),
  });
  if (setting.json) printJson(setting.io, { schema: 'holdfast/operation/v1', ...(sent as object) });
  else setting.io.data(`${title(value)}: cancelled: ${value.progress}`);
}

export const registerOperation: Register = (program, io) => {
  const op = program.command('op').description('Look at long actions, wait for the end of one, or take one back');
  op.command('list')
    .description('Show the newest actions, newest first')
    .addHelpText('after', '\nExample: holdfast op list')
    .action((_: unknown, command: Command) => listOperations(settingOf(command, io)));
  op.command('show')
    .argument('<id>', 'as printed by the command that started it')
    .description('Show how far an action has come')
    .addHelpText('after', '\nExample: holdfast op show op_5f0c2b7e91d3a648')
    .action((id: string, _: unknown, command: Command) => showOperation(settingOf(command, io), id));
  op.command('wait')
    .argument('<id>', 'as printed by the command that started it')
    .option('--wait <duration>', 'how long', DEFAULT_WAIT)
    .description('Wait until an action has ended; its outcome is the exit code')
    .addHelpText('after', '\nExample: holdfast op wait op_5f0c2b7e91d3a648 --wait 5m')
    .action((id: string, options: { wait: string }, command: Command) =>
      waitFor(settingOf(command, io), id, durationOption(options.wait, '--wait')),
    );
  op.command('cancel')
    .argument('<id>', 'as printed by the command that started it')
    .description('Take back what an action has not done yet; what it has done stays')
    .addHelpText(
      'after',
      `
A move: the group stays where it is, or goes where it would by itself. A stop: the group is meant to run again.
A standby: the node may run groups again. A start is ended by \`holdfast group stop\`.

Example: holdfast op cancel op_5f0c2b7e91d3a648`,
    )
    .action((id: string, _: unknown, command: Command) => cancelOperation(settingOf(command, io), id));
};
