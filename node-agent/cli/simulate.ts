/** `simulate`: what would happen if a node died, was drained, the coordinator went away, or a document were applied. */
import type { Command } from 'commander';
import { simulationSchema } from '../../schemas/api.ts';
import { connectFor, judged, readDocument } from './configuration.ts';
import { CliError, EXIT } from './exit.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { simulationText } from './simulate-text.ts';

interface SimulateOptions {
  readonly down: readonly string[];
  readonly standby: readonly string[];
  readonly coordinatorDown: boolean;
  readonly document?: string;
}

async function simulate(setting: Setting, options: SimulateOptions): Promise<void> {
  const { down, standby, coordinatorDown } = options;
  if (down.length + standby.length === 0 && !coordinatorDown && options.document === undefined)
    throw new CliError(EXIT.usage, 'what is to be assumed?', {
      next: 'give --down NODE, --standby NODE, --coordinator-down or --document FILE, or several of them at once',
    });
  const document = options.document === undefined ? undefined : await readDocument(setting, options.document);
  const client = document === undefined ? await setting.connect() : await connectFor(setting, document);
  const ask = () =>
    client.call(simulationSchema, {
      method: 'POST',
      path: routes.simulate(client.cluster),
      body: { down, standby, coordinatorDown, ...(document === undefined ? {} : { document: document.text }) },
      advice: {
        unreachable: 'check the URL and the network: only the coordinator can tell',
        unknown: 'nothing was changed; ask again',
      },
    });
  const { value, sent } = await (document === undefined ? ask() : judged(document, ask));
  if (setting.json) printJson(setting.io, sent);
  else setting.io.data(simulationText(value, setting.io));
  if (value.down.length > 0) setting.io.exit.code = EXIT.wouldBeDown;
}

const another = (node: string, before: readonly string[]) => [...before, node];

export const registerSimulate: Register = (program, io) => {
  program
    .command('simulate')
    .option('--down <node>', 'this node loses power; may be given several times', another, [])
    .option('--standby <node>', 'this node is drained; may be given several times', another, [])
    .option(
      '--coordinator-down',
      'the coordinator goes away and stays away; what is drained or applied has taken effect by then',
      false,
    )
    .option('--document <file>', 'this document is applied; - is standard input')
    .description('Tell what would become of each group if this happened, all of it at once; changes nothing')
    .addHelpText(
      'after',
      '\nExit codes: 0 everything would be served; 3 something would be down; 1 or more than 3: it could not be told.' +
        '\n\nExamples: holdfast simulate --down alice' +
        '\n          holdfast simulate --document shop.yaml --standby bob',
    )
    .action((options: SimulateOptions, command: Command) => simulate(settingOf(command, io), options));
};
