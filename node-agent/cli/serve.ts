/**
 * `holdfast serve`: the coordinator on embedded workerd, durable on disk, one instance per data directory.
 *
 * The lock is held by workerd itself (`flock --no-fork` turns into it), because two workerd on one directory would both run every
 * object. It dies with this process (`setpriv --pdeathsig`), and only by SIGKILL: with open WebSockets it does not end on
 * SIGTERM, and it needs no warning, since an answer leaves only after its write is on disk.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, link, lstat, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoOf, tellServiceManager, textOf } from '../system/index.ts';

export interface ServeOptions {
  /** ADDR:PORT or [ADDR]:PORT; port 0 takes any free one. */
  readonly listen: string;
  /** Directory of the data, made on the first start. */
  readonly data: string;
  /** Where the build put workerd, worker.js and config.capnp. */
  readonly coordinatorDir: string;
}

/** sysexits: EX_USAGE, EX_TEMPFAIL, EX_CONFIG. */
const EXIT = { ok: 0, failed: 1, usage: 64, locked: 75, config: 78 } as const;
const TOKEN_BYTES = 32;
const TELL_AGAIN_MS = 5_000;
/** How much of what workerd says before it listens is kept, to tell why it did not. */
const KEPT_STDERR_CHARACTERS = 16_384;

/** What keeps `serve` from starting, with its exit code. */
class ServeError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * Runs the coordinator until SIGTERM or SIGINT (0), or until workerd ends (its code). Prints one line on stdout when it is ready,
 * everything else on stderr.
 * @returns the exit code: 64 for a bad address, 75 when another one serves this directory, 78 when the directory or the token file
 * cannot be trusted, 1 for anything else.
 */
export async function serve(options: ServeOptions): Promise<number> {
  try {
    return await run(options);
  } catch (error) {
    if (!(error instanceof ServeError)) throw error;
    say(error.message);
    return error.exitCode;
  }
}

async function run({ listen, data, coordinatorDir }: ServeOptions): Promise<number> {
  const address = readAddress(listen);
  await requirePrograms(['flock', 'setpriv']);
  await requireBuild(coordinatorDir);
  const dir = resolve(data);
  const token = await usable(dir, async () => {
    await prepareDirectory(dir);
    return await adminToken(join(dir, 'admin.token'));
  });
  warnIfPublic(address.host);

  const child = start(dir, coordinatorDir, listen, token);
  const stop = stopOnSignal(child);
  try {
    const stderr = relay(child);
    const ended = once(child, 'exit').then(([code, signal]) => ({
      code: code as number | null,
      signal: String(signal),
    }));
    const first = await Promise.race([listeningPort(child), ended]);
    if (typeof first === 'number') {
      void tellReady(`listens on ${address.host}:${first}`, stop.requested);
      process.stdout.write(
        `holdfast coordinator ready on http://${address.host}:${first} (data ${data}, admin token ${join(data, 'admin.token')})\n`,
      );
    }
    const { code, signal } = await ended;
    if (stop.requested()) return EXIT.ok;
    if (typeof first === 'number') {
      say(
        `workerd ended on its own (${code === null ? signal : `exit code ${code}`}); the data in ${dir} is as it was acknowledged. Start again`,
      );
    } else {
      await explainStart(code, stderr(), dir, listen);
    }
    return code === null ? EXIT.failed : code;
  } finally {
    stop.dispose();
  }
}

/** Until the service manager has heard it: it would end a coordinator that never said that it is ready. */
async function tellReady(status: string, ended: () => boolean): Promise<void> {
  while (!ended()) {
    const unheard = await tellServiceManager({ state: 'ready', status });
    if (unheard === undefined) return;
    say(unheard);
    await new Promise((resolve) => setTimeout(resolve, TELL_AGAIN_MS).unref());
  }
}

function say(message: string): void {
  process.stderr.write(`holdfast serve: ${message}\n`);
}

function readAddress(listen: string): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(listen);
  const [, host, port] = match ?? [];
  if (host === undefined || Number(port) > 65_535) {
    throw new ServeError(`--listen ${listen}: write ADDR:PORT, for example 127.0.0.1:8787 or [::1]:8787`, EXIT.usage);
  }
  return { host, port: Number(port) };
}

async function requirePrograms(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const places = (process.env.PATH ?? '/usr/bin:/bin').split(delimiter).map((directory) => join(directory, name));
    const found = await Promise.allSettled(places.map((place) => access(place, constants.X_OK)));
    if (!found.some((result) => result.status === 'fulfilled')) {
      throw new ServeError(`${name} is missing: install util-linux`, EXIT.failed);
    }
  }
}

async function requireBuild(coordinatorDir: string): Promise<void> {
  for (const file of ['workerd', 'worker.js', 'config.capnp']) {
    const found = await stat(join(coordinatorDir, file)).catch(missing);
    if (found === null) throw new ServeError(`${join(coordinatorDir, file)} is missing: npm run build`, EXIT.failed);
  }
}

/** Turns "no such file" into null and lets every other error through. */
function missing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}

/** What the system refuses in the data directory is for its administrator to mend, not a failure of this program. */
async function usable<T>(dir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    throw new ServeError(
      `${dir} cannot hold the data (${textOf(error)}): give a directory with --data that this user may write to and that has space`,
      EXIT.config,
    );
  }
}

async function prepareDirectory(dir: string): Promise<void> {
  await makeDirectory(dir);
  const { mode, uid } = await stat(dir);
  const self = process.getuid?.() ?? uid;
  if (uid !== self) {
    throw new ServeError(
      `${dir} belongs to uid ${uid}, which could replace the data and the token in it: chown ${self} ${dir}, or serve as its owner`,
      EXIT.config,
    );
  }
  if ((mode & 0o077) !== 0) {
    throw new ServeError(
      `others may enter ${dir} (mode ${(mode & 0o777).toString(8)}), so the data and the token in it are not private: chmod 700 ${dir}`,
      EXIT.config,
    );
  }
  await makeDirectory(join(dir, 'objects'));
}

/** Like `mkdir -p`. Node's own `recursive` never returns where a file system says ENOENT below a directory that is there, as /proc does. */
async function makeDirectory(dir: string): Promise<void> {
  if ((await stat(dir).catch(missing)) !== null) return;
  const parent = dirname(dir);
  if (parent !== dir) await makeDirectory(parent);
  await mkdir(dir, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

/** Reads the administrator's token, after making it on the first start. */
async function adminToken(file: string): Promise<string> {
  if ((await lstat(file).catch(missing)) === null)
    await writeOnce(file, `${randomBytes(TOKEN_BYTES).toString('base64url')}\n`);
  const { mode, uid } = await lstat(file);
  if ((mode & constants.S_IFMT) !== constants.S_IFREG || uid !== process.getuid?.()) {
    throw new ServeError(`${file} must be a regular file of the user that serves`, EXIT.config);
  }
  if ((mode & 0o077) !== 0) {
    throw new ServeError(
      `${file} can be read by others, who then administer every cluster: chmod 600 ${file}, and if that was so for long, remove it for a new token`,
      EXIT.config,
    );
  }
  const token = (await readFile(file, 'utf8')).trim();
  if (!/^\S{20,}$/.test(token)) {
    throw new ServeError(`${file} holds no token: remove it, and the next start makes a new one`, EXIT.config);
  }
  return token;
}

/** Makes a private file with this content, or leaves the one that is there: never half of one, whoever else does the same. */
async function writeOnce(file: string, content: string): Promise<void> {
  const draft = `${file}.${process.pid}`;
  await rm(draft, { force: true });
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await link(draft, file);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  } finally {
    await rm(draft);
  }
}

function warnIfPublic(host: string): void {
  if (/^(127\.|\[::1\]$|localhost$)/.test(host)) return;
  say(
    `${host} is reachable from other machines and this is plain HTTP: put a TLS proxy in front, or keep it to a network you trust`,
  );
}

function start(dir: string, coordinatorDir: string, listen: string, token: string): ChildProcess {
  const workerd = [
    join(coordinatorDir, 'workerd'),
    'serve',
    join(coordinatorDir, 'config.capnp'),
    `--socket-addr=http=${listen}`,
    `--directory-path=objects=${join(dir, 'objects')}`,
    '--control-fd=3',
  ];
  const locked = ['--nonblock', '--no-fork', '--conflict-exit-code', String(EXIT.locked), join(dir, 'lock')];
  return spawn('flock', [...locked, 'setpriv', '--pdeathsig', 'KILL', ...workerd], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOLDFAST_ADMIN_TOKEN_SHA256: createHash('sha256').update(token).digest('hex'),
      ...requestsPerMinute(),
      ...(process.env.HOLDFAST_TEST_HOOKS === '1' ? { HOLDFAST_TEST_HOOKS: '1' } : {}),
    },
  });
}

/** How often one token may ask; workerd's own default where nothing is set. */
function requestsPerMinute(): Readonly<Record<string, string>> {
  const name = 'HOLDFAST_REQUESTS_PER_MINUTE';
  const wanted = process.env[name];
  if (wanted === undefined || wanted === '') return {};
  if (!/^\d{1,9}$/.test(wanted)) {
    throw new ServeError(`${name}=${wanted}: write a whole number of requests; 0: no limit`, EXIT.usage);
  }
  return { [name]: wanted };
}

/** Passes everything workerd says to our stderr. @returns what it said so far. */
function relay(child: ChildProcess): () => string {
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      process.stderr.write(text);
      if (said.length < KEPT_STDERR_CHARACTERS) said += text;
    });
  }
  return () => said;
}

/** Resolves with the port once workerd listens; never, if it does not. */
function listeningPort(child: ChildProcess): Promise<number> {
  const control = child.stdio[3] as Readable;
  return new Promise((settle) => {
    let text = '';
    control.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      for (const line of text.split('\n').slice(0, -1)) {
        const message = JSON.parse(line) as { event?: string; socket?: string; port?: number };
        if (message.event === 'listen' && message.socket === 'http' && message.port !== undefined) settle(message.port);
      }
      text = text.slice(text.lastIndexOf('\n') + 1);
    });
  });
}

function stopOnSignal(child: ChildProcess): { requested: () => boolean; dispose: () => void } {
  let requested = false;
  const stop = () => {
    requested = true;
    child.kill('SIGKILL');
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return {
    requested: () => requested,
    dispose: () => {
      process.off('SIGTERM', stop);
      process.off('SIGINT', stop);
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    },
  };
}

async function explainStart(code: number | null, stderr: string, dir: string, listen: string): Promise<void> {
  if (code === EXIT.locked) {
    const pid = await lockHolder(join(dir, 'lock'));
    const who = pid === null ? 'another process' : `process ${pid} (${await commandOf(pid)})`;
    say(`${who} serves ${dir} already: use that one, or stop it first`);
  } else {
    const known = startProblem(stderr, listen);
    say(known ?? `workerd did not start${code === null ? '' : ` (exit code ${code})`}; what it said stands above`);
  }
}

/** @returns what to do about what workerd said before it ended; undefined if that is not known. */
export function startProblem(stderr: string, listen: string): string | undefined {
  if (/address already in use/i.test(stderr))
    return `${listen} is in use: choose another port with --listen, or see who has it: ss -ltnp 'sport = :${listen.split(':').at(-1)}'`;
  if (/bind\(\): Cannot assign requested address/.test(stderr))
    return `no interface of this machine has the address of ${listen}: give one that it has (ip -brief address lists them), or 0.0.0.0:PORT for all`;
  if (/bind\(\): Permission denied/.test(stderr))
    return `this user may not listen on ${listen}: choose a port above 1023 with --listen, or start it as root or with CAP_NET_BIND_SERVICE`;
  if (/getaddrinfo\(\)/.test(stderr))
    return `the host name in ${listen} is not found: give an address of this machine with --listen`;
  if (/No CA certificates were loaded/.test(stderr))
    return 'this machine has no CA certificates, by which receivers of webhooks are known: install ca-certificates';
  return undefined;
}

/** Who holds the lock by the kernel's list; null if that does not show it (another PID namespace). */
async function lockHolder(file: string): Promise<number | null> {
  const { ino } = await stat(file);
  const locks = await readFile('/proc/locks', 'utf8').catch(missing);
  for (const line of locks?.split('\n') ?? []) {
    // "1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF"
    const [, kind, , , pid, place] = line.trim().split(/\s+/);
    if (kind === 'FLOCK' && place?.split(':')[2] === String(ino) && Number(pid) > 0) return Number(pid);
  }
  return null;
}

async function commandOf(pid: number): Promise<string> {
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(missing);
  return name?.trim() ?? 'just ended';
}
