import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { PEER_PORT } from '../../schemas/limits.ts';
import { testCluster } from '../agent/cluster-testing.ts';
import { CliError, EXIT } from './exit.ts';
import { lanAddress } from './lan-address.ts';
import { ran, stubCoordinator } from './testing.ts';

const here = ['127.0.0.1', '192.0.2.7', '2001:db8::7'];

for (const [text, expected] of [
  ['192.0.2.7', { address: '192.0.2.7', port: PEER_PORT }],
  ['192.0.2.7:7481', { address: '192.0.2.7', port: 7481 }],
  ['2001:db8::7', { address: '2001:db8::7', port: PEER_PORT }],
  ['[2001:db8::7]:7481', { address: '2001:db8::7', port: 7481 }],
  ['[2001:0db8:0::7]', { address: '2001:0db8:0::7', port: PEER_PORT }],
  ['0.0.0.0', { port: PEER_PORT }],
  ['[::]:7481', { port: 7481 }],
] as const)
  it(`${text} is taken`, () => assert.deepEqual(lanAddress(text, here), expected));

for (const [text, why] of [
  ['192.0.2.9', /is no address of this machine/],
  ['alice', /is no IP address/],
  ['', /is no IP address/],
  ['192.0.2.7:0', /“0” is no port/],
  ['192.0.2.7:70000', /“70000” is no port/],
  ['192.0.2.7:', /“” is no port/],
  ['[2001:db8::7]:x', /“x” is no port/],
  ['192.0.2.7/24', /is no IP address/],
  ['fe80::1', /link-local/],
  ['fe80::1%eth0', /link-local/],
] as const)
  it(`${text === '' ? 'nothing' : text} is refused, with the addresses that this machine has`, () => {
    assert.throws(
      () => lanAddress(text, here),
      (error: unknown) => {
        assert.ok(error instanceof CliError);
        assert.equal(error.exit, EXIT.usage);
        assert.match(error.message, why);
        assert.match(error.next ?? '', /this machine has 127\.0\.0\.1, 192\.0\.2\.7, 2001:db8::7; .*leave it out/);
        return true;
      },
    );
  });

it('join keeps it in node.json and says what a firewall has to let through; a second join changes nothing, and says so', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-join-test-'));
  const stub = await stubCoordinator((question, { body }) =>
    question.endsWith('/enrol')
      ? { body: { cluster: 'shop', node: 'alice', ...testCluster.enrolled(JSON.parse(body)) } }
      : undefined,
  );
  try {
    const stateDir = join(directory, 'state');
    await writeFile(join(directory, 'token'), testCluster.token);
    const line = ['join', `${stub.url}/shop`, '--name', 'alice', '--token-file', join(directory, 'token')];
    const joining = (address: string) => ran([...line, '--state-dir', stateDir, '--lan-address', address]);
    const wrong = await joining('192.0.2.255');
    assert.deepEqual([wrong.exit, stub.asked.length], [EXIT.usage, 0], 'the token is not spent');
    const first = await joining('127.0.0.1:7481');
    assert.equal(first.exit, 0, first.err);
    assert.match(first.err, /listens for the other nodes on UDP port 7481 of 127\.0\.0\.1; let that through/);
    const { lan } = JSON.parse(await readFile(join(stateDir, 'node.json'), 'utf8'));
    assert.deepEqual(lan, { address: '127.0.0.1', port: 7481 });
    const again = await joining('127.0.0.1:7482');
    assert.match(again.err, /--lan-address was not applied: to change it, edit `lan` in .*node\.json/);
    assert.doesNotMatch((await joining('127.0.0.1:7481')).err, /not applied/);
  } finally {
    await stub.close();
    await rm(directory, { recursive: true });
  }
});
