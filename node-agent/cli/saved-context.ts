/** `context set` and `context show`: what the other commands use when nothing else is said. */
import type { Command } from 'commander';
import { contextOf, contextPath, readContext, saveContext } from './context.ts';
import { CliError, EXIT } from './exit.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';

async function set({ io, options }: Setting): Promise<void> {
  const changes = contextOf(options);
  if (Object.keys(changes).length === 0)
    throw new CliError(EXIT.usage, 'nothing to save', { next: 'give --url, --cluster or --token-file' });
  const path = await saveContext(io.env, { ...(await readContext(io.env)), ...changes });
  io.note(`saved in ${path}`);
}

async function show({ io, json }: Setting): Promise<void> {
  const saved = await readContext(io.env);
  if (json) printJson(io, { schema: 'holdfast/context/v1', ...saved });
  else if (Object.keys(saved).length === 0) io.note(`nothing is saved in ${contextPath(io.env)}`);
  else
    io.data(
      Object.entries(saved)
        .map(([key, value]) => `${key}: ${value}`)
        .join('\n'),
    );
}

export const registerContext: Register = (program, io) => {
  const context = program.command('context').description('Save which coordinator, cluster and token file to use');
  context
    .command('set')
    .description('Save --url, --cluster and --token-file for the commands to come; what is left out stays')
    .addHelpText(
      'after',
      '\nExample: holdfast context set --url https://ha.example.org --cluster shop --token-file ~/shop.token',
    )
    .action((_: unknown, command: Command) => set(settingOf(command, io)));
  context
    .command('show')
    .description('Show what is saved')
    .addHelpText('after', '\nExample: holdfast context show')
    .action((_: unknown, command: Command) => show(settingOf(command, io)));
};
