/**
 * `npm test`: builds, then runs every tier that this machine can run. Files given as arguments run alone:
 * `npm test -- test/lab/failover.test.ts`.
 *
 * Test files run one after the other: the tiers with real hosts measure leases in real time, and two of them on one small machine
 * would measure each other.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const closingLine = join(root, '.cache', 'closing-line.txt');

const TIERS = [
  'schemas/**/*.test.ts',
  'scripts/**/*.test.ts',
  'worker/**/*.test.ts',
  'node-agent/**/*.test.ts',
  'test/*.test.ts',
  'test/sim/*.test.ts',
  'test/lab/*.test.ts',
];

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
    },
  });
  return new Promise((resolve) => {
    child.on('error', () => resolve(1));
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

async function main(files: readonly string[]): Promise<number> {
  mkdirSync(dirname(closingLine), { recursive: true });
  rmSync(closingLine, { force: true });
  const built = await runNode([join(root, 'scripts', 'build.ts')]);
  if (built !== 0) {
    process.stdout.write('the build failed\n0 passed, 1 failed\n');
    return 1;
  }
  const code = await runNode([
    '--test',
    '--test-concurrency=1',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(root, 'test', 'closing-line.mjs')}`,
    `--test-reporter-destination=${closingLine}`,
    ...(files.length === 0 ? TIERS : files),
  ]);
  process.stdout.write(readFileSync(closingLine, 'utf8'));
  return code;
}

process.exitCode = await main(process.argv.slice(2));
