/** `completion`: a script for a shell; and `complete`, hidden, which the scripts ask what could come next. */
import { Argument, type Command } from 'commander';
import type { Register } from '../setting.ts';
import { bashScript } from './bash.ts';
import { complete, completionText } from './complete.ts';
import { fishScript } from './fish.ts';
import { namesOf } from './names.ts';
import { zshScript } from './zsh.ts';

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;
type Shell = keyof typeof SCRIPTS;

export const registerCompletion: Register = (program, io) => {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'whose script').choices(Object.keys(SCRIPTS)))
    .description('Print a script that completes commands, options and the names of the cluster')
    .addHelpText(
      'after',
      `
Examples:
  source <(holdfast completion bash)        in ~/.bashrc
  source <(holdfast completion zsh)         in ~/.zshrc, after compinit
  holdfast completion fish | source         in ~/.config/fish/config.fish`,
    )
    .action((shell: Shell) => io.data(SCRIPTS[shell]));
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[], _: unknown, command: Command) => {
      io.data(
        completionText(await complete(command.parent ?? command, words, (kind, options) => namesOf(kind, options, io))),
      );
    });
};
