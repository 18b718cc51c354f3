/** Each scenario runs in a network namespace of its own, in a process of its own: see vip.scenarios.ts. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Addresses, silent } from '../system/index.ts';
import { notRoot } from '../system/testing.ts';
import { scenarios } from './vip.scenarios.ts';
import { VipResource } from './vip.ts';

const file = join(import.meta.dirname, 'vip.scenarios.ts');

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Two hosts on one wire: `lan0` of the node (192.0.2.1, 2001:db8::1) and `lan0` of its neighbour (.2, ::2). */
function wire(node: string, neighbour: string): void {
  ip('netns', 'add', node);
  ip('netns', 'add', neighbour);
  ip('-n', node, 'link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'lan0', 'netns', neighbour);
  for (const [name, host] of [
    [node, 1],
    [neighbour, 2],
  ] as const) {
    ip('-n', name, 'link', 'set', 'lo', 'up');
    ip('-n', name, 'link', 'set', 'lan0', 'up');
    ip('-n', name, 'address', 'add', `192.0.2.${host}/24`, 'dev', 'lan0');
    ip('-n', name, 'address', 'add', `2001:db8::${host}/64`, 'dev', 'lan0', 'nodad');
  }
}

test('what cannot be the name of an interface is refused before ip is asked anything', async (t) => {
  const addresses = new Addresses(silent);
  const read = t.mock.method(addresses, 'read');
  const announcer = { announce: () => Promise.resolve(), probe: () => Promise.resolve({ taken: false } as const) };
  const context = { group: 'web', announcer, addresses, cgroups: undefined, lifetimeSeconds: () => 4, log: silent };
  const names = [
    '-4',
    '--help',
    '',
    ' ',
    'eth0 dev lo',
    'eth0\n',
    'eth0\0',
    'eth0;id',
    '$(id)',
    '../eth0',
    'x'.repeat(16),
  ];
  for (const name of names) {
    const created = await VipResource.create({ type: 'vip', address: '192.0.2.10/24', interface: name }, context);
    assert.match(
      'problem' in created ? created.problem : '',
      /cannot be the name of an interface/,
      JSON.stringify(name),
    );
  }
  assert.equal(read.mock.callCount(), 0);
});

for (const [n, name] of Object.keys(scenarios).entries()) {
  test(`vip: ${name}`, { skip: notRoot }, async (t) => {
    const node = `hfr-${process.pid}-${n}`;
    const neighbour = `${node}b`;
    try {
      wire(node, neighbour);
      const command = ['netns', 'exec', node, process.execPath, file, name];
      const env = { ...process.env, NEIGHBOUR: neighbour, NODE_TEST_CONTEXT: '' };
      const { stdout } = await promisify(execFile)('ip', command, { env, timeout: 30_000 }).catch((error: unknown) => {
        const text = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
        return assert.fail(text);
      });
      for (const line of stdout.split('\n').filter((text) => text !== '')) t.diagnostic(line);
    } finally {
      for (const name of [node, neighbour]) {
        try {
          ip('netns', 'delete', name);
        } catch {
          // It was never made; the failure above says why.
        }
      }
    }
  });
}
