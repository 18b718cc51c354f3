/** What a node tells by itself, to a receiver on loopback. */
import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Webhook as Verifier } from 'standardwebhooks';
import { nodeNoticeSchema } from '../../schemas/webhook.ts';
import { newSecret } from '../../schemas/webhook-signature.ts';
import { Receiver } from '../../test/coordinator/receiver.ts';
import { Journal, type JournalEntry } from './journal.ts';
import { Notifier } from './notifier.ts';
import { readNotify } from './notify-file.ts';

const LOST: JournalEntry = {
  kind: 'agent.lease-lost',
  severity: 'error',
  group: 'db',
  epoch: 7,
  detail: 'not renewed in time',
};

async function around(t: TestContext, file: (receiver: Receiver) => string | undefined) {
  const stateDir = mkdtempSync(join(tmpdir(), 'holdfast-notify-'));
  chmodSync(stateDir, 0o700);
  const receiver = await Receiver.start();
  const journal = new Journal(() => performance.now());
  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (text: string) => warnings.push(text) };
  const text = file(receiver);
  if (text !== undefined) writeFileSync(join(stateDir, 'notify.yaml'), text, { mode: 0o600 });
  const notifier = new Notifier({ stateDir, node: 'alice', cluster: 'shop', journal, log, unheardMs: 50 });
  t.after(async () => {
    notifier.close();
    await receiver.close();
    rmSync(stateDir, { recursive: true });
  });
  return { stateDir, receiver, journal, warnings };
}

test('what the coordinator does not hear is told once, signed so that the public library verifies it', async (t) => {
  const secret = newSecret();
  const { receiver, journal } = await around(t, ({ url }) => `url: ${url}\nsecret: ${secret}\n`);
  journal.add({ kind: 'agent.started', severity: 'info', detail: 'nothing to wake anybody up for' });
  journal.add(LOST);
  await receiver.count(1);
  const [received] = receiver.received;
  ok(received !== undefined);
  new Verifier(secret).verify(received.body, received.headers as Record<string, string>);
  equal(received.json.type, 'agent.lease_lost');
  const notice = nodeNoticeSchema.parse(received.json.data);
  deepEqual([notice.cluster, notice.node, notice.group, notice.epoch], ['shop', 'alice', 'db', 7]);
  match(notice.summary, /^shop: agent\.lease-lost db on alice: not renewed in time/);
  journal.add({ ...LOST, group: 'web' });
  await receiver.count(2);
  deepEqual(
    receiver.received.map(({ json }) => json.data.group),
    ['db', 'web'],
    'each once',
  );
});

test('what the coordinator has heard in time is not told twice', async (t) => {
  const { receiver, journal } = await around(t, ({ url }) => `url: ${url}\n`);
  journal.add(LOST);
  journal.acknowledge(journal.next().map(({ id }) => id));
  journal.add({ ...LOST, group: 'web' });
  await receiver.count(1);
  equal(receiver.received[0]?.json.data.group, 'web');
  equal(receiver.received[0]?.headers['webhook-signature'], undefined);
});

test('a receiver that refuses is asked again under the same id, and the log says so once', async (t) => {
  const { receiver, journal, warnings } = await around(t, ({ url }) => `url: ${url}\nsecret: ${newSecret()}\n`);
  receiver.answerWith(503);
  journal.add(LOST);
  await receiver.count(1);
  receiver.answerWith(204);
  await receiver.count(2);
  equal(receiver.received[0]?.headers['webhook-id'], receiver.received[1]?.headers['webhook-id']);
  equal(warnings.length, 1);
  match(warnings[0] ?? '', /answered with status 503/);
});

for (const [what, text, problem] of [
  ['no address', 'secret: whsec_x\n', /url: an http or https URL/],
  ['another scheme', 'url: file:///etc/passwd\n', /url: an http or https URL/],
  ['a secret that is none', 'url: https://example.com/\nsecret: abc\n', /secret: `whsec_`/],
  ['a key nobody knows', 'url: https://example.com/\ncommand: reboot\n', /Unrecognized key: "command"/],
  ['no YAML', 'url: [\n', /notify\.yaml/],
] as const)
  test(`a file with ${what} is named with what is wrong`, async (t) => {
    const { stateDir } = await around(t, () => text);
    await rejects(readNotify(stateDir), problem);
  });

test('a file that others may write tells nobody anything', async (t) => {
  const { stateDir, journal, receiver, warnings } = await around(t, ({ url }) => `url: ${url}\n`);
  chmodSync(join(stateDir, 'notify.yaml'), 0o666);
  await rejects(readNotify(stateDir), /can be written by group or others; chmod go-w/);
  journal.add(LOST);
  await new Promise<void>((resolve) => {
    const look = setInterval(() => {
      if (warnings.length === 0) return;
      clearInterval(look);
      resolve();
    }, 20);
  });
  equal(receiver.received.length, 0);
});
