import assert from 'node:assert/strict';
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { joinText } from '../../schemas/api.ts';
import { SIGNATURE_HEADERS, signedText } from '../../schemas/wire.ts';
import {
  type Enrolment,
  IdentityError,
  identityFiles,
  type JoinRequest,
  joinCluster,
  loadIdentity,
  saveNodeFile,
  signRequest,
} from './identity.ts';

let directory: string;
let stateDir: string;
let number = 0;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holdfast-identity-'));
});
after(() => rm(directory, { recursive: true }));

const freshDirectory = () => {
  number++;
  stateDir = join(directory, `state-${number}`);
  return stateDir;
};

const accept = async () => ({ history: 'h1' });
const request = (changes: Partial<JoinRequest> = {}): JoinRequest => ({
  stateDir,
  url: 'https://ha.example.org/',
  cluster: 'shop',
  node: 'alice',
  token: 'token',
  policy: 'allow: {}\n',
  enrol: accept,
  ...changes,
});

const publicKeyOf = (raw: string): KeyObject =>
  createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw }, format: 'jwk' });

describe('joining', () => {
  it('enrols a key of its own with a proof, and leaves an identity that loads', async () => {
    freshDirectory();
    let sent: Enrolment | undefined;
    const result = await joinCluster(
      request({
        enrol: async (body) => {
          sent = body;
          return { history: 'h1' };
        },
      }),
    );
    assert.deepEqual(result, { outcome: 'joined', policy: 'written' });
    assert.ok(sent);
    const text = joinText('shop', 'alice', sent.publicKey, 'token');
    assert.ok(verify(null, Buffer.from(text), publicKeyOf(sent.publicKey), Buffer.from(sent.proof, 'base64url')));
    const identity = await loadIdentity(stateDir);
    assert.equal(identity.node, 'alice');
    assert.equal(identity.history, 'h1');
    const files = identityFiles(stateDir);
    assert.equal((await stat(files.key)).mode & 0o777, 0o600);
    assert.equal((await stat(stateDir)).mode & 0o777, 0o700);
    assert.equal(await readFile(files.policy, 'utf8'), 'allow: {}\n');
  });

  it('again with the same names changes nothing and asks nobody', async () => {
    freshDirectory();
    await joinCluster(request());
    const before = await readFile(identityFiles(stateDir).key, 'utf8');
    const result = await joinCluster(request({ enrol: () => assert.fail('asked the coordinator') }));
    assert.equal(result.outcome, 'already-joined');
    assert.equal(await readFile(identityFiles(stateDir).key, 'utf8'), before);
  });

  for (const [what, changes] of Object.entries({
    'another node': { node: 'bob' },
    'another cluster': { cluster: 'lab' },
    'another coordinator': { url: 'https://other.example.org/' },
  })) {
    it(`as ${what} is refused while the directory holds an identity, and says how`, async () => {
      freshDirectory();
      await joinCluster(request());
      await assert.rejects(joinCluster(request(changes)), (error: unknown) => {
        assert.ok(error instanceof IdentityError);
        assert.equal(error.reason, 'joined-elsewhere');
        assert.match(error.message, /node alice of cluster shop.*--state-dir/);
        return true;
      });
    });
  }

  it('that is refused leaves no identity, and repeats with the same key, so that a lost answer costs no token', async () => {
    freshDirectory();
    const keys: string[] = [];
    const enrol = async ({ publicKey }: Enrolment): Promise<{ history: string }> => {
      keys.push(publicKey);
      if (keys.length === 1) throw new Error('the answer was lost');
      return { history: 'h1' };
    };
    await assert.rejects(joinCluster(request({ enrol })), /answer was lost/);
    assert.deepEqual(await readdir(stateDir), ['node.key']);
    await assert.rejects(loadIdentity(stateDir), /has not joined/);
    assert.equal((await joinCluster(request({ enrol }))).outcome, 'joined');
    assert.equal(keys[0], keys[1]);
  });

  it('keeps the policy that an administrator has written', async () => {
    freshDirectory();
    await joinCluster(request());
    await writeFile(identityFiles(stateDir).policy, '# mine\n');
    await rm(identityFiles(stateDir).node);
    assert.deepEqual(await joinCluster(request()), { outcome: 'joined', policy: 'kept' });
    assert.equal(await readFile(identityFiles(stateDir).policy, 'utf8'), '# mine\n');
  });
});

describe('an identity is not used', () => {
  const damage: [string, () => Promise<void>, IdentityError['reason'], RegExp][] = [
    ['when others can read the key', () => chmod(identityFiles(stateDir).key, 0o640), 'too-open', /mode 640/],
    ['when the key is gone', () => rm(identityFiles(stateDir).key), 'damaged', /missing/],
    ['when the key is no key', () => writeFile(identityFiles(stateDir).key, 'x'), 'damaged', /not an Ed25519/],
    ['when node.json is cut off', () => writeFile(identityFiles(stateDir).node, '{"url'), 'damaged', /damaged/],
    ['before the node has joined', () => rm(identityFiles(stateDir).node), 'not-joined', /holdfast join/],
  ];
  for (const [what, harm, reason, message] of damage) {
    it(what, async () => {
      freshDirectory();
      await joinCluster(request());
      await harm();
      await assert.rejects(loadIdentity(stateDir), (error: unknown) => {
        assert.ok(error instanceof IdentityError);
        assert.equal(error.reason, reason);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

it('a new history id is kept, and nothing of the key gets into node.json', async () => {
  freshDirectory();
  await joinCluster(request());
  await saveNodeFile(stateDir, { ...(await loadIdentity(stateDir)), history: 'h2' });
  assert.deepEqual(JSON.parse(await readFile(identityFiles(stateDir).node, 'utf8')), {
    url: 'https://ha.example.org/',
    cluster: 'shop',
    node: 'alice',
    history: 'h2',
  });
});

it('a signed request carries a signature over exactly what is sent', async () => {
  freshDirectory();
  await joinCluster(request());
  const { key } = await loadIdentity(stateDir);
  const sent = { method: 'POST', path: '/v1/x', node: 'alice', incarnation: 'i1', nonce: 'n1' };
  const headers = signRequest(key, { ...sent, body: '{"a":1}' });
  const bodySha256 = createHash('sha256').update('{"a":1}').digest('hex');
  const signature = Buffer.from(headers[SIGNATURE_HEADERS.signature] ?? '', 'base64url');
  const good = (text: string) => verify(null, Buffer.from(text), createPublicKey(key), signature);
  assert.ok(good(signedText({ ...sent, bodySha256 })));
  assert.ok(!good(signedText({ ...sent, bodySha256, nonce: 'n2' })));
  assert.equal(headers[SIGNATURE_HEADERS.node], 'alice');
  assert.equal(headers[SIGNATURE_HEADERS.nonce], 'n1');
});
