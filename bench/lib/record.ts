/** What a benchmark leaves: a table on standard output, and the same figures with their circumstances as JSON. */
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { monotonicMs, repoRoot } from '../../test/lab/index.ts';

const startedMs = monotonicMs();

/** One line of progress on standard error. */
export function progress(text: string): void {
  process.stderr.write(`[${((monotonicMs() - startedMs) / 1_000).toFixed(1).padStart(6)} s] ${text}\n`);
}

export interface Circumstances {
  readonly date: string;
  readonly command: string;
  readonly machine: string;
  readonly commit: string;
  /** One, five and fifteen minutes, when the benchmark began. */
  readonly loadBefore: readonly number[];
}

/** Where, when and of what; read before anything is started, so that the load is that of the others. */
export async function circumstances(): Promise<Circumstances> {
  const model = /^model name\s*: (.*)$/m.exec(await readFile('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown processor';
  const system = /^PRETTY_NAME="(.*)"$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1] ?? 'unknown system';
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], { cwd: repoRoot, encoding: 'utf8' }).trim();
  return {
    date: new Date().toISOString(),
    command: `npm run bench:${benchName()}${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(' ')}` : ''}`,
    machine: `${availableParallelism()} × ${model}, ${memory}, ${system}, Linux ${release()}`,
    commit,
    loadBefore: loadavg(),
  };
}

function benchName(): string {
  return /([a-z]+)\.ts$/.exec(process.argv[1] ?? '')?.[1] ?? 'unknown';
}

/** Prints the tables below a line that says what they are of, and writes .cache/bench/NAME.json. */
export async function record(
  about: Circumstances,
  printed: readonly string[],
  figures: Readonly<Record<string, unknown>>,
): Promise<void> {
  const dir = join(repoRoot, '.cache/bench');
  await mkdir(dir, { recursive: true });
  const file = join(dir, `${benchName()}.json`);
  const whole = { schema: `holdfast/bench-${benchName()}/v1`, ...about, loadAfter: loadavg(), ...figures };
  await writeFile(file, `${JSON.stringify(whole, null, 2)}\n`);
  const load = about.loadBefore.map((value) => value.toFixed(2)).join(' ');
  process.stdout.write(`${about.date}  ${about.commit}  load before ${load}\n${about.machine}\n`);
  for (const text of printed) process.stdout.write(`\n${text}\n`);
  progress(`written to ${file}`);
}
