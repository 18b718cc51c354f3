/** `why`: where a group runs and why there, from the decision that the coordinator stored when it made it. */
import type { Command } from 'commander';
import { type Why, whySchema } from '../../schemas/api.ts';
import { nearest } from '../../schemas/names.ts';
import { DEFAULT_STATE_DIR } from '../agent/identity.ts';
import type { Answer } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import { answerLocally } from './local.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { whyText } from './why-text.ts';

interface WhyOptions {
  readonly on?: string;
  readonly stateDir: string;
}

async function why(setting: Setting, group: string, options: WhyOptions): Promise<void> {
  const { io, json } = setting;
  let answer: Answer<Why>;
  try {
    const client = await setting.connect();
    answer = await client.call(whySchema, { method: 'GET', path: routes.why(client.cluster, group) });
  } catch (error) {
    return answerLocally(io, json, options.stateDir, error, group);
  }
  const names = answer.value.candidates.map((candidate) => candidate.node);
  if (options.on !== undefined && !names.includes(options.on)) {
    const meant = nearest(options.on, names);
    throw new CliError(
      EXIT.refused,
      `${options.on} may not run ${group}: it is not in its \`on\` list${meant === undefined ? '' : `; did you mean ${meant}?`}`,
      {
        next: `ask for one of ${names.join(', ')}, or add ${options.on} to \`on\` of ${group} and to \`nodes\` in the document, and apply it`,
      },
    );
  }
  if (json) printJson(io, answer.sent);
  else io.data(whyText(answer.value, options.on, io));
}

export const registerWhy: Register = (program, io) => {
  program
    .command('why')
    .argument('<group>', 'its name')
    .option('--on <node>', 'only what speaks for and against this node')
    .option('--state-dir <dir>', 'of the agent here, asked when the coordinator does not answer', DEFAULT_STATE_DIR)
    .description('Explain where a group runs: every node with its reasons, and the last failover with its times')
    .addHelpText('after', '\nExample: holdfast why db --on carol')
    .action((group: string, options: WhyOptions, command: Command) => why(settingOf(command, io), group, options));
};
