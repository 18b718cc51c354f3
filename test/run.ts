/**
 * `npm test`: builds, then runs every tier that this machine can run. Files given as arguments run alone:
 * `npm test -- test/lab/failover.test.ts`.
 *
 * Test files run one after the other: the tiers with real hosts measure leases in real time, and two of them on one small machine
 * would measure each other. Files with failures are run once more in the end; what passes in one of both looks is named in the closing lines
 * (docs/decisions/0023-a-second-look.md). Files given as arguments have one look only.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brokenClosing, type Closing, parseClosing, renderClosings, withSecondLook } from './closing.ts';

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
/** When the run is older failures are not looked at again, and later that is broken off: it is ended from outside after 90 minutes. */
const SECOND_LOOK_MS = 78 * 60_000;
const SECOND_LOOK_END_MS = 86 * 60_000;
/** More files than that do not fail by chance. */
const SECOND_LOOK_FILES = 8;
/** On its own and last, because node runs files in the order of their names: it goes by the time that the others have left. */
const LAST_TIER = ['test/vm/*.test.ts'];

function runNode(args: readonly string[], withinMs?: number): Promise<number> {
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    ...(withinMs === undefined ? {} : { timeout: withinMs }),
    env: {
      ...process.env,
      // the test harness of workers would otherwise ask the network for sample request data, metrics and updates
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
      WRANGLER_SEND_METRICS: 'false',
      WRANGLER_HIDE_BANNER: 'true',
      NO_COLOR: '1',
      HOLDFAST_TELL_PASSED: '1',
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
  const closings = files.length > 0 ? [await runTests(files)] : await runTiers();
  process.stdout.write(renderClosings(closings));
  return closings.some(({ failures }) => failures.length > 0) ? 1 : 0;
}

async function runTiers(): Promise<Closing[]> {
  const first = await runTests(TIERS);
  const files = [...new Set(first.failures.map(({ file }) => file))];
  const mayLookAgain =
    files.length > 0 &&
    files.length <= SECOND_LOOK_FILES &&
    !files.includes('') &&
    Date.now() - begunMs < SECOND_LOOK_MS;
  if (!mayLookAgain) return [first, await runTests(LAST_TIER)];
  // should the second look be ended from outside, this is what is known
  const failed = first.failures.map(({ file, name }) => `failed in the first look: ${file}: ${name}\n`);
  process.stdout.write(`\n${failed.join('')}their files are run once more, nothing beside them:\n\n`);
  const looked = withSecondLook(first, await runTests(files, begunMs + SECOND_LOOK_END_MS - Date.now()));
  return [looked, await runTests(LAST_TIER)];
}

/** @param withinMs after that it is ended, and has no result. */
async function runTests(files: readonly string[], withinMs?: number): Promise<Closing> {
  rmSync(closingLine, { force: true });
  const code = await runNode(
    [
      '--test',
      '--test-concurrency=1',
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      `--test-reporter=${join(root, 'test', 'closing-line.mjs')}`,
      `--test-reporter-destination=${closingLine}`,
      ...files,
    ],
    withinMs,
  );
  const closing = existsSync(closingLine) ? parseClosing(readFileSync(closingLine, 'utf8')) : undefined;
  const isWhole = closing !== undefined && (code === 0 || closing.failures.length > 0);
  return isWhole ? closing : brokenClosing(files.join(' '), code, closing);
}

process.exitCode = await main(process.argv.slice(2));
