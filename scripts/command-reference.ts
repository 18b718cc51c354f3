/** docs/reference/commands.md: every command as it explains itself with --help. */
import type { Command } from 'commander';
import { processIo } from '../node-agent/cli/io.ts';
import { buildProgram } from '../node-agent/cli/program.ts';

/** Characters a line of the page, whatever terminal this runs on. */
const WIDTH = 100;

export interface CommandHelp {
  /** With the commands above it: `holdfast node token create`. */
  readonly path: string;
  /** What --help prints, without a line break at its end. */
  readonly help: string;
}

/** @returns the text of the page, ending with a line break. */
export function commandReference(): string {
  const head = `# Command reference

Every command as \`--help\` explains it, generated from the command line itself (\`npm run schema\`). The global options stand behind any
command; exit codes are in the [handbook](../handbook.md#exit-codes).`;
  const sections = commandHelps(WIDTH).map(({ path, help }) => `## ${path}\n\n\`\`\`text\n${help}\n\`\`\``);
  return `${[head, ...sections].join('\n\n')}\n`;
}

/** Every command, each before those below it, explained in lines of at most so many characters. */
export function commandHelps(width: number): CommandHelp[] {
  const walk = (command: Command): CommandHelp[] => [
    { path: pathOf(command), help: helpOf(command, width) },
    ...command.createHelp().visibleCommands(command).flatMap(walk),
  ];
  return walk(buildProgram(processIo()));
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function helpOf(command: Command, width: number): string {
  let text = '';
  command
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({
      writeOut: (part) => {
        text += part;
      },
      getOutHelpWidth: () => width,
      getOutHasColors: () => false,
    })
    .outputHelp();
  return text.trimEnd();
}
