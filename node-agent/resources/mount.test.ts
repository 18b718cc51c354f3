/** Each scenario has mounts, process ids and a /dev of its own, and a real ext4 on a loop device: see mount.scenarios.ts and mount-users.scenarios.ts. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { noCgroups } from '../system/testing.ts';
import { scenarios as life } from './mount.scenarios.ts';
import { scenarios as users } from './mount-users.scenarios.ts';

const all = Object.entries({ 'mount.scenarios.ts': life, 'mount-users.scenarios.ts': users }).flatMap(
  ([file, scenarios]) => Object.keys(scenarios).map((name) => ({ file: join(import.meta.dirname, file), name })),
);

function unavailable(): string | false {
  const missing = noCgroups();
  if (missing !== undefined) return missing;
  for (const tool of ['losetup', 'mkfs.ext4', 'unshare', 'debugfs'])
    try {
      execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' });
    } catch {
      return `needs ${tool}`;
    }
  try {
    execFileSync('losetup', ['--find'], { stdio: 'ignore' });
  } catch {
    return 'needs loop devices';
  }
  return false;
}

/** Loop devices are the whole machine's: those of this test are told by the path of their files. */
function detachAllOf(root: string): void {
  for (const name of readdirSync('/sys/block').filter((block) => block.startsWith('loop'))) {
    let backing: string;
    try {
      backing = readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8');
    } catch {
      continue; // nothing behind it
    }
    if (backing.includes(root)) execFileSync('losetup', ['-d', `/dev/${name}`], { stdio: 'ignore' });
  }
}

const skip = unavailable();
for (const { file, name } of all) {
  test(`mount: ${name}`, { skip, timeout: 60_000 }, async (t) => {
    const root = mkdtempSync(join(tmpdir(), 'hfm-'));
    try {
      const image = join(root, 'disk.img');
      const made = openSync(image, 'w');
      ftruncateSync(made, 64 << 20);
      closeSync(made);
      mkdirSync(join(root, 'dev'));
      execFileSync('mkfs.ext4', ['-q', '-F', image]);
      const loop = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
      const number = readFileSync(`/sys/block/${loop.slice(5)}/dev`, 'utf8').trim();
      const args = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'];
      const env = { ...process.env, ROOT: root, DISK: number, NODE_TEST_CONTEXT: '' };
      const run = promisify(execFile)('unshare', [...args, process.execPath, file, name], {
        env,
        timeout: 30_000,
        killSignal: 'SIGKILL',
      });
      const { stdout } = await run.catch((error: unknown) => {
        const text =
          error instanceof Error && 'stderr' in error ? `${error.message}\n${String(error.stderr)}` : String(error);
        return assert.fail(text);
      });
      for (const line of stdout.split('\n').filter((text) => text !== '')) t.diagnostic(line);
    } finally {
      detachAllOf(root);
      rmSync(root, { recursive: true, force: true });
    }
  });
}
