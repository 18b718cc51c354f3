/**
 * STATE_DIR/agent.sock: what this agent knows, for the command line on the same machine; and the sign that an agent runs here, so that
 * a second one on the same state directory does not start.
 */
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';

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

/** @throws {AgentRunning} */
export async function listenLocally(stateDir: string, status: () => Record<string, unknown>): Promise<Server> {
  const path = join(stateDir, 'agent.sock');
  if (await answers(path)) throw new AgentRunning(path);
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    let question = '';
    socket.setEncoding('utf8');
    socket.setTimeout(CONNECT_MS * 5, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('data', (text: string) => {
      question += text;
      if (question.length > MAX_QUESTION_BYTES) socket.destroy();
      else if (question.includes('\n')) socket.end(`${JSON.stringify(answer(question, status))}\n`);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}

function answer(question: string, status: () => Record<string, unknown>): Record<string, unknown> {
  return /^\s*\{\s*"query"\s*:\s*"status"\s*\}\s*$/.test(question) ? status() : { error: 'ask {"query":"status"}' };
}

function answers(path: string): Promise<boolean> {
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
