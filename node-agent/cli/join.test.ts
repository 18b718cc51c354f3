import { deepEqual, doesNotMatch, equal, match } from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testCluster } from '../agent/cluster-testing.ts';
import { EXIT } from './exit.ts';
import { unitsArePackaged } from './packaged.ts';
import { ran } from './testing.ts';

const TOKEN = testCluster.token;
/** Port 1 of this machine: nothing listens there. */
const NOWHERE = 'https://127.0.0.1:1/shop';

function stateDir(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-join-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

function attempt(state: string, env: Record<string, string>) {
  const args = ['join', NOWHERE, '--name', 'alice', '--token-file', '-', '--state-dir', state];
  return ran(args, { env, stdin: `${TOKEN}\n` });
}

test('a join that reaches nobody says so, keeps the token usable and leaves no identity', async (t) => {
  const state = stateDir(t);
  const { exit, out, err } = await attempt(state, {});
  equal(exit, EXIT.unreachable);
  equal(out, '');
  match(
    err,
    /https:\/\/127\.0\.0\.1:1 cannot be reached: nothing listens there\.\nNext: .*the token has not been used\n$/,
  );
  deepEqual(readdirSync(state), ['node.key']);
});

test('a join that reaches nobody on a machine with a proxy says that none is used', async (t) => {
  const { exit, err } = await attempt(stateDir(t), { https_proxy: 'http://proxy.example.org:3128' });
  equal(exit, EXIT.unreachable);
  match(
    err,
    /nothing listens there; https_proxy is set, and Holdfast uses no proxy\.\nNext: let this machine reach the coordinator directly/,
  );
});

test('a state directory that is a file is told before anything is sent', async (t) => {
  const state = join(stateDir(t), 'file');
  writeFileSync(state, '');
  const { exit, err } = await attempt(state, {});
  equal(exit, EXIT.refused);
  match(err, /not a directory.*\nNext: .*a --state-dir that it can write to/);
  doesNotMatch(err, /cannot be reached/);
});

test('only the executable that a package has installed starts the units of the package', () => {
  equal(unitsArePackaged('/var/lib/holdfast'), false);
});
