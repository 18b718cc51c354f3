/** The `holdfast` command as a whole: which commands there are, what they share, and how each way of failing ends. */
import { Command, CommanderError } from 'commander';
import { nearest } from '../../schemas/names.ts';
import { VERSION } from '../version.ts';
import { registerAudit } from './audit.ts';
import { registerCluster } from './cluster.ts';
import { registerCompletion } from './completion/index.ts';
import { registerApply, registerConfig, registerPlan } from './configuration.ts';
import { registerDoctor } from './doctor.ts';
import { registerDrbd } from './drbd.ts';
import { registerEvents } from './events.ts';
import { CliError, EXIT, errorText } from './exit.ts';
import { registerGroup, registerMove } from './group.ts';
import { registerIncident } from './incident.ts';
import type { Io } from './io.ts';
import { registerJoin } from './join.ts';
import { registerAgent, registerServe } from './machine.ts';
import { registerConfirmDead, registerNode } from './node.ts';
import { registerOperation } from './operation.ts';
import { registerPlanned } from './planned.ts';
import { registerRekey } from './rekey.ts';
import { registerContext } from './saved-context.ts';
import type { Register } from './setting.ts';
import { registerSimulate } from './simulate.ts';
import { registerStatus } from './status.ts';
import { registerToken } from './token.ts';
import { registerWatch } from './watch.ts';
import { registerWebhook } from './webhook.ts';
import { registerWhy } from './why.ts';

/** In the order in which --help shows them: what is needed under stress stands first. */
const FAMILIES: readonly (readonly [heading: string, registers: readonly Register[]])[] = [
  [
    'Look:',
    [registerStatus, registerWatch, registerWhy, registerSimulate, registerEvents, registerIncident, registerDoctor],
  ],
  ['Act:', [registerMove, registerGroup, registerConfirmDead, registerOperation]],
  ['Configure:', [registerPlan, registerApply, registerConfig, registerWebhook]],
  ['Machines:', [registerNode, registerJoin, registerRekey, registerAgent, registerDrbd]],
  ['Coordinator:', [registerServe, registerCluster, registerToken, registerAudit]],
  ['This command:', [registerContext, registerCompletion]],
];

export function buildProgram(io: Io): Command {
  const program = new Command('holdfast');
  program
    .description('High availability for a handful of Linux machines')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .helpCommand(false)
    .option('--url <url>', 'the coordinator (HOLDFAST_URL)')
    .option('--cluster <name>', 'the cluster (HOLDFAST_CLUSTER)')
    .option('--token-file <file>', 'holds the token; - is standard input (HOLDFAST_TOKEN, HOLDFAST_TOKEN_FILE)')
    .option('--json', 'print one object with a `schema`, or one object a line')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => io.data(text.trimEnd()),
      writeErr: (text) => io.note(text.trimEnd()),
      outputError: (text, write) => write(text.replace(/^error: /, 'Error: ')),
    })
    .showSuggestionAfterError()
    .exitOverride();
  for (const [heading, registers] of FAMILIES) {
    program.commandsGroup(heading);
    for (const register of registers) register(program, io);
  }
  program
    .command('version')
    .description('Print the version')
    .action(() => io.data(VERSION));
  registerPlanned(program);
  withoutHelpCommand(program);
  return program;
}

/** `holdfast node --help` is enough; a command `help` beside it would only be one more word to complete. */
function withoutHelpCommand(command: Command): void {
  command.helpCommand(false);
  for (const child of command.commands) withoutHelpCommand(child);
}

/**
 * Runs one command.
 * @param args without the name of the program.
 * @returns the exit code.
 */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const program = buildProgram(io);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return io.exit.code;
  } catch (error) {
    if (error instanceof CommanderError) return usage(error, program, args, io);
    if (error instanceof CliError) {
      io.note(errorText(error));
      return error.exit;
    }
    throw error;
  }
}

function usage(error: CommanderError, program: Command, args: readonly string[], io: Io): number {
  if (error.code === 'commander.helpDisplayed' || error.code === 'commander.version') return EXIT.ok;
  // A family without its command, such as `holdfast node`: its help has been shown.
  if (error.code === 'commander.help') return EXIT.usage;
  const { command, path } = commandOf(program, args);
  if (error.code === 'commander.unknownOption' && !error.message.includes('Did you mean')) {
    const flag = /'(--[^'=]+)=/.exec(error.message)?.[1];
    const known = command.options.map((option) => option.long ?? '').filter((option) => option !== '');
    const meant = flag === undefined ? undefined : nearest(flag, known);
    if (meant !== undefined) io.note(`(Did you mean ${meant}?)`);
  }
  io.note(`Next: ${path} --help`);
  return EXIT.usage;
}

/** The command that the words lead to, as far as they do. */
function commandOf(program: Command, args: readonly string[]): { command: Command; path: string } {
  let command = program;
  let path = program.name();
  for (const word of args) {
    const child = command.commands.find((candidate) => candidate.name() === word);
    if (child === undefined) continue;
    command = child;
    path = `${path} ${word}`;
  }
  return { command, path };
}
