/** What makes nodes and coordinator sure of each other, on whole machines: a machine in between that lies, and keys that are changed. */
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { faultTest, lasting, names, restartAgent, runningOnAlice, stateDir } from './faults.ts';
import { type Cluster, type Host, until } from './index.ts';
import { Watch } from './outages.ts';

const MODE = '/run/inspector-mode';
const PORT = 8444;

/** Stands between a node and the coordinator, as whoever can end the TLS may. It does as the file MODE says with what comes down. */
const INSPECTOR = `
  const { createServer, connect } = require('node:net');
  const { readFileSync } = require('node:fs');
  const [host, port] = process.argv.slice(1);
  createServer((node) => {
    const coordinator = connect(Number(port), host);
    const end = () => { node.destroy(); coordinator.destroy(); };
    for (const one of [node, coordinator]) one.on('error', end).on('close', end);
    node.pipe(coordinator);
    coordinator.on('data', (data) => {
      const mode = readFileSync('${MODE}', 'utf8').trim();
      const text = data.toString('latin1');
      const isAnswer = text.includes('"reply"');
      // of the same length, and if it were believed every group of the node would be stopped
      if (mode === 'edit' && isAnswer) data = Buffer.from(text.replace('"verdict":"renewed"', '"verdict":"refused"').replace('"order":"run"', '"reason":"xx"'), 'latin1');
      if (mode === 'repeat' && isAnswer) node.write(data);
      if (mode === 'drop' && isAnswer) return;
      node.write(data);
    });
  }).listen(${PORT}, '0.0.0.0', () => console.log('listens'));
`;

/** Lets the agent of a host reach the coordinator by way of the inspector alone. */
async function lieInBetween(cluster: Cluster, host: Host): Promise<(mode: string) => Promise<void>> {
  const { arbiter } = cluster.lab;
  const { hostname, port } = new URL(cluster.product.url);
  const mode = (word: string) => arbiter.writeFile(MODE, `${word}\n`);
  await mode('pass');
  await arbiter.spawn([process.execPath, '-e', INSPECTOR, hostname, port]);
  const file = `${stateDir}/node.json`;
  const identity = JSON.parse(await host.readFile(file));
  await host.writeFile(file, JSON.stringify({ ...identity, url: `http://${hostname}:${PORT}/` }), 0o600);
  await restartAgent(cluster, host);
  return mode;
}

faultTest(
  'who sits between a node and the coordinator and edits, repeats or leaves out answers is not believed: no client notices, and nobody takes over',
  { timeoutMs: 180_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const watch = await Watch.start(cluster);
    const mode = await lieInBetween(cluster, alice);
    await cluster.settled('running', { on: 'alice' });
    await cluster.healthy();
    for (const what of ['edit', 'repeat', 'drop']) {
      await watch.unnoticed(t, `answers treated so: ${what}`, 'alice', async () => {
        await mode(what);
        await lasting(8_000, 'more than two leases');
        await mode('pass');
        await cluster.healthy();
      });
      const { owner, epoch } = (await cluster.status()).groups.web ?? {};
      deepEqual([owner, epoch], ['alice', 1], what);
    }
    ok((await cluster.events()).every(({ kind }) => kind !== 'agent.lease-lost'));
    await watch.stop();
  },
);

faultTest(
  'the key of the cluster and that of its owner are changed while it serves, by one command each; nobody notices but who has the old ones',
  { timeoutMs: 180_000 },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const watch = await Watch.start(cluster);
    const { product } = cluster;
    const keys = async () => JSON.parse(await product.mustCli(['cluster', 'keys', '--json'])).keys;
    const [before] = await keys();
    await watch.unnoticed(t, 'two changes of keys and three restarts', 'alice', async () => {
      match(await product.mustCli(['cluster', 'rotate-key']), /in use/);
      const [now] = await keys();
      notEqual(now.fingerprint, before.fingerprint);
      const trusts = async (node: string) =>
        JSON.parse(await cluster.host(node).readFile(`${stateDir}/node.json`)).clusterKey === now.publicKey;
      await until(async () => (await Promise.all(names.map(trusts))).every(Boolean), {
        deadlineMs: 20_000,
        what: 'every node to trust the new key',
      });

      const old = await alice.readFile(`${stateDir}/node.key`);
      const { code, stdout, stderr } = await alice.exec([product.binary, 'rekey', '--state-dir', stateDir]);
      equal(code, 0, stderr);
      match(stdout, /signs with key [0-9a-f]{32} from now on/);
      await cluster.event('node.rekeyed', { node: 'alice' });
      notEqual(await alice.readFile(`${stateDir}/node.key`), old);
      await lasting(5_000, 'more than a lease');
      await cluster.healthy();
      await product.stopCoordinator();
      await product.startCoordinator();
      await cluster.healthy();
      await restartAgent(cluster, alice);
      await cluster.settled('running', { on: 'alice' });
    });
    const { owner, epoch } = (await cluster.status()).groups.web ?? {};
    deepEqual([owner, epoch], ['alice', 1]);
    await watch.stop();
  },
);
