/** A copy of this machine's file system in which packages can be installed: what they change is in a layer of its own, and goes with it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface Done {
  readonly code: number | null;
  /** What it wrote, both streams. */
  readonly text: string;
}

export function command(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Done {
  const done = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    env: { ...process.env, LC_ALL: 'C.UTF-8', ...env },
  });
  return { code: done.status, text: done.error === undefined ? done.stdout + done.stderr : String(done.error) };
}

export function isInstalled(program: string): boolean {
  return command('sh', ['-c', 'command -v "$1"', 'sh', program]).code === 0;
}

/** Why packages cannot be installed into a copy of this machine; undefined when they can. */
export function sandboxUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return 'installing packages needs root';
  const needed = ['init-system-helpers', 'iproute2', 'libc6', 'libgcc-s1', 'libstdc++6', 'passwd', 'systemd'];
  const lacks = needed.find(
    (name) => !/^Status: install ok installed$/m.test(command('dpkg-query', ['-s', name]).text),
  );
  if (lacks !== undefined) return `the packages depend on ${lacks}, which is not installed here`;
  const tried = command('unshare', ['--mount', 'sh', '-c', MAKE, 'sh', tmpdir(), 'true']);
  return tried.code === 0 ? undefined : `a mount namespace with an overlay cannot be made here: ${tried.text.trim()}`;
}

/** Upper layer on a tmpfs: it must not lie below the lower one, which is the root of the machine. */
const MAKE = `set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" overlay "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
shift
exec "$@"`;

export class Sandbox {
  readonly #holder: ChildProcess;
  readonly #place: string;

  private constructor(holder: ChildProcess, place: string) {
    this.#holder = holder;
    this.#place = place;
  }

  static async make(): Promise<Sandbox> {
    const place = mkdtempSync(join(tmpdir(), 'holdfast-root-'));
    const holder = spawn('unshare', ['--mount', 'sh', '-c', MAKE, 'sh', place, 'sh', '-c', 'echo made; exec cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    return new Sandbox(holder, place);
  }

  /** Its end is that of the namespace, and of everything that was changed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#holder, 'exit');
    this.#holder.stdin?.end();
    await ended;
    rmdirSync(this.#place);
  }

  /** Its root as it is seen in there. */
  get root(): string {
    return join(this.#place, 'root');
  }

  /** Runs a program of the machine that sees the copy below `root`. */
  outside(program: string, ...args: string[]): Done {
    return command('nsenter', [`--mount=/proc/${this.#holder.pid}/ns/mnt`, '--', program, ...args], {
      DEBIAN_FRONTEND: 'noninteractive',
    });
  }

  /** Runs a program in the copy. */
  inside(program: string, ...args: string[]): Done {
    return this.outside('chroot', this.root, program, ...args);
  }

  dpkg(...args: string[]): Done {
    return this.outside('dpkg', `--root=${this.root}`, ...args);
  }

  #seen(path: string): string {
    return join('/proc', String(this.#holder.pid), 'root', this.root, path);
  }

  read(path: string): string {
    return readFileSync(this.#seen(path), 'utf8');
  }

  write(path: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.#seen(path)), { recursive: true });
    writeFileSync(this.#seen(path), text, { mode });
  }

  has(path: string): boolean {
    return this.outside('test', '-e', join(this.root, path), '-o', '-L', join(this.root, path)).code === 0;
  }

  /** Everything in the copy that is new or another than on the machine, without directories and what was deleted. */
  changed(): string[] {
    const upper = join('/proc', String(this.#holder.pid), 'root', this.#place, 'upper');
    return readdirSync(upper, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && !entry.isCharacterDevice())
      .map((entry) => join(entry.parentPath, entry.name).slice(upper.length));
  }
}
