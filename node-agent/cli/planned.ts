/** Commands that later versions will have. They are not listed; whoever calls one is told the truth instead of “unknown command”. */
import type { Command } from 'commander';
import { CliError, EXIT } from './exit.ts';

const PLANNED: Readonly<Record<string, readonly string[]>> = {
  '': ['import', 'local'],
  cluster: ['delete', 'backup', 'restore'],
  node: ['set-url'],
};

export function registerPlanned(program: Command): void {
  for (const [family, names] of Object.entries(PLANNED)) {
    const parent = family === '' ? program : program.commands.find((command) => command.name() === family);
    for (const name of names) {
      parent
        ?.command(name, { hidden: true })
        .allowUnknownOption()
        .allowExcessArguments()
        .helpOption(false)
        .action(() => {
          throw new CliError(
            EXIT.usage,
            `\`holdfast ${family === '' ? '' : `${family} `}${name}\` is not in this version`,
            {
              next: 'holdfast --help lists what is',
            },
          );
        });
    }
  }
}
