/** `cluster create`, and what it saves for the commands to come. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { ran, type Stub, stubCoordinator } from './testing.ts';

let stub: Stub;
before(async () => {
  stub = await stubCoordinator((question) =>
    question === 'POST /v1/clusters' ? { status: 201, body: {} } : undefined,
  );
});
after(() => stub.close());

let home: string;
let tokenFile: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'holdfast-context-'));
  tokenFile = join(home, 'admin.token');
  await writeFile(tokenFile, 'secret\n', { mode: 0o600 });
});
afterEach(() => rm(home, { recursive: true }));

const saved = async (): Promise<unknown> =>
  JSON.parse(await readFile(join(home, 'holdfast', 'context.json'), 'utf8').catch(() => 'null'));

describe('cluster create', () => {
  it('saves where everything is, when that was said and nothing was saved', async () => {
    const machine = { env: { XDG_CONFIG_HOME: home } };
    const { exit, out, err } = await ran(
      ['cluster', 'create', 'shop', '--url', stub.url, '--token-file', tokenFile],
      machine,
    );
    equal(exit, 0);
    equal(out, 'cluster shop is made\n');
    match(err, /saved in .*context\.json: commands to come are for this cluster\n/);
    match(err, /next, for each machine: holdfast node token create --node NAME\n/);
    deepEqual(await saved(), { url: `${stub.url}/`, cluster: 'shop', tokenFile });
    await ran(['node', 'token', 'create', '--node', 'alice'], machine);
    match(stub.asked.at(-1)?.path ?? '', /^\/v1\/clusters\/shop\//);
    equal(stub.asked.at(-1)?.headers.authorization, 'Bearer secret');
  });

  it('leaves a context alone that there is, and saves none without a file of a token', async () => {
    const env = { XDG_CONFIG_HOME: home };
    const piped = { env, stdin: 'secret' };
    await ran(['cluster', 'create', 'shop', '--url', stub.url, '--token-file', '-'], piped);
    equal(await saved(), null);
    await ran(['cluster', 'create', 'shop'], { env: { ...env, ...stub.env } });
    equal(await saved(), null);
    await ran(['context', 'set', '--cluster', 'other'], { env });
    const { err } = await ran(['cluster', 'create', 'shop', '--url', stub.url, '--token-file', tokenFile], { env });
    match(
      err,
      /context\.json says otherwise and was left as it is.*holdfast context set --url http:\S+ --cluster shop --token-file/,
    );
    match(err, /next, for each machine: holdfast --cluster shop node token create/);
    deepEqual(await saved(), { cluster: 'other' });
  });

  it('says when the environment comes before what it saves, and when it cannot save', async () => {
    const args = ['cluster', 'create', 'shop', '--url', stub.url, '--token-file', tokenFile];
    const { err } = await ran(args, { env: { XDG_CONFIG_HOME: home, HOLDFAST_URL: 'http://192.0.2.1' } });
    match(err, /warning: HOLDFAST_URL in the environment come/);
    const file = join(home, 'file');
    await writeFile(file, '');
    const unsaved = await ran(args, { env: { XDG_CONFIG_HOME: file } });
    equal(unsaved.exit, 0);
    equal(unsaved.out, 'cluster shop is made\n');
    match(unsaved.err, /could not be written/);
  });
});
