/** The handlers that DRBD calls, as programs: against a socket that answers like the agent's. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';

const here = import.meta.dirname;
const root = mkdtempSync(join(tmpdir(), 'hfh-'));
const program = join(root, 'holdfast-drbd');
const FROZEN_MS = 1_500;
const PROMOTION_MS = 300;

const missing = spawnSync('cc', ['--version']).error !== undefined && 'needs cc';

/** What the agent answers, one after the other and the last again and again; `undefined`: it hangs up. */
async function agent(t: TestContext, answers: readonly (string | undefined)[]) {
  const dir = mkdtempSync(join(root, 'state-'));
  const questions: string[] = [];
  const server: Server = createServer((socket) => {
    socket.on('error', () => socket.destroy()); // who is told too much hangs up
    socket.on('data', (data) => {
      const answer = answers[Math.min(questions.length, answers.length - 1)];
      questions.push(String(data));
      socket.end(answer === undefined ? '' : `${answer}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(join(dir, 'agent.sock'), resolve));
  t.after(() => server.close());
  return { dir, questions };
}

function called(args: readonly string[], env: Record<string, string> = { DRBD_RESOURCE: 'r0', DRBD_PEERS: 'n2' }) {
  const startedAt = performance.now();
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  return new Promise<{ code: number | null; said: string; ms: number }>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, said, ms: performance.now() - startedAt }));
  });
}

const fence = (dir: string) => called(['--state-dir', dir, 'fence-peer']);

describe('the handlers of DRBD', { skip: missing, timeout: 60_000 }, () => {
  before(() => {
    const patience = `-DFROZEN_PATIENCE_MS=${FROZEN_MS} -DPROMOTION_PATIENCE_MS=${PROMOTION_MS}`;
    execFileSync('sh', ['-c', `cc -O2 -std=gnu11 -Wall -Wextra -Werror ${patience} -o ${program} ${here}/*.c`]);
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  it('fence-peer asks the agent for the resource, and answers with the exit codes that the kernel understands', async (t) => {
    const table: readonly [what: string, answers: readonly (string | undefined)[], code: number, said: RegExp][] = [
      ['the coordinator keeps the peer out', ['{"verdict":"outdated"}'], 4, /copy of r0 is outdated: the coordinator/],
      ['another node has the lease', ['{"verdict":"owned"}'], 6, /another node has the lease of r0/],
      ['no lease at all', ['{"verdict":"none","why":"no lease of “db”"}'], 1, /^no lease of “db”\n$/],
      [
        'it takes a while',
        [
          '{"verdict":"pending","frozen":true,"why":"…"}',
          undefined,
          '{"error":"the agent is starting"}',
          '{"verdict":"outdated"}',
        ],
        4,
        /outdated/,
      ],
    ];
    for (const [what, answers, code, said] of table) {
      const { dir, questions } = await agent(t, answers);
      const ended = await fence(dir);
      equal(ended.code, code, what);
      match(ended.said, said, what);
      deepEqual(
        questions,
        answers.map(() => '{"query":"fence-peer","resource":"r0"}\n'),
        what,
      );
    }
  });

  it('what is not understood is no permission', async (t) => {
    const answers: readonly [answer: string, said: RegExp][] = [
      ['{"verdict":"Outdated"}', /gives no answer: its answer is not understood/],
      ['{"verdict":"outdated"', /not understood/],
      ['{"verdict":"outdated"} and more', /not understood/],
      ['{"verdict":["outdated"]}', /not understood/],
      ['{"verdict":true}', /not understood/],
      ['{"frozen":"no","verdict":"outdated"}', /not understood/],
      ['["outdated"]', /not understood/],
      ['{"why":"\\"verdict\\":\\"outdated\\""}', /gives no answer: "verdict":"outdated"/],
      [`{"why":"${'x'.repeat(9_000)}","verdict":"outdated"}`, /its answer is too long/],
      ['{"error":"ask {\\"query\\":\\"status\\"}"}', /gives no answer: ask {"query":"status"}/],
      ['', /not understood/],
    ];
    await Promise.all(
      answers.map(async ([answer, said]) => {
        const { dir } = await agent(t, [answer]);
        const ended = await fence(dir);
        equal(ended.code, 1, answer);
        match(ended.said, said, answer);
      }),
    );
  });

  it('frozen writes wait for long, a promotion does not', async (t) => {
    const pending = (frozen: boolean) => [`{"verdict":"pending","frozen":${frozen},"why":"no coordinator"}`];
    const [frozen, promotion, none] = await Promise.all([
      fence((await agent(t, pending(true))).dir),
      fence((await agent(t, pending(false))).dir),
      fence(join(root, 'nowhere')),
    ]);
    for (const ended of [frozen, promotion]) deepEqual([ended.code, ended.said], [1, 'no coordinator\n']);
    ok(frozen.ms >= FROZEN_MS && promotion.ms < FROZEN_MS, `${frozen.ms} and ${promotion.ms} ms`);
    equal(none.code, 1);
    match(none.said, /gives no answer: No such file or directory/);
    ok(none.ms >= FROZEN_MS, 'an agent that is being restarted is waited for');
  });

  it('unfence-peer makes the agent look, and is no failure without one', async (t) => {
    const { dir, questions } = await agent(t, ['{"looked":true}']);
    deepEqual((await called(['--state-dir', dir, 'unfence-peer'])).code, 0);
    deepEqual(questions, ['{"query":"unfence-peer","resource":"r0"}\n']);
    const without = await called(['--state-dir', root, 'unfence-peer']);
    equal(without.code, 0);
    match(without.said, /it tells of r0 when it runs again/);
  });

  it('called by hand it says how it is to be called', async () => {
    const table: readonly [args: readonly string[], env: Record<string, string>, said: RegExp][] = [
      [['fence-peer'], {}, /DRBD_RESOURCE is not set: .*--help/],
      [['fence-peer'], { DRBD_RESOURCE: 'r0"}' }, /DRBD_RESOURCE is not the name of a resource/],
      [['fence-peer', 'r0'], { DRBD_RESOURCE: 'r0' }, /^usage: holdfast-drbd/],
      [['primary'], { DRBD_RESOURCE: 'r0' }, /^usage: holdfast-drbd/],
      [[], { DRBD_RESOURCE: 'r0' }, /^usage: holdfast-drbd/],
      [['--state-dir', `/${'x'.repeat(120)}`, 'fence-peer'], { DRBD_RESOURCE: 'r0' }, /--state-dir .* is too long/],
    ];
    for (const [args, env, said] of table) {
      const ended = await called(args, env);
      equal(ended.code, 64, args.join(' '));
      match(ended.said, said);
    }
    const { code, said } = await called(['--help'], {});
    equal(code, 0);
    match(said, /fence-peer {3}"\/usr\/lib\/holdfast\/holdfast-drbd fence-peer";/);
  });
});
