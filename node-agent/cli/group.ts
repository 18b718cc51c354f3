/** What an operator does with a group: move, stop, start, forgive its failures. */
import type { Command } from 'commander';
import { act, DEFAULT_WAIT, durationOption } from './operation.ts';
import { routes } from './routes.ts';
import { type Register, type Setting, settingOf } from './setting.ts';

async function move(setting: Setting, group: string, options: { to?: string; wait: string }): Promise<void> {
  const waitMs = durationOption(options.wait, '--wait');
  const client = await setting.connect();
  const request = {
    method: 'POST',
    path: routes.group(client.cluster, group, 'move'),
    body: options.to === undefined ? {} : { to: options.to },
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
  stop: 'Stop a group and keep it stopped until `group start`',
  start: 'Let a stopped group run again',
  cleanup: 'Forgive the failures of a group, so that nodes where it failed may run it again',
};

export const registerMove: Register = (program, io) => {
  program
    .command('move')
    .argument('<group>', 'what to move')
    .option('--to <node>', 'where to; left out: the best other node')
    .option('--wait <duration>', 'how long to wait for the end; 0s: not at all', DEFAULT_WAIT)
    .description('Move a group to another node, in order: stop, release, start')
    .addHelpText('after', '\nExample: holdfast move db --to bob')
    .action((group: string, options: { to?: string; wait: string }, command: Command) =>
      move(settingOf(command, io), group, options),
    );
};

export const registerGroup: Register = (program, io) => {
  const group = program.command('group').description('Stop or start a group, or forgive its failures');
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
};
