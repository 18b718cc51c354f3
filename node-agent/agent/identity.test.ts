import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { isSignedBy, joinText } from '../../schemas/session.ts';
import { TestCluster, testCluster } from './cluster-testing.ts';
import {
  type Enrolment,
  IdentityError,
  identityFiles,
  type JoinRequest,
  joinCluster,
  loadIdentity,
  updateNodeFile,
} from './identity.ts';
import { joinRequest } from './testing.ts';

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

const request = (changes: Partial<JoinRequest> = {}) => joinRequest(stateDir, changes);

describe('joining', () => {
  it('enrols a key of its own with a proof, and leaves an identity that loads', async () => {
    freshDirectory();
    let sent: Enrolment | undefined;
    const result = await joinCluster(
      request({
        enrol: async (body) => {
          sent = body;
          return testCluster.enrolled(body);
        },
      }),
    );
    assert.deepEqual(result, { outcome: 'joined', policy: 'written' });
    assert.ok(sent);
    const text = joinText('shop', 'alice', sent.publicKey, testCluster.token);
    assert.ok(isSignedBy(sent.publicKey, sent.proof, text));
    const identity = await loadIdentity(stateDir);
    assert.equal(identity.node, 'alice');
    assert.equal(identity.history, 'h1');
    assert.equal(identity.clusterKey, testCluster.clusterKey);
    const files = identityFiles(stateDir);
    assert.equal((await stat(files.key)).mode & 0o777, 0o600);
    assert.equal((await stat(stateDir)).mode & 0o777, 0o700);
    assert.equal(await readFile(files.policy, 'utf8'), 'allow: {}\n');
  });

  it('writes what was chosen to reset the machine, and keeps an earlier choice where none is made', async () => {
    freshDirectory();
    const chosen = { text: 'watchdog\n', chosen: true };
    await joinCluster(request({ reset: chosen }));
    const path = join(stateDir, 'reset.env');
    assert.equal(await readFile(path, 'utf8'), 'watchdog\n');
    await rm(identityFiles(stateDir).node);
    await joinCluster(request());
    assert.equal(await readFile(path, 'utf8'), 'watchdog\n');
    await rm(identityFiles(stateDir).node);
    await joinCluster(request({ reset: { text: 'sysrq\n', chosen: true } }));
    assert.equal(await readFile(path, 'utf8'), 'sysrq\n');
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
    const enrol = async (body: Enrolment) => {
      keys.push(body.publicKey);
      if (keys.length === 1) throw new Error('the answer was lost');
      return testCluster.enrolled(body);
    };
    await assert.rejects(joinCluster(request({ enrol })), /answer was lost/);
    assert.deepEqual(await readdir(stateDir), ['node.key']);
    await assert.rejects(loadIdentity(stateDir), /has not joined/);
    assert.equal((await joinCluster(request({ enrol }))).outcome, 'joined');
    assert.equal(keys[0], keys[1]);
  });

  const imposters: Record<string, (body: Enrolment) => ReturnType<TestCluster['enrolled']>> = {
    'another key': (body) => new TestCluster().enrolled(body),
    'the right key, and a signature of another': (body) => ({
      ...new TestCluster().enrolled(body),
      clusterKey: testCluster.clusterKey,
    }),
    'what was signed for another node': ({ publicKey }) => testCluster.enrolled({ node: 'bob', publicKey }),
    'another history than was signed': (body) => ({ ...testCluster.enrolled(body), history: 'h2' }),
  };
  for (const [what, enrolled] of Object.entries(imposters))
    it(`does not believe whoever answers with ${what}`, async () => {
      freshDirectory();
      const joining = joinCluster(request({ enrol: async (body) => enrolled(body) }));
      await assert.rejects(joining, (error: unknown) => {
        assert.ok(error instanceof IdentityError);
        assert.equal(error.reason, 'not-the-coordinator');
        assert.match(error.message, /holdfast node remove alice/);
        return true;
      });
      await assert.rejects(loadIdentity(stateDir), /has not joined/);
    });

  it('asks nobody with what is no whole token', async () => {
    freshDirectory();
    const enrol = () => assert.fail('asked the coordinator');
    await assert.rejects(joinCluster(request({ token: 'hfj1_0123456789ab_secret', enrol })), /copy the whole line/);
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

describe('where it listens for the other nodes', () => {
  it('is kept from the join, also when it joins again, and when its history changes', async () => {
    freshDirectory();
    const lan = { address: '192.0.2.7', port: 7481 };
    await joinCluster(request({ lan }));
    assert.deepEqual((await loadIdentity(stateDir)).lan, lan);
    await joinCluster(request({ lan: { port: 7482 } }));
    assert.deepEqual((await loadIdentity(stateDir)).lan, lan);
    await updateNodeFile(stateDir, { history: 'h2' });
    assert.deepEqual((await loadIdentity(stateDir)).lan, lan);
  });

  it('that an administrator has written wrongly is named, with how it should be', async () => {
    for (const [lan, message] of [
      [{ address: 'alice', port: 7480 }, /node\.json: lan\.address: is not an IP address; mend it, as in "lan": \{/],
      [{ port: 70_000 }, /node\.json: lan\.port: .*take `lan` out/],
      ['192.0.2.7', /node\.json: lan: /],
    ] as const) {
      freshDirectory();
      await joinCluster(request());
      const path = identityFiles(stateDir).node;
      await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), lan }));
      await assert.rejects(loadIdentity(stateDir), message);
    }
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
  const { clusterKey } = new TestCluster();
  // at once: none of them takes back the other
  await Promise.all([updateNodeFile(stateDir, { history: 'h2' }), updateNodeFile(stateDir, { clusterKey })]);
  assert.deepEqual(JSON.parse(await readFile(identityFiles(stateDir).node, 'utf8')), {
    url: 'https://ha.example.org/',
    cluster: 'shop',
    node: 'alice',
    clusterKey,
    history: 'h2',
  });
});
