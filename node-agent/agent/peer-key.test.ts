import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { peerEndpointSchema } from '../../schemas/peer.ts';
import { IdentityError } from './identity.ts';
import { loadPeerKey, publicPeerKey } from './peer-key.ts';

let directory: string;
let stateDir: string;
let path: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holdfast-peer-key-'));
});
beforeEach(async () => {
  stateDir = await mkdtemp(join(directory, 'state-'));
  path = join(stateDir, 'peer.key');
});
after(() => rm(directory, { recursive: true }));

describe('the key that a node is known by among its peers', () => {
  it('is made at the first use, on disk for its owner alone, and the same ever after', async () => {
    const made = await loadPeerKey(stateDir);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal(createPrivateKey(await readFile(path, 'utf8')).asymmetricKeyType, 'x25519');
    assert.ok(made.equals(await loadPeerKey(stateDir)));
  });

  it('has a public half of the form that the coordinator passes on', async () => {
    const text = publicPeerKey(await loadPeerKey(stateDir));
    assert.equal(Buffer.from(text, 'base64url').length, 32);
    assert.ok(peerEndpointSchema.shape.key.safeParse(text).success);
  });

  it('is refused when others may read it, with what to do', async () => {
    await loadPeerKey(stateDir);
    await chmod(path, 0o640);
    await assert.rejects(loadPeerKey(stateDir), (error: unknown) => {
      assert.ok(error instanceof IdentityError);
      assert.equal(error.reason, 'too-open');
      assert.match(
        error.message,
        /peer\.key can be read by others \(mode 640\).*remove it and start the agent again.*chmod 600/,
      );
      return true;
    });
  });

  for (const [what, text] of Object.entries({
    'cut short': '-----BEGIN PRIVATE KEY-----\n',
    'of another kind': generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
  }))
    it(`that is ${what} is not replaced without a word`, async () => {
      await writeFile(path, text, { mode: 0o600 });
      await assert.rejects(loadPeerKey(stateDir), /peer\.key is not an X25519 private key; remove it/);
      assert.equal(await readFile(path, 'utf8'), text);
    });
});
