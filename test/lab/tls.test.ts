/** The coordinator behind a TLS proxy, set up as docs/coordinator.md says. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { faultTest, step } from './faults.ts';
import { Client, type Cluster, documentOf, monotonicMs, resources, VIP } from './index.ts';
import { authorityFile, passedOn, proxyUnit, tlsProxy } from './tls-proxy.ts';

const hosts = ['alice', 'bob'];
const document = documentOf(hosts, [resources.vip, resources.server]);

/** `holdfast join` on a machine that is no member, and what it says. */
async function joinCarol({ lab, product }: Cluster, url: string, env: Readonly<Record<string, string>>) {
  const carol = lab.host('carol');
  await carol.writeFile('/run/token', await product.mustCli(['node', 'token', 'create', '--node', 'carol']), 0o600);
  return await carol.exec([product.binary, 'join', `${url}/lab`, '--token-file', '/run/token', '--name', 'carol'], {
    env,
  });
}

const reportsByHttp = async ({ lab }: Cluster) =>
  (await passedOn(lab)).filter((line) => line.startsWith('POST /v1/clusters/lab/agent/report'));

/** Waits until every node was heard after this moment. */
async function allHeard(cluster: Cluster, sinceMs: number): Promise<void> {
  for (const name of hosts) await cluster.heard(name, sinceMs);
}

faultTest(
  'behind a TLS proxy: joined, served and failed over by https, and an untrusted or foreign certificate is refused by name',
  { hosts, spare: ['carol'], services: ['server'], document, front: tlsProxy },
  async (cluster, t) => {
    const { lab, product } = cluster;
    equal(await cluster.settled('running'), 'alice');
    await cluster.healthy();

    await step(t, 'an authority that is not known is named, and how to add it', async () => {
      const refused = await joinCarol(cluster, product.url, {});
      equal(refused.code, 69, refused.stderr);
      match(refused.stderr, /certificate.*NODE_EXTRA_CA_CERTS/s);
    });

    await step(t, 'a certificate for another name is refused', async () => {
      const carol = lab.host('carol');
      await carol.writeFile('/etc/hosts', `${lab.arbiter.address('uplink')} other.example.org\n`);
      const refused = await joinCarol(cluster, 'https://other.example.org', { NODE_EXTRA_CA_CERTS: authorityFile });
      equal(refused.code, 69, refused.stderr);
      match(refused.stderr, /certificate is for another name/);
    });

    await step(t, 'a proxy that is restarted costs a reconnection and nothing else; WebSockets pass it', async () => {
      const web = await Client.start(lab.client, { kind: 'http', address: VIP });
      await web.nextAnswer(10_000);
      const sinceMs = monotonicMs();
      const proxy = lab.arbiter.units.find(({ name }) => name === proxyUnit);
      await proxy?.stop();
      await proxy?.start();
      await allHeard(cluster, monotonicMs());
      await cluster.healthy();
      // what goes by WebSocket is no request to the proxy
      const before = (await reportsByHttp(cluster)).length;
      await allHeard(cluster, monotonicMs() + 3_000);
      equal((await reportsByHttp(cluster)).length, before);
      equal((await cluster.why()).epoch, 1);
      deepEqual(web.downtimes(sinceMs), []);
    });

    await step(t, 'the owner loses power: the other takes over', async () => {
      await lab.host('alice').powerCut();
      await cluster.settled('running', { on: 'bob' });
    });
  },
);
