/** What Cloudflare would be given: wrangler accepts the configuration and builds the Worker, without a network. */
import { equal, match } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { repoRoot } from './lab/paths.ts';

test('wrangler deploy --dry-run accepts the Worker with both Durable Object classes', async (t) => {
  const out = mkdtempSync(join(tmpdir(), 'holdfast-deploy-'));
  t.after(() => rmSync(out, { recursive: true }));
  const wrangler = join(repoRoot, 'node_modules', '.bin', 'wrangler');
  const { code, text } = await new Promise<{ code: number; text: string }>((done) => {
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_HIDE_BANNER: 'true', CI: 'true' };
    const args = ['deploy', '--dry-run', '--outdir', out];
    execFile(process.execPath, [wrangler, ...args], { cwd: repoRoot, env, timeout: 120_000 }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : 1, text: stdout + stderr }),
    );
  });
  equal(code, 0, text);
  match(text, /CLUSTER \(Cluster\)/);
  match(text, /REGISTRY \(Registry\)/);
});
