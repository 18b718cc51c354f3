/** What an operator does with a group: move, stop, start, pause, forgive its failures. */
import type { Command } from 'commander';
import { NEWER_WRITES_RISK } from '../../schemas/copies.ts';
import { formatDuration } from '../../schemas/duration.ts';
import { CliError, EXIT } from './exit.ts';
import { act, DEFAULT_WAIT, durationOption } from './operation.ts';
import { DEFAULT_FOR, type PauseOptions, pauseBody } from './pause.ts';
import { routes } from './routes.ts';
import { type Register, type Setting, settingOf } from './setting.ts';

interface MoveOptions {
  readonly to?: string;
  readonly acceptRisk?: string;
  readonly wait: string;
}

async function move(setting: Setting, group: string, options: MoveOptions): Promise<void> {
  const { acceptRisk } = options;
  if (acceptRisk !== undefined && (acceptRisk !== NEWER_WRITES_RISK || options.to === undefined))
    throw new CliError(
      EXIT.usage,
      `--accept-risk=${acceptRisk}: the only risk here is ${NEWER_WRITES_RISK}, with --to`,
      {
        next: `holdfast move ${group} --to NODE --accept-risk=${NEWER_WRITES_RISK}`,
      },
    );
  const waitMs = durationOption(options.wait, '--wait');
  const client = await setting.connect();
  const request = {
    method: 'POST',
    path: routes.group(client.cluster, group, 'move'),
    body: {
      ...(options.to === undefined ? {} : { to: options.to }),
      ...(acceptRisk === undefined ? {} : { acceptRisk }),
    },
  } as const;
  await act(setting, client, request, { waitMs, done: `${group} is moved` });
}

type GroupAction = 'stop' | 'start' | 'cleanup';

async function change(setting: Setting, group: string, action: GroupAction, wait: string): Promise<void> {
  const waitMs = durationOption(wait, '--wait');
  const client = await setting.connect();
  const request = { method: 'POST', path: routes.group(client.cluster, group, action), body: {} } as const;
  await act(setting, client, request, { waitMs, done: DONE[action](group) });
}

const DONE: Readonly<Record<GroupAction, (group: string) => string>> = {
  stop: (group) => `${group} is stopped`,
  start: (group) => `${group} is started`,
  cleanup: (group) => `the failures of ${group} are forgiven`,
};

const EXPLAINED: Readonly<Record<GroupAction, string>> = {
  stop: 'Stop a group, with what runs `with` it, and keep it stopped until `group start`',
  start: 'Let a group run again that is stopped or has failed: what keeps it down is forgiven',
  cleanup: 'Forgive the failures of a group at once; after a failure that waits for a person, let it go on',
};

interface Meant {
  readonly all: boolean;
}

/** @throws {CliError} `usage` unless it is one group, or all of them. */
function meant(group: string | undefined, { all }: Meant, action: 'pause' | 'resume'): string {
  if ((group !== undefined) !== all) return group ?? '--all';
  throw new CliError(EXIT.usage, `name a group, or --all for every group${all ? ', not both' : ''}`, {
    next: `holdfast group ${action} --help`,
  });
}

const pathFor = (cluster: string, group: string | undefined, action: 'pause' | 'resume') =>
  group === undefined ? routes.allGroups(cluster, action) : routes.group(cluster, group, action);

async function pause(setting: Setting, group: string | undefined, options: PauseOptions & Meant): Promise<void> {
  const words = meant(group, options, 'pause');
  const body = pauseBody(options, `holdfast group pause ${words}`);
  const client = await setting.connect();
  const paused = group === undefined ? 'every group is' : `${group} is`;
  await act(
    setting,
    client,
    { method: 'POST', path: pathFor(client.cluster, group, 'pause'), body },
    {
      waitMs: 0,
      done: `${paused} paused for ${formatDuration(body.forMs)}: nothing is started, stopped or taken over meanwhile; \`holdfast group resume ${words}\` ends it`,
    },
  );
}

async function resume(setting: Setting, group: string | undefined, options: Meant): Promise<void> {
  meant(group, options, 'resume');
  const client = await setting.connect();
  const request = { method: 'POST', path: pathFor(client.cluster, group, 'resume'), body: {} } as const;
  await act(setting, client, request, {
    waitMs: 0,
    done: `${group ?? 'no group'} is ${group === undefined ? 'paused any more' : 'no longer paused'}`,
  });
}

export const registerMove: Register = (program, io) => {
  program
    .command('move')
    .argument('<group>', 'what to move')
    .option('--to <node>', 'where to; left out: the best other node')
    .option(
      '--accept-risk <risk>',
      `${NEWER_WRITES_RISK}: take a node whose copy of the data may lack what was written last, when nobody has the group`,
    )
    .option('--wait <duration>', 'how long to wait for the end; 0s: not at all', DEFAULT_WAIT)
    .description('Move a group to another node, in order: stop, release, start')
    .addHelpText('after', '\nExample: holdfast move db --to bob')
    .action((group: string, options: MoveOptions, command: Command) => move(settingOf(command, io), group, options));
};

export const registerGroup: Register = (program, io) => {
  const group = program.command('group').description('Stop, start or pause a group, or forgive its failures');
  for (const action of ['stop', 'start', 'cleanup'] as const) {
    group
      .command(action)
      .argument('<group>', 'its name')
      .option('--wait <duration>', 'how long to wait for the end; 0s: not at all', DEFAULT_WAIT)
      .description(EXPLAINED[action])
      .addHelpText('after', `\nExample: holdfast group ${action} db`)
      .action((name: string, options: { wait: string }, command: Command) =>
        change(settingOf(command, io), name, action, options.wait),
      );
  }
  group
    .command('pause')
    .argument('[group]', 'its name')
    .option('--all', 'every group there is', false)
    .option('--reason <text>', 'why, for whoever finds it paused')
    .option('--for <duration>', 'when it ends by itself', DEFAULT_FOR)
    .description('Leave a group exactly as it is: nothing of it is started, stopped, mended or taken over')
    .addHelpText('after', '\nExample: holdfast group pause db --reason "resizing the volume" --for 30m')
    .action((name: string | undefined, options: PauseOptions & Meant, command: Command) =>
      pause(settingOf(command, io), name, options),
    );
  group
    .command('resume')
    .argument('[group]', 'its name')
    .option('--all', 'every group that is paused', false)
    .description('End a pause')
    .addHelpText('after', '\nExample: holdfast group resume db')
    .action((name: string | undefined, options: Meant, command: Command) =>
      resume(settingOf(command, io), name, options),
    );
};
