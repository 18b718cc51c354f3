import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildCoordinator } from '../../scripts/build-coordinator.ts';
import { TestNode } from '../../test/coordinator/node.ts';
import { until, within } from '../../test/lab/until.ts';
import { startProblem } from './serve.ts';

const DEADLINE_MS = 20_000;
const script = `
  import { serve } from ${JSON.stringify(join(import.meta.dirname, 'serve.ts'))};
  const [listen, data, coordinatorDir] = process.argv.slice(1);
  process.exitCode = await serve({ listen, data, coordinatorDir });
`;

let scratch: string;
let coordinatorDir: string;
const running = new Set<ChildProcess>();
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'holdfast-serve-'));
  coordinatorDir = join(scratch, 'coordinator');
  await buildCoordinator(coordinatorDir);
});
after(async () => {
  for (const child of running) child.kill('SIGKILL');
  await rm(scratch, { recursive: true, force: true });
});

class Serve {
  readonly process: ChildProcess;
  readonly exit: Promise<number | null>;
  stdout = '';
  stderr = '';

  /** @param wrapper words before the program, to run it where something is missing. */
  constructor(data: string, listen = '127.0.0.1:0', env: Record<string, string> = {}, wrapper: readonly string[] = []) {
    const serve = ['--input-type=module', '-e', script, listen, join(scratch, data), coordinatorDir];
    const [program = '', ...words] = [...wrapper, process.execPath, ...serve];
    this.process = spawn(program, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, ...env },
    });
    running.add(this.process);
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    // 'close': everything it said has arrived.
    this.exit = once(this.process, 'close').then(([code]) => {
      running.delete(this.process);
      return code as number | null;
    });
  }

  async ended(): Promise<number | null> {
    return await within(this.exit, { deadlineMs: DEADLINE_MS, what: 'serve to end' });
  }

  /** Its address, once it is ready. */
  async ready(): Promise<string> {
    const origin = async () => /^holdfast coordinator ready on (http:\S+) /.exec(this.stdout)?.[1];
    const ended = this.exit.then((code) => assert.fail(`ended with ${code}: ${this.stderr}`));
    return await Promise.race([until(origin, { deadlineMs: DEADLINE_MS, what: `readiness: ${this.stderr}` }), ended]);
  }

  /** The process that flock and setpriv turned into. */
  async workerd(): Promise<number> {
    const { pid } = this.process;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return Number(children.trim());
  }
}

/** Starts it as soon as the lock of the one that was killed is free. */
async function startWhenFree(data: string): Promise<Serve> {
  const start = async () => {
    const next = new Serve(data);
    return await Promise.race([next.ready().then(() => next), next.exit.then(() => null)]);
  };
  return await until(start, { deadlineMs: DEADLINE_MS, what: 'the lock to be free' });
}

async function tokenOf(data: string): Promise<string> {
  return (await readFile(join(scratch, data, 'admin.token'), 'utf8')).trim();
}

async function ask(origin: string, data: string, method: string, path: string, body?: unknown): Promise<Response> {
  return await fetch(origin + path, {
    method,
    headers: { authorization: `Bearer ${await tokenOf(data)}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

test('it says once that it is ready, and keeps the token it made to itself', async () => {
  const serve = new Serve('first');
  const origin = await serve.ready();
  const dir = join(scratch, 'first');
  assert.equal(
    serve.stdout,
    `holdfast coordinator ready on ${origin} (data ${dir}, admin token ${join(dir, 'admin.token')})\n`,
  );
  assert.equal((await stat(dir)).mode & 0o777, 0o700);
  assert.equal((await stat(join(dir, 'admin.token'))).mode & 0o777, 0o600);
  assert.equal(Buffer.from(await tokenOf('first'), 'base64url').byteLength, 32);
  assert.equal((await ask(origin, 'first', 'GET', '/v1/clusters')).status, 200);
  const wrong = await fetch(`${origin}/v1/clusters`, { headers: { authorization: 'Bearer wrong' } });
  assert.equal(wrong.status, 401);
  assert.equal((await ask(origin, 'first', 'POST', '/v1/test/clock', { offsetMs: 1 })).status, 404);
  serve.process.kill('SIGTERM');
  assert.equal(await serve.ended(), 0);
  assert.equal(serve.stdout.split('\n').length, 2);
});

test('a second start on the same directory is refused, and says who has it', async () => {
  const first = new Serve('twice');
  await first.ready();
  const token = await tokenOf('twice');
  const second = new Serve('twice');
  assert.equal(await second.ended(), 75);
  assert.match(second.stderr, new RegExp(`process ${await first.workerd()} \\(workerd\\) serves .*twice already`));
  assert.equal(second.stdout, '');
  assert.equal(await tokenOf('twice'), token);
  first.process.kill('SIGTERM');
  assert.equal(await first.ended(), 0);
});

test('a port in use ends it with what to do next', async () => {
  const first = new Serve('port-a');
  const { host } = new URL(await first.ready());
  const second = new Serve('port-b', host);
  assert.equal(await second.ended(), 1);
  assert.match(second.stderr, new RegExp(`${host} is in use: choose another port`));
  first.process.kill('SIGTERM');
  await first.ended();
});

test('a token file that others can read is refused with the command that mends it', async () => {
  const first = new Serve('open-token');
  await first.ready();
  first.process.kill('SIGTERM');
  await first.ended();
  const file = join(scratch, 'open-token', 'admin.token');
  await chmod(file, 0o644);
  const refused = new Serve('open-token');
  assert.equal(await refused.ended(), 78);
  assert.match(refused.stderr, new RegExp(`chmod 600 ${file}`));
  await chmod(file, 0o600);
  await chmod(join(scratch, 'open-token'), 0o777);
  const writable = new Serve('open-token');
  assert.equal(await writable.ended(), 78);
  assert.match(writable.stderr, /chmod 700/);
});

for (const mode of [0o750, 0o701])
  test(`a data directory of mode ${mode.toString(8)} is refused with the command that mends it`, async () => {
    const dir = join(scratch, `open-${mode.toString(8)}`);
    await mkdir(dir, { mode });
    await chmod(dir, mode);
    const refused = new Serve(`open-${mode.toString(8)}`);
    assert.equal(await refused.ended(), 78);
    assert.match(refused.stderr, new RegExp(`others may enter ${dir} .*: chmod 700 ${dir}`));
    assert.deepEqual(await readdir(dir), [], 'nothing was written into it');
  });

test('a data directory of another user is refused', { skip: process.getuid?.() !== 0 }, async () => {
  const dir = join(scratch, 'foreign');
  await mkdir(dir, { mode: 0o700 });
  await chown(dir, 65_534, 65_534);
  const refused = new Serve('foreign');
  assert.equal(await refused.ended(), 78);
  assert.match(refused.stderr, new RegExp(`${dir} belongs to uid 65534.*: chown 0 ${dir}`));
});

test('a data directory where none can be made ends it, instead of trying for ever', async () => {
  const refused = new Serve('../../proc/holdfast/data');
  assert.equal(await refused.ended(), 78);
  assert.match(refused.stderr, /\/proc\/holdfast\/data cannot hold the data/);
});

test('an address that this machine has not is told with what to do next', async () => {
  const elsewhere = new Serve('elsewhere', '198.51.100.7:8787');
  assert.equal(await elsewhere.ended(), 1);
  assert.match(elsewhere.stderr, /no interface of this machine has the address of 198\.51\.100\.7:8787: give one/);
});

test('what workerd could not listen on is told with what to do next', () => {
  const said = (what: string) => startProblem(`Socket "http": ${what}`, '127.0.0.1:81') ?? '';
  assert.match(
    said('bind(): Permission denied (os error 13)'),
    /may not listen on 127\.0\.0\.1:81: choose a port above 1023/,
  );
  assert.match(said('getaddrinfo(): DNS lookup failed. host = x'), /host name .* is not found/);
  assert.equal(said('something else'), '');
});

const hidesFiles = process.getuid?.() === 0;

test('a machine without CA certificates is told which package it lacks', {
  skip: hidesFiles ? false : 'needs root, to hide the certificates of this machine',
}, async () => {
  const hidden = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /etc/ssl/certs && exec "$0" "$@"'];
  const bare = new Serve('bare', undefined, undefined, hidden);
  assert.equal(await bare.ended(), 1);
  assert.match(bare.stderr, /holdfast serve: .*no CA certificates.* install ca-certificates/);
});

test('an address that is none is a usage error', async () => {
  for (const listen of ['8787', '127.0.0.1:99999', 'nowhere:http']) {
    const refused = new Serve('usage', listen);
    assert.equal(await refused.ended(), 64, listen);
    assert.match(refused.stderr, /write ADDR:PORT/);
  }
});

test('killed at any moment, it has kept everything it acknowledged', async () => {
  const acknowledged: string[] = [];
  for (let round = 0; round < 3; round++) {
    const serve = await startWhenFree('killed');
    const origin = await serve.ready();
    await ask(origin, 'killed', 'POST', '/v1/clusters', { name: 'kept' });
    const enough = acknowledged.length + 20 + 7 * round;
    const write = async (lane: number) => {
      for (let i = 0; ; i++) {
        const node = `n-${round}-${lane}-${i}`;
        const created = await ask(origin, 'killed', 'POST', `/v1/clusters/kept/nodes/${node}/token`);
        if (created.status !== 201) assert.fail(`token: ${created.status}`);
        acknowledged.push(node);
        if (acknowledged.length >= enough) serve.process.kill('SIGKILL');
      }
    };
    // Each lane ends when the connection breaks.
    const ends = await Promise.allSettled([0, 1, 2, 3].map(write));
    for (const end of ends) {
      assert.ok(
        end.status === 'rejected' && end.reason instanceof TypeError,
        String((end as PromiseRejectedResult).reason),
      );
    }
    await serve.ended();
  }
  const serve = await startWhenFree('killed');
  const origin = await serve.ready();
  const known = new Set<string>();
  for (let after = 0; ; ) {
    const page = await ask(origin, 'killed', 'GET', `/v1/clusters/kept/events?after=${after}&limit=50`);
    const { events, next } = (await page.json()) as { events: { kind: string; node?: string }[]; next: number };
    if (events.length === 0) break;
    for (const { kind, node } of events) if (kind === 'node.token-created' && node !== undefined) known.add(node);
    after = next;
  }
  assert.deepEqual(
    acknowledged.filter((node) => !known.has(node)),
    [],
  );
  serve.process.kill('SIGTERM');
  assert.equal(await serve.ended(), 0);
});

test('SIGTERM ends it at once, although an agent holds a socket', async () => {
  const serve = new Serve('sockets');
  const origin = await serve.ready();
  await ask(origin, 'sockets', 'POST', '/v1/clusters', { name: 'open' });
  const created = await ask(origin, 'sockets', 'POST', '/v1/clusters/open/nodes/alice/token');
  const { token } = (await created.json()) as { token: string };
  const alice = await TestNode.make(origin, 'open', 'alice');
  assert.equal((await alice.enrol(token)).status, 200);
  const socket = await alice.connect();
  await socket.ask(alice.report());
  serve.process.kill('SIGTERM');
  assert.equal(await serve.ended(), 0);
  await socket.closed;
});

test('it ends with workerd, and says that it did not mean to', async () => {
  const serve = new Serve('dies');
  await serve.ready();
  process.kill(await serve.workerd(), 'SIGKILL');
  assert.equal(await serve.ended(), 1);
  assert.match(serve.stderr, /workerd ended on its own \(SIGKILL\)/);
});

test('the test hooks open only when they are asked for', async () => {
  const serve = new Serve('hooks', '127.0.0.1:0', { HOLDFAST_TEST_HOOKS: '1' });
  const origin = await serve.ready();
  assert.equal((await ask(origin, 'hooks', 'POST', '/v1/test/clock', { offsetMs: 86_400_000 })).status, 200);
  await ask(origin, 'hooks', 'POST', '/v1/clusters', { name: 'later' });
  const { at } = (await (await ask(origin, 'hooks', 'GET', '/v1/clusters/later/status')).json()) as { at: string };
  assert.ok(Date.parse(at) > Date.now() + 86_000_000, at);
  serve.process.kill('SIGTERM');
  await serve.ended();
});
