/** The agent on a node: what `holdfast agent` runs. */

import { journalReads, type Log, tellServiceManager } from '../system/index.ts';
import { VERSION } from '../version.ts';
import { loadIdentity } from './identity.ts';
import { AgentRunning, listenLocally } from './local-socket.ts';
import { AgentLoop } from './loop.ts';
import type { ResetChoice } from './reset-choice.ts';
import { reasonToHandOver } from './shutdown.ts';

/** Exit code when another agent has the state directory; a unit must not try again. */
export const EXIT_ALREADY_RUNNING = 75;

/** One line per event on stderr; with the priority that journald reads where it is journald that reads. */
const journal = journalReads();
const log: Log = {
  info: (message) => process.stderr.write(`${journal ? '<6>' : ''}${oneLine(message)}\n`),
  warn: (message) => process.stderr.write(`${journal ? '<4>' : 'warning: '}${oneLine(message)}\n`),
};

/**
 * Runs the agent until SIGTERM or SIGINT (which leave guard and services as they are, for a successor to take over within the lease;
 * but while the host goes down or the package is removed, hand them over), or until the guard is lost (then everything has been stopped).
 * A service manager that asks for it (Type=notify) is told when the agent serves: what the guard knows is taken up by then, whether or
 * not the coordinator answers.
 * @returns the exit code: 0 told to end, 70 the guard was lost (start again), 75 another agent has the state directory.
 * @throws IdentityError when the node has not joined; StateFileError, GuardError when it must not or cannot run.
 */
export async function runAgent(options: { stateDir: string; guardPath: string; reset: ResetChoice }): Promise<number> {
  const identity = await loadIdentity(options.stateDir);
  let loop: AgentLoop | undefined;
  let socket: Awaited<ReturnType<typeof listenLocally>>;
  try {
    socket = await listenLocally(options.stateDir, {
      status: () => loop?.status() ?? { error: 'the agent is starting' },
      drbd: async (handler, resource) => {
        if (loop === undefined) return { error: 'the agent is starting' };
        if (handler === 'unfence-peer') return { looked: await loop.lookAtDrbd(resource) };
        const verdict = await loop.fencePeer(resource);
        log.info(`drbd ${resource}: ${handler}: ${verdict.verdict}${'why' in verdict ? `, ${verdict.why}` : ''}`);
        return { ...verdict };
      },
    });
  } catch (error) {
    if (!(error instanceof AgentRunning)) throw error;
    log.warn(error.message);
    return EXIT_ALREADY_RUNNING;
  }
  try {
    loop = await AgentLoop.start({ ...options, identity, log, version: VERSION });
  } catch (error) {
    // a process that still answers there is taken for an agent that runs, and never ends
    socket.close();
    throw error;
  }
  const running = loop;
  const toldToEnd = () => {
    reasonToHandOver(log).then(
      (reason) => {
        if (reason === undefined) return running.leave();
        running.handOver(reason);
        void tell({ state: 'stopping', status: `${reason}: handing over what runs here` });
      },
      () => running.leave(),
    );
  };
  process.once('SIGTERM', toldToEnd);
  process.once('SIGINT', toldToEnd);
  await tell({ state: 'ready', status: `node ${identity.node} of cluster ${identity.cluster}` });
  const end = await loop.ended;
  socket.close();
  log.info(`the agent ends: ${end.reason}`);
  return end.code;
}

/** Never rejects: an agent that cannot tell goes on. */
async function tell(news: Parameters<typeof tellServiceManager>[0]): Promise<void> {
  const problem = await tellServiceManager(news);
  if (problem !== undefined) log.warn(`systemd is not told that this agent is ${news.state}: ${problem}`);
}

function oneLine(message: string): string {
  return message.replace(/\s*\n\s*/g, ' | ');
}
