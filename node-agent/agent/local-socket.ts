/**
 * STATE_DIR/agent.sock: what this agent knows, for the command line on the same machine; and the sign that an agent runs here, so that
 * a second one on the same state directory does not start.
 */
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import * as z from 'zod';
import { parseJson, textOf } from '../system/index.ts';

const CONNECT_MS = 1_000;
const MAX_QUESTION_BYTES = 4_096;

/** Another agent answers on this state directory. */
export class AgentRunning extends Error {
  constructor(path: string) {
    super(
      `an agent already runs on this state directory (it answers on ${path}); stop it first, or give --state-dir for a second node`,
    );
    this.name = 'AgentRunning';
  }
}

export interface LocalAnswers {
  status(): Record<string, unknown>;
  /** DRBD's handlers, with the name of the resource: `fence-peer` may take some seconds. */
  drbd?(handler: DrbdHandler, resource: string): Promise<Record<string, unknown>>;
}

export type DrbdHandler = 'fence-peer' | 'unfence-peer';

const questionSchema = z.union([
  z.strictObject({ query: z.literal('status') }),
  z.strictObject({ query: z.enum(['fence-peer', 'unfence-peer']), resource: z.string().min(1).max(64) }),
]);

/** @throws {AgentRunning} */
export async function listenLocally(stateDir: string, answers: LocalAnswers): Promise<Server> {
  const path = join(stateDir, 'agent.sock');
  if (await isAnswered(path)) throw new AgentRunning(path);
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    let question = '';
    socket.setEncoding('utf8');
    socket.setTimeout(CONNECT_MS * 5, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('data', (text: string) => {
      question += text;
      if (question.length > MAX_QUESTION_BYTES) socket.destroy();
      else if (question.includes('\n')) {
        socket.removeAllListeners('data');
        void tell(socket, question, answers);
      }
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}

async function tell(socket: Socket, question: string, answers: LocalAnswers): Promise<void> {
  try {
    socket.end(`${JSON.stringify(await answer(question, answers))}\n`);
  } catch (error) {
    socket.end(`${JSON.stringify({ error: textOf(error) })}\n`);
  }
}

async function answer(question: string, answers: LocalAnswers): Promise<Record<string, unknown>> {
  const { data: asked } = questionSchema.safeParse(parseJson(question));
  if (asked === undefined) return { error: 'ask {"query":"status"}' };
  if (asked.query === 'status') return answers.status();
  return (await answers.drbd?.(asked.query, asked.resource)) ?? { error: 'the agent is starting' };
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (result: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => done(true), CONNECT_MS);
    socket.on('connect', () => done(true));
    socket.on('error', () => done(false));
  });
}
