/** Bare workerd with the objects of bench/worker/, and the coordinator as `holdfast serve` runs it; both on the loopback with data of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { build } from 'esbuild';
import { WORKER_BUNDLE } from '../../scripts/build-coordinator.ts';
import { repoRoot, within } from '../../test/lab/index.ts';

export interface Server {
  /** http://127.0.0.1:PORT */
  readonly origin: string;
  /** As the coordinator's administrator; empty on bare workerd. */
  readonly token: string;
  close(): Promise<void>;
}

/** Whatever happens to this process, the server ends with it. */
const withUs = ['--pdeathsig', 'KILL'];

async function workingDirectory(): Promise<string> {
  const parent = join(repoRoot, '.cache/bench');
  await mkdir(parent, { recursive: true });
  return await mkdtemp(join(parent, 'run-'));
}

async function serverOf(
  child: ChildProcess,
  stream: Readable | null | undefined,
  port: RegExp,
  dir: string,
): Promise<Omit<Server, 'token'>> {
  let text = '';
  const listening = new Promise<string>((resolve, reject) => {
    stream?.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      const found = port.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`the server ended (${signal ?? code}): ${text}`)));
  });
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const ended = once(child, 'exit');
      // workerd with open sockets does not end on SIGTERM
      const hard = setTimeout(() => child.kill('SIGKILL'), 500);
      await ended;
      clearTimeout(hard);
    }
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const found = await within(listening, { deadlineMs: 15_000, what: 'the server to listen' });
    return { origin: `http://127.0.0.1:${found}`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The coordinator of this build, from its own executable. */
export async function serveCoordinator(): Promise<Server> {
  const dir = await workingDirectory();
  const serve = ['serve', '--listen', '127.0.0.1:0', '--data', join(dir, 'data')];
  const child = spawn('setpriv', [...withUs, join(repoRoot, 'dist/holdfast'), ...serve], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const server = await serverOf(child, child.stdout, /ready on http:\/\/[^:]+:(\d+)/, dir);
  const token = (await readFile(join(dir, 'data/admin.token'), 'utf8')).trim();
  return { ...server, token };
}

/** The objects of bench/worker/, started as the coordinator's workerd is. */
export async function serveBare(): Promise<Server> {
  const dir = await workingDirectory();
  await mkdir(join(dir, 'objects'));
  await copyFile(join(repoRoot, 'bench/worker/bare.capnp'), join(dir, 'bare.capnp'));
  await build({
    ...WORKER_BUNDLE,
    entryPoints: [join(repoRoot, 'bench/worker/bare.ts')],
    outfile: join(dir, 'bare.js'),
    minify: true,
  });
  const workerd = [
    join(repoRoot, 'dist/coordinator/workerd'),
    'serve',
    join(dir, 'bare.capnp'),
    '--socket-addr=http=127.0.0.1:0',
    `--directory-path=objects=${join(dir, 'objects')}`,
    '--control-fd=3',
  ];
  const child = spawn('setpriv', [...withUs, ...workerd], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
  });
  const control = child.stdio[3];
  const server = await serverOf(child, control as Readable, /"port":\s*(\d+)/, dir);
  return { ...server, token: '' };
}
