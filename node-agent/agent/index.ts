/** The agent on a node: what `holdfast agent` runs. */

import type { Log } from '../system/index.ts';
import { VERSION } from '../version.ts';
import { loadIdentity } from './identity.ts';
import { AgentRunning, listenLocally } from './local-socket.ts';
import { AgentLoop } from './loop.ts';

/** Exit code when another agent has the state directory; a unit must not try again. */
export const EXIT_ALREADY_RUNNING = 75;

/** One line per event on stderr; with the priority that journald reads where it is journald that reads. */
const journal = process.env.JOURNAL_STREAM !== undefined;
const log: Log = {
  info: (message) => process.stderr.write(`${journal ? '<6>' : ''}${oneLine(message)}\n`),
  warn: (message) => process.stderr.write(`${journal ? '<4>' : 'warning: '}${oneLine(message)}\n`),
};

/**
 * Runs the agent until SIGTERM or SIGINT (which leave guard and services as they are, for a successor to take over within the lease),
 * or until the guard is lost (then everything has been stopped).
 * @returns the exit code: 0 told to end, 70 the guard was lost (start again), 75 another agent has the state directory.
 * @throws IdentityError when the node has not joined; StateFileError, GuardError when it must not or cannot run.
 */
export async function runAgent(options: { stateDir: string; guardPath: string }): Promise<number> {
  const identity = await loadIdentity(options.stateDir);
  let loop: AgentLoop | undefined;
  let socket: Awaited<ReturnType<typeof listenLocally>>;
  try {
    socket = await listenLocally(options.stateDir, () => loop?.status() ?? { error: 'the agent is starting' });
  } catch (error) {
    if (!(error instanceof AgentRunning)) throw error;
    log.warn(error.message);
    return EXIT_ALREADY_RUNNING;
  }
  loop = await AgentLoop.start({ ...options, identity, log, version: VERSION });
  const leave = () => loop?.leave();
  process.once('SIGTERM', leave);
  process.once('SIGINT', leave);
  const end = await loop.ended;
  socket.close();
  log.info(`the agent ends: ${end.reason}`);
  return end.code;
}

function oneLine(message: string): string {
  return message.replace(/\s*\n\s*/g, ' | ');
}
