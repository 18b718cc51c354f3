/** A node's key is changed, before a real coordinator. */
import { deepEqual, equal, match, notEqual, rejects } from 'node:assert/strict';
import { chmod, copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { publicHalf } from '../../schemas/session.ts';
import { type Coordinator, startCoordinator } from '../../test/coordinator/harness.ts';
import type { Identity } from './identity.ts';
import { identityFiles, joinCluster, loadIdentity, nodeKeys } from './identity.ts';
import { rekey } from './rekey.ts';
import { SignedHttp } from './signed-http.ts';
import { joinRequest } from './testing.ts';

let coordinator: Coordinator;
let directory: string;
let stateDir: string;
let node = 'n0';
before(async () => {
  coordinator = await startCoordinator();
  await coordinator.createCluster('shop');
  directory = await mkdtemp(join(tmpdir(), 'holdfast-rekey-'));
});
after(async () => {
  await coordinator.close();
  await rm(directory, { recursive: true });
});

/** A node that has joined. */
beforeEach(async () => {
  node = `n${Number(node.slice(1)) + 1}`;
  stateDir = join(directory, node);
  const { body } = await coordinator.admin('POST', `/v1/clusters/shop/nodes/${node}/token`);
  const url = `${coordinator.origin}/`;
  const enrol = async (enrolment: object) => {
    const response = await fetch(`${url}v1/clusters/shop/agent/enrol`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(enrolment),
    });
    return (await response.json()) as { history: string; clusterKey: string; signature: string };
  };
  await joinCluster(joinRequest(stateDir, { url, node, token: body.token, enrol }));
});

/** What the coordinator says to a request that this identity signs. */
async function heard(identity: Identity): Promise<string> {
  const http = new SignedHttp(identity, 'i1', async () => false);
  const { status, code, authentic } = await http.post('report', '{}', 5_000);
  http.close();
  equal(authentic, true);
  // it is no report, which is seen only when the signature was good
  return code ?? String(status);
}

const key = async () => publicHalf((await loadIdentity(stateDir)).key);

test('the new key takes the place of the old one, on both sides', async () => {
  const before_ = await loadIdentity(stateDir);
  equal(await heard(before_), 'malformed-body');
  const publicKey = await rekey(stateDir);
  equal(await key(), publicKey);
  notEqual(publicKey, publicHalf(before_.key));
  equal(await heard(await loadIdentity(stateDir)), 'malformed-body');
  equal(await heard(before_), 'signature-invalid');
  const files = await readdir(stateDir);
  equal(files.includes('node.key.next'), false, files.join(' '));
  notEqual(await rekey(stateDir), publicKey, 'and again');
});

test('broken off after the coordinator took the key, the node has both, and a second try ends it', async () => {
  const files = identityFiles(stateDir);
  const old = await readFile(files.key, 'utf8');
  await rekey(stateDir);
  // as if it had ended before the last step
  await copyFile(files.key, files.nextKey);
  await chmod(files.nextKey, 0o600);
  const { writeFileDurably } = await import('../system/index.ts');
  await writeFileDurably(files.key, old, 0o600);
  equal(await heard(await loadIdentity(stateDir)), 'signature-invalid');
  const known = await nodeKeys(stateDir);
  deepEqual(await Promise.all(known.map(async (one) => heard({ ...(await loadIdentity(stateDir)), key: one }))), [
    'signature-invalid',
    'malformed-body',
  ]);
  const publicKey = await rekey(stateDir);
  equal(known.map(publicHalf).includes(publicKey), false, 'whoever has read the disk meanwhile has those two');
  equal((await readdir(stateDir)).includes('node.key.next'), false);
  equal(await heard(await loadIdentity(stateDir)), 'malformed-body');
});

test('several at once leave one key, the one that the coordinator has', async () => {
  const done = await Promise.allSettled([1, 2, 3].map(() => rekey(stateDir)));
  equal(
    done.some(({ status }) => status === 'fulfilled'),
    true,
  );
  await rekey(stateDir);
  equal(await heard(await loadIdentity(stateDir)), 'malformed-body');
});

test('a node that was off while the key of the cluster was changed, twice, follows by itself', async () => {
  const before_ = (await loadIdentity(stateDir)).clusterKey;
  for (let i = 0; i < 2; i++) await coordinator.admin('POST', '/v1/clusters/shop/keys/rotate');
  await rekey(stateDir);
  const { keys } = (await coordinator.admin('GET', '/v1/clusters/shop/keys')).body;
  const { clusterKey } = await loadIdentity(stateDir);
  equal(clusterKey, keys[0].publicKey);
  notEqual(clusterKey, before_);
  equal(await heard(await loadIdentity(stateDir)), 'malformed-body');
});

test('a coordinator that cannot be reached, and a node that was removed, leave the old key in its place', async () => {
  const before_ = await key();
  await coordinator.admin('DELETE', `/v1/clusters/shop/nodes/${node}?force=1`);
  await rejects(rekey(stateDir), (error: Error) => {
    match(error.message, /is no member of this cluster/);
    return true;
  });
  equal(await key(), before_);
});
