/** Webhooks from the coordinator as it is installed, to a receiver beside it. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { join } from 'node:path';
import type { IncidentStory } from '../../schemas/incident.ts';
import { faultTest, step } from './faults.ts';
import { type Cluster, documentOf, resources, until } from './index.ts';
import type { Call } from './webhook-receiver.ts';

const hosts = ['alice', 'bob'];

async function receiverOf({ lab }: Cluster, port = '9000', address = '127.0.0.1') {
  const calls: Call[] = [];
  let listens = false;
  const script = join(import.meta.dirname, 'webhook-receiver.ts');
  const receiver = await lab.arbiter.spawn([process.execPath, script, port, address], {
    onLine: (line) => {
      const said = JSON.parse(line) as Call | string;
      if (typeof said === 'string') listens = true;
      else calls.push(said);
    },
  });
  await until(() => listens, { deadlineMs: 10_000, what: 'the receiver to listen' });
  return { calls, kill: (signal: NodeJS.Signals) => receiver.kill(signal) };
}

/** @returns the id. */
async function createWebhook({ product }: Cluster, url: string, ...more: readonly string[]): Promise<string> {
  return (await product.mustCli(['webhook', 'create', url, ...more])).split(/\s/)[0] ?? '';
}

faultTest(
  'a failover is told at once with its outage; what a receiver missed it gets later, though the coordinator was killed; nothing is sent elsewhere',
  { hosts, services: ['server'], document: documentOf(hosts, [resources.vip, resources.server]) },
  async (cluster, t) => {
    const { lab, product } = cluster;
    equal(await cluster.settled('running'), 'alice');
    await cluster.healthy();
    const receiver = await receiverOf(cluster);
    const id = await createWebhook(cluster, 'http://127.0.0.1:9000/', '--allow-private', '--events', '*');
    const taken = () => receiver.calls.filter((call) => call.taken && call.path === '/' && call.data.seq > 0);
    const told = (kind: string, epoch?: number) =>
      taken().find(({ data }) => data.kind === kind && (epoch === undefined || data.epoch === epoch));

    await step(t, 'a test is answered', async () => {
      match(await product.mustCli(['webhook', 'test', id]), /^answered 204 after \d+ ms/);
    });

    await step(
      t,
      'the owner loses power: granted and running are told, with cause, owners and outage',
      async (inner) => {
        await lab.host('alice').powerCut();
        await cluster.settled('running', { on: 'bob' });
        await until(() => told('group.running', 2) !== undefined, { deadlineMs: 10_000, what: 'the webhook' });
        const granted = told('group.granted', 2);
        ok(granted);
        const { cause, from, to } = granted.data;
        deepEqual({ cause, from, to }, { cause: 'lease-expired', from: 'alice', to: 'bob' });
        const { outageMs } = told('group.running', 2)?.data ?? {};
        ok(outageMs > 0 && outageMs < 30_000, `outage ${outageMs} ms`);
        inner.diagnostic(
          `told ${granted.atMs - Date.parse(granted.data.at)} ms after the grant; outage ${outageMs} ms`,
        );
      },
    );

    await step(t, 'the incident tells it as one story, with the outage and who was told', async () => {
      const { incident, grants, timeline, alerts } = JSON.parse(
        await product.mustCli(['incident', 'show', 'last', '--json']),
      ) as IncidentStory;
      deepEqual(
        [incident.from, incident.to, incident.cause, incident.state],
        ['alice', 'bob', 'lease-expired', 'over'],
      );
      equal(incident.outageMs, told('group.running', 2)?.data.outageMs);
      ok(grants[0]?.candidates.some(({ node, eligible }) => node === 'alice' && !eligible));
      const kinds = timeline.map(({ kind }) => kind);
      for (const kind of ['node.lost', 'group.lease-expired', 'group.granted', 'group.running'] as const)
        ok(kinds.includes(kind), kind);
      ok(alerts.some(({ kind, ok: arrived }) => kind === 'group.granted' && arrived));
      match(await product.mustCli(['incident', 'show', incident.id]), /alice -> bob {2}over; outage [\d.]+ s at most/);
      match(await product.mustCli(['incident', 'list']), new RegExp(`^${incident.id}  .*alice -> bob`, 'm'));
    });

    await step(t, 'a receiver that was down, and a coordinator that was killed, lose nothing', async () => {
      receiver.kill('SIGHUP');
      await product.mustCli(['group', 'stop', 'web']);
      await cluster.settled('stopped');
      await product.restartCoordinator('SIGKILL');
      await product.mustCli(['group', 'start', 'web']);
      await cluster.settled('running', { on: 'bob' });
      receiver.kill('SIGUSR2');
      await product.mustCli(['webhook', 'enable', id]);
      const since = (await cluster.events()).find(({ kind }) => kind === 'webhook.created')?.seq ?? 0;
      // what has come to pass by now is told; more may follow
      const expected = (await cluster.events()).map(({ seq }) => seq).filter((seq) => seq > since);
      await until(() => (taken().at(-1)?.data.seq ?? 0) >= (expected.at(-1) ?? 0), {
        deadlineMs: 60_000,
        what: 'the newest event to be told',
      });
      const seqs = taken().map(({ data }) => data.seq as number);
      deepEqual(
        seqs,
        [...seqs].sort((a, b) => a - b),
        'in order',
      );
      equal(new Set(seqs).size, seqs.length, 'each once');
      deepEqual(
        expected.filter((seq) => !seqs.includes(seq)),
        [],
        'every one',
      );
    });

    await step(t, 'a redirect is not followed', async () => {
      const redirected = await createWebhook(cluster, 'http://127.0.0.1:9000/elsewhere', '--allow-private');
      const before = taken().length;
      const { code, stderr } = await product.cli(['webhook', 'test', redirected]);
      equal(code, 1);
      match(stderr, /answered 302/);
      equal(taken().length, before);
    });

    await step(t, 'a public name that leads to a private address is not connected to', async () => {
      await lab.arbiter.writeFile('/etc/hosts', '127.0.0.1 localhost hooks.example.org\n');
      const sly = await createWebhook(cluster, 'https://hooks.example.org/');
      const { code, stderr } = await product.cli(['webhook', 'test', sly]);
      equal(code, 1);
      match(stderr, /not reached/);
      const refused = await product.cli(['webhook', 'create', 'https://127.0.0.1/']);
      equal(refused.code, 1);
      match(refused.stderr, /url: 127\.0\.0\.1 is no public address \(loopback\)/);
    });

    await step(t, 'while the coordinator is away the node itself tells its own receiver', async (inner) => {
      const own = await receiverOf(cluster, '9001', lab.arbiter.address('uplink'));
      const file = `url: http://${lab.arbiter.address('uplink')}:9001/\n`;
      await lab.host('bob').writeFile('/var/lib/holdfast/notify.yaml', file);
      await product.stopCoordinator();
      const stoppedMs = Date.now();
      // alone it goes on, or gives up: it depends on whether it has been without the other voter for a minute
      const kinds = ['agent.lives-on-promises', 'agent.lease-lost'];
      const call = await until(() => own.calls.find(({ data }) => kinds.includes(data.kind)), {
        deadlineMs: 40_000,
        what: 'the node to tell',
      });
      deepEqual([call.data.schema, call.data.node, call.data.group], ['holdfast/node-notice/v1', 'bob', 'web']);
      inner.diagnostic(
        `${call.data.kind} told by the node ${call.atMs - stoppedMs} ms after the coordinator was stopped`,
      );
      await product.startCoordinator();
      await cluster.event(call.data.kind, { node: 'bob' }, 30_000);
    });
  },
);
