/** Rows of the table in docs/safety.md, "Who may try what", that need whole machines. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { backAndReady, faultTest, rememberedEpochs, runningOnAlice, stateDir } from './faults.ts';
import { type Host, within } from './index.ts';

/** Tries to connect to every TCP port of a host, from another. @returns those that answer. */
async function scan(from: Host, address: string): Promise<number[]> {
  const script = `
    const { connect } = require('node:net');
    const open = [];
    let next = 1;
    const one = () => new Promise((done) => {
      const port = next++;
      const socket = connect({ host: '${address}', port });
      socket.once('connect', () => { open.push(port); socket.destroy(); done(); });
      socket.once('error', () => { socket.destroy(); done(); });
    });
    const worker = async () => { while (next <= 65535) await one(); };
    Promise.all(Array.from({ length: 64 }, worker)).then(() => console.log(JSON.stringify(open)));
  `;
  return JSON.parse(await from.mustExec([process.execPath, '-e', script], { deadlineMs: 120_000 })) as number[];
}

/** What listens on a host, and who: `udp 7480 holdfast`. */
async function listeners(host: Host): Promise<string[]> {
  const lines = (await host.mustExec(['ss', '-Hlntup'])).trim().split('\n');
  return lines
    .map((line) => {
      const [protocol = '', , , , local = ''] = line.trim().split(/\s+/);
      return `${protocol} ${local.slice(local.lastIndexOf(':') + 1)} ${/\(\("([^"]+)"/.exec(line)?.[1] ?? '?'}`;
    })
    .filter((line, index, all) => all.indexOf(line) === index)
    .sort();
}

faultTest(
  'of a node a port scan finds what its groups serve, and nothing of ours: we listen on one UDP port, 7480',
  {},
  async (cluster) => {
    const alice = await runningOnAlice(cluster);
    const bob = cluster.host('bob');
    const [served, ...others] = (await listeners(alice)).filter((line) => !line.startsWith('udp'));
    ok(served?.endsWith(' nginx') && others.length === 0, `${served} ${others.join(', ')}`);
    const isUdp = (line: string) => line.startsWith('udp');
    for (const host of [alice, bob]) {
      const udp = (await listeners(host)).filter(isUdp);
      equal(udp.length, 1, udp.join(', '));
      ok(/^udp 7480 /.test(udp[0] ?? ''), udp[0]);
    }
    equal((await listeners(bob)).length, 1, 'a node that runs nothing listens on nothing else');
    deepEqual(await scan(cluster.host('carol'), alice.address('lan')), [Number(served?.split(' ')[1])]);
    await cluster.settled('running', { on: 'alice' });
  },
);

faultTest(
  'a node that comes up with an older epochs.json runs nothing by it, learns the epochs again, and takes over above them',
  {},
  async (cluster) => {
    await runningOnAlice(cluster);
    const bob = cluster.host('bob');
    const { mustCli } = cluster.product;
    const move = (to: string) => mustCli.call(cluster.product, ['move', 'web', '--to', to, '--wait', '30s']);
    await move('bob');
    const older = await bob.readFile(`${stateDir}/epochs.json`);
    deepEqual(await rememberedEpochs(bob), { web: 2 });
    await move('alice');
    await move('bob');
    await move('alice');
    const known = (await rememberedEpochs(bob)).web ?? 0;
    ok(known >= 4, `bob knows of epoch ${known}`);
    await cluster.healthy();
    await bob.powerCut();
    await bob.writeFile(`${stateDir}/epochs.json`, older, 0o600);
    await within(bob.boot(), { deadlineMs: 40_000, what: 'bob to boot' });
    await backAndReady(cluster, 'bob', 40_000);
    await cluster.healthy();
    equal((await cluster.status()).groups.web?.owner, 'alice', 'the group stayed where it is');
    // so that nobody else claims before bob does
    await mustCli.call(cluster.product, ['node', 'standby', 'carol', '--wait', '30s']);
    await cluster.host('alice').powerCut();
    equal(await cluster.settled('running', { on: 'bob', deadlineMs: 40_000 }), 'bob');
    deepEqual(await rememberedEpochs(bob), { web: 6 });
  },
);
