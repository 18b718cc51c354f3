import { deepEqual, match } from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { type LocalAnswers, listenLocally } from './local-socket.ts';

async function asked(t: TestContext, answers: LocalAnswers, question: string): Promise<unknown> {
  const dir = mkdtempSync(join(tmpdir(), 'hf-socket-'));
  const server = await listenLocally(dir, answers);
  t.after(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });
  const answer = await new Promise<string>((resolve, reject) => {
    let text = '';
    const socket = connect(join(dir, 'agent.sock'), () => socket.write(`${question}\n`));
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
  return JSON.parse(answer);
}

const status = () => ({ node: 'alice' });

it('answers how the agent is, and what DRBD asks', async (t) => {
  deepEqual(await asked(t, { status }, '{"query":"status"}'), { node: 'alice' });
  const drbd = (handler: string, resource: string) => Promise.resolve({ handler, resource });
  deepEqual(await asked(t, { status, drbd }, '{"query":"fence-peer","resource":"r0"}'), {
    handler: 'fence-peer',
    resource: 'r0',
  });
});

it('what is no question is told so, and a failure is no verdict', async (t) => {
  for (const question of [
    'status',
    '{"query":"fence-peer"}',
    '{"query":"status","also":"rm -rf /"}',
    '[]',
    '{"query":"run"}',
  ])
    deepEqual(await asked(t, { status }, question), { error: 'ask {"query":"status"}' }, question);
  const drbd = () => Promise.reject(new Error('no such thing'));
  const failed = await asked(t, { status, drbd }, '{"query":"fence-peer","resource":"r0"}');
  match(JSON.stringify(failed), /"error":"no such thing"/);
});
