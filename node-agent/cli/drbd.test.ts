import { deepEqual, match } from 'node:assert/strict';
import { hostname } from 'node:os';
import { after, it } from 'node:test';
import { copyByHand } from '../agent/drbd-by-hand.ts';
import { dumpXml, events84, FakeDrbd } from '../resources/drbd-testing.ts';
import { CliError } from './exit.ts';
import { type ResolveOptions, resolveSplitBrain } from './split-brain.ts';
import { ran, stubCoordinator } from './testing.ts';

async function resolves(prepare: (fake: FakeDrbd) => void, options: Partial<ResolveOptions> = {}) {
  const fake = new FakeDrbd();
  after(() => fake.remove());
  fake.configures(dumpXml({ hosts: [hostname(), 'n2'] }));
  fake.generation('9F2C6B0D4E8A1357:1111111111111110:2222222222222222:3333333333333332');
  prepare(fake);
  try {
    await resolveSplitBrain(() => undefined, 'r0', { stateDir: fake.dir, ...options }, copyByHand('r0', fake.drbd));
    return { log: fake.log };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { said: [error.message, ...error.lines, error.next ?? ''].join('\n'), log: fake.log };
  }
}

const apart =
  (role = 'Secondary') =>
  (fake: FakeDrbd) =>
    fake.shows(events84({ role, connection: 'StandAlone', peerDisk: 'DUnknown', peerRole: 'Unknown', outOfSync: 64 }));

it('a split brain is ended only with the word for what is lost', async () => {
  const shown = await resolves(apart());
  match(
    shown.said ?? '',
    /would be lost[\s\S]*generation 9F2C6B0D4E8A1357:1{15}0, was Primary[\s\S]*StandAlone, DUnknown, 64 KiB written here[\s\S]*--accept-risk=discard-this-copy/,
  );
  deepEqual(shown.log, []);
  const wrong = await resolves(apart(), { acceptRisk: 'yes' });
  match(wrong.said ?? '', /“yes” is not the name of the risk/);
  const done = await resolves(apart(), { acceptRisk: 'discard-this-copy' });
  deepEqual(done, { log: ['drbdadm disconnect r0', 'drbdadm connect --discard-my-data r0'] });
});

it('what is in use, or connected, is not given up', async () => {
  const primary = await resolves(apart('Primary'), { acceptRisk: 'discard-this-copy' });
  match(primary.said ?? '', /in use here[\s\S]*on the other machine/);
  const fine = await resolves(() => undefined, { acceptRisk: 'discard-this-copy' });
  match(fine.said ?? '', /there is no split brain/);
  deepEqual([...primary.log, ...fine.log], []);
});

it('the other side connects again and keeps its copy', async () => {
  deepEqual(await resolves(apart('Primary'), { keepThisCopy: true }), { log: ['drbdadm connect r0'] });
  const looking = (fake: FakeDrbd) => fake.shows(events84({ role: 'Primary', connection: 'Connecting' }));
  deepEqual(await resolves(looking, { keepThisCopy: true }), { log: [] });
});

it('newer writes are given up with a move to a node that is named, and the risk by its name', async () => {
  const bodies: string[] = [];
  const stub = await stubCoordinator((_route, { body }) => {
    bodies.push(body);
    return undefined;
  });
  after(() => stub.close());
  const move = (...more: string[]) => ran(['move', 'db', ...more, '--wait', '0s'], { env: stub.env });
  match((await move('--accept-risk=lose-newer-writes')).err, /the only risk here is lose-newer-writes, with --to/);
  match((await move('--to', 'bob', '--accept-risk=all')).err, /--accept-risk=all: the only risk here/);
  deepEqual(bodies, []);
  await move('--to', 'bob', '--accept-risk=lose-newer-writes');
  deepEqual(
    bodies.map((body) => JSON.parse(body) as unknown),
    [{ to: 'bob', acceptRisk: 'lose-newer-writes' }],
  );
});
