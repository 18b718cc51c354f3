/** `join` where something is wrong with the way to the coordinator: each ends in one message that says what to do. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { testCluster } from '../agent/cluster-testing.ts';
import { EXIT } from './exit.ts';

const root = mkdtempSync(join(tmpdir(), 'hf-join-way-'));
after(() => rmSync(root, { recursive: true }));
const main = join(import.meta.dirname, '../main.ts');
const noOpenssl = spawnSync('openssl', ['version']).error !== undefined && 'needs openssl';

/** In a process of its own, because Node reads once whom it trusts. */
function joins(url: string, env: Record<string, string> = {}): Promise<{ code: number; said: string }> {
  const stateDir = mkdtempSync(join(root, 'state-'));
  const token = join(root, 'token');
  writeFileSync(token, `${testCluster.token}\n`, { mode: 0o600 });
  const args = [main, 'join', url, '--name', 'alice', '--token-file', token, '--state-dir', stateDir];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env: { NODE_NO_WARNINGS: '1', ...env } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, said: stdout + stderr });
    });
  });
}

async function listening(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A certificate for localhost that is good between these dates, and nothing else wrong with it. */
function certificate(
  from: string,
  until: string,
): { readonly key: string; readonly cert: string; readonly path: string } {
  const dir = mkdtempSync(join(root, 'ca-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  writeFileSync(
    join(dir, 'ca.cnf'),
    '[ca]\ndefault_ca=one\n[one]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any\nx509_extensions=names\n' +
      '[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:localhost\nbasicConstraints=CA:TRUE\n',
  );
  writeFileSync(join(dir, 'index'), '');
  writeFileSync(join(dir, 'serial'), '01\n');
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    'key.pem',
    '-out',
    'req.pem',
    '-subj',
    '/CN=localhost',
  );
  const dates = ['-startdate', from, '-enddate', until];
  openssl(
    'ca',
    '-batch',
    '-config',
    'ca.cnf',
    '-selfsign',
    '-keyfile',
    'key.pem',
    '-in',
    'req.pem',
    '-out',
    'cert.pem',
    '-notext',
    ...dates,
  );
  const path = join(dir, 'cert.pem');
  return { key: readFileSync(join(dir, 'key.pem'), 'utf8'), cert: readFileSync(path, 'utf8'), path };
}

const one = (said: string) => said.split('\n').filter((line) => line.startsWith('Error: ')).length;

test('a machine whose clock is years off is told what its clock says', { skip: noOpenssl }, async (t) => {
  const table: readonly [from: string, until: string, said: RegExp][] = [
    [
      '20700101000000Z',
      '20800101000000Z',
      /its certificate is not valid yet by the clock of this machine, which says 20\d\d-/,
    ],
    [
      '20000101000000Z',
      '20010101000000Z',
      /its certificate has expired by the clock of this machine, which says 20\d\d-/,
    ],
  ];
  for (const [from, until, said] of table) {
    const { path, ...pair } = certificate(from, until);
    const port = await listening(t, createHttps(pair));
    const proxied = { NODE_EXTRA_CA_CERTS: path, https_proxy: 'http://proxy.example.org:3128' };
    const ended = await joins(`https://localhost:${port}/shop`, proxied);
    equal(ended.code, EXIT.unreachable);
    match(ended.said, said);
    match(ended.said, /\nNext: if the clock is wrong, set it \(timedatectl set-time, or an NTP service\)/);
    equal(one(ended.said), 1);
  }
});

test('a URL that leads elsewhere is told apart', async (t) => {
  const web = (answer: RequestListener) => listening(t, createHttp(answer));
  const page = await web((_, response) => response.writeHead(404).end('<html>no such page</html>'));
  const moved = await web((_, response) => response.writeHead(301, { location: 'https://ha.example.org/' }).end());
  const table: readonly [url: string, said: RegExp][] = [
    [
      `http://127.0.0.1:${page}/shop`,
      /answered 404 in a way .*\nNext: check that the URL is that of a Holdfast coordinator/,
    ],
    [
      `http://127.0.0.1:${moved}/shop`,
      /sends requests on to https:\/\/ha\.example\.org\/\.\nNext: if that is the coordinator, give its URL/,
    ],
    [`https://127.0.0.1:${page}/shop`, /does not speak TLS there; is it http:\/\/\?\nNext: check the URL/],
    [
      'http://ha.example.invalid/shop',
      /host name (is not found|cannot be looked up).*getent hosts ha\.example\.invalid\)\.\nNext: check/,
    ],
  ];
  for (const [url, said] of table) {
    const ended = await joins(url);
    deepEqual([url, ended.code], [url, EXIT.unreachable], ended.said);
    match(ended.said, said);
    equal(one(ended.said), 1);
  }
});
