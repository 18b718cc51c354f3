/**
 * `npm test`: builds, then runs every tier that this machine can run. Files given as arguments run alone:
 * `npm test -- test/lab/failover.test.ts`.
 *
 * Test files run one after the other: the tiers with real hosts measure leases in real time, and two of them on one small machine
 * would measure each other.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const closingLine = join(root, '.cache', 'closing-line.txt');

/** The last tier goes by it. */
const begunMs = Date.now();

const TIERS = [
  'schemas/**/*.test.ts',
  'scripts/**/*.test.ts',
  'worker/**/*.test.ts',
  'node-agent/**/*.test.ts',
  'test/*.test.ts',
  'test/sim/*.test.ts',
  'test/lab/*.test.ts',
];
/** On its own and last, because node runs files in the order of their names: it goes by the time that the others have left. */
const LAST_TIER = ['test/vm/*.test.ts'];

function runNode(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      // the test harness of workers would otherwise ask the network for sample request data, metrics and updates
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
      WRANGLER_SEND_METRICS: 'false',
      WRANGLER_HIDE_BANNER: 'true',
      NO_COLOR: '1',
      HOLDFAST_TEST_BEGAN_MS: String(begunMs),
    },
  });
  return new Promise((resolve) => {
    child.on('error', () => resolve(1));
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

async function main(files: readonly string[]): Promise<number> {
  mkdirSync(dirname(closingLine), { recursive: true });
  const built = await runNode([join(root, 'scripts', 'build.ts')]);
  if (built !== 0) {
    process.stdout.write('the build failed\n0 passed, 1 failed\n');
    return 1;
  }
  const parts = files.length > 0 ? [files] : [TIERS, LAST_TIER];
  let code = 0;
  const closing: string[] = [];
  for (const part of parts) {
    const ended = await runTests(part);
    code = ended || code;
    closing.push(closingOf(part, ended));
  }
  process.stdout.write(joined(closing));
  return code;
}

async function runTests(files: readonly string[]): Promise<number> {
  rmSync(closingLine, { force: true });
  return await runNode([
    '--test',
    '--test-concurrency=1',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(root, 'test', 'closing-line.mjs')}`,
    `--test-reporter-destination=${closingLine}`,
    ...files,
  ]);
}

/** What the reporter has left; a part that ended without a result is a failure by its name. */
function closingOf(part: readonly string[], code: number): string {
  const said = existsSync(closingLine) ? readFileSync(closingLine, 'utf8').trimEnd() : '';
  const [, failed] = /^\d+ passed, (\d+) failed/m.exec(said) ?? [];
  if (failed !== undefined && (code === 0 || failed !== '0')) return said;
  const counted =
    failed === undefined
      ? '0 passed, 1 failed'
      : said.slice(said.lastIndexOf('\n') + 1).replace(' 0 failed', ' 1 failed');
  const names = failed === undefined ? said : said.slice(0, Math.max(0, said.lastIndexOf('\n')));
  return [names, `failed: the run of ${part.join(' ')} ended without a result (exit ${code})`, counted]
    .join('\n')
    .trimStart();
}

/** Several closings (closing-line.mjs) as one: the names of all, then one line with the sums. */
function joined(closings: readonly string[]): string {
  const lines = closings.flatMap((closing) => closing.trimEnd().split('\n'));
  const isCount = (line: string) => /^\d+ passed, \d+ failed/.test(line);
  const counted = lines.filter(isCount).join(', ');
  const sum = (what: string) =>
    [...counted.matchAll(new RegExp(`(\\d+) ${what}`, 'g'))].reduce((total, [, count]) => total + Number(count), 0);
  const skipped = sum('skipped');
  const count = `${sum('passed')} passed, ${sum('failed')} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`;
  return `${[...lines.filter((line) => !isCount(line)), count].join('\n')}\n`;
}

process.exitCode = await main(process.argv.slice(2));
