/** What Cloudflare would be given: wrangler accepts the configuration and builds the Worker, without a network. */
import { equal, match } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { repoRoot } from './lab/paths.ts';

/** @param more added to wrangler.toml. @returns what `wrangler deploy --dry-run` says. */
async function dryRun(t: TestContext, more = ''): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-deploy-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const own = readFileSync(join(repoRoot, 'wrangler.toml'), 'utf8');
  const configuration = join(dir, 'wrangler.toml');
  writeFileSync(configuration, `${own.replace('main = "worker/', `main = "${repoRoot}/worker/`)}\n${more}`);
  const wrangler = join(repoRoot, 'node_modules', '.bin', 'wrangler');
  const args = ['deploy', '--dry-run', '--config', configuration, '--outdir', join(dir, 'out')];
  const { code, text } = await new Promise<{ code: number; text: string }>((done) => {
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_HIDE_BANNER: 'true', CI: 'true' };
    execFile(process.execPath, [wrangler, ...args], { cwd: repoRoot, env, timeout: 120_000 }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : 1, text: stdout + stderr }),
    );
  });
  equal(code, 0, text);
  return text;
}

test('wrangler deploy --dry-run accepts the Worker with both Durable Object classes', async (t) => {
  const text = await dryRun(t);
  match(text, /CLUSTER \(Cluster\)/);
  match(text, /REGISTRY \(Registry\)/);
});

test('it accepts the lines for a domain of one’s own as docs/coordinator.md gives them', async (t) => {
  const guide = readFileSync(join(repoRoot, 'docs/coordinator.md'), 'utf8');
  const lines = /^ *\[\[routes\]\]\n[^`]*/m.exec(guide)?.[0] ?? '';
  match(lines, /custom_domain = true/);
  const text = await dryRun(t, lines);
  match(text, /CLUSTER \(Cluster\)/);
});
