import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Simulation } from '../../schemas/api.ts';
import { simulationText } from './simulate-text.ts';
import { problem, ran, type StubAnswer, stubCoordinator } from './testing.ts';

const plain = { paint: (_: string, text: string) => text };
const candidates: Simulation['groups'][string]['candidates'] = [
  { node: 'bob', eligible: true, chosen: true, reasons: [{ rule: 'preference', position: 2 }] },
  { node: 'alice', eligible: false, chosen: false, reasons: [{ rule: 'standby' }] },
];
const stays: Simulation['groups'][string] = {
  before: { state: 'running', owner: 'carol' },
  after: { state: 'running', owner: 'carol' },
  how: 'stays',
  interruptedMs: 0,
  interruption: 'none',
  candidates: [],
};
const failsOver: Simulation['groups'][string] = {
  before: { state: 'running', owner: 'alice' },
  after: { state: 'running', owner: 'bob' },
  how: 'fails-over',
  interruptedMs: 4_860,
  interruption:
    'at most 4.2 s until its lease has run out and a node can take it, and its starts, 0.7 s when last measured',
  candidates,
};
const down: Simulation['groups'][string] = {
  before: { state: 'running', owner: 'alice' },
  after: { state: 'waiting', owner: null, reason: 'bob is in standby\nwith a line break' },
  how: 'down',
  interruptedMs: null,
  interruption: 'until something is done, or a wait has ended',
  candidates: [],
};
const simulation = (groups: Simulation['groups'], more: Partial<Simulation> = {}): Simulation => ({
  schema: 'holdfast/simulation/v1',
  cluster: 'shop',
  at: '2026-11-22T09:00:00.000Z',
  revision: 3,
  assumed: { down: ['alice'], standby: [], coordinatorDown: false, document: false },
  simulatedMs: 7_000,
  settled: true,
  groups,
  down: Object.keys(groups).filter((name) => groups[name]?.how === 'down'),
  warnings: [],
  ...more,
});

describe('simulate in words', () => {
  it('what changes stands in the table, what is down first, the rest is counted', () => {
    const text = simulationText(simulation({ db: failsOver, mail: stays, web: down }), plain);
    const lines = text.split('\n');
    assert.equal(lines[0], 'shop, if alice lost power (nothing is changed)');
    assert.equal(lines[1], 'DOWN: 1 of 3 groups would not be served: web');
    assert.match(lines[3] ?? '', /^GROUP +NOW +THEN +IT +NOT SERVED$/);
    assert.match(
      lines[4] ?? '',
      /^web +running on alice +waiting +DOWN +until .*: bob is in standby with a line break$/,
    );
    assert.match(lines[5] ?? '', /^db +running on alice +running on bob +fails over +4\.9s: at most 4\.2 s until/);
    assert.match(text, /\n1 group stays as it is\n/);
    assert.match(text, /db would be decided between:\nNODE .*\nbob +yes, next +number 2 .*\nalice +NO +is in standby/);
    assert.doesNotMatch(text, /mail/);
  });

  it('nothing down says OK, and warnings follow', () => {
    const warnings = ['bob would be the last node for db: no takeover left'];
    const text = simulationText(simulation({ db: failsOver }, { warnings }), plain);
    assert.match(text, /^OK: every group that should be served is served$/m);
    assert.match(text, /^! bob would be the last node for db: no takeover left$/m);
  });

  it('names everything that is assumed, and for how long the absence of the coordinator is borne', () => {
    const assumed = { down: ['alice', 'bob'], standby: ['carol'], coordinatorDown: true, document: true };
    const absence = { unnoticedMs: 1_500, stoppedMs: 2_500 };
    const text = simulationText(simulation({ web: down }, { assumed, absence }), plain);
    assert.match(
      text,
      /^shop, if the document were applied and carol were drained and alice and bob lost power and the coordinator went away/,
    );
    assert.match(text, /less than 1\.5s is not noticed; after 2\.5s at the latest everything has been stopped/);
    const some = simulationText(
      simulation({ db: stays, web: down }, { assumed, absence: { ...absence, goesOn: ['db'] } }),
      plain,
    );
    assert.match(
      some,
      /^db goes on while the voters see each other; .* lost meanwhile a group stops within 2\.5s, .*nobody/m,
    );
    assert.match(
      some,
      /^of the others an absence of less than 1\.5s .* after 2\.5s at the latest they have been stopped/m,
    );
    const all = simulationText(simulation({ db: stays }, { assumed, absence: { ...absence, goesOn: ['db'] } }), plain);
    assert.doesNotMatch(all, /of the others/);
  });
});

async function simulating(answer: StubAnswer, args: string, stdin?: string) {
  const stub = await stubCoordinator((question) =>
    question === 'POST /v1/clusters/shop/simulate' ? answer : undefined,
  );
  try {
    const line = ['simulate', ...args.split(' ')];
    return { ...(await ran(line, { env: stub.env, ...(stdin === undefined ? {} : { stdin }) })), asked: stub.asked };
  } finally {
    await stub.close();
  }
}

describe('holdfast simulate', () => {
  it('asks for everything at once and ends with 0 when everything would be served', async () => {
    const { exit, out, asked } = await simulating(
      { body: simulation({ db: failsOver }) },
      '--down alice --down bob --standby carol --coordinator-down --document -',
      'cluster: shop\n',
    );
    assert.equal(exit, 0);
    assert.match(out, /fails over/);
    assert.deepEqual(JSON.parse(asked[0]?.body ?? ''), {
      down: ['alice', 'bob'],
      standby: ['carol'],
      coordinatorDown: true,
      document: 'cluster: shop\n',
    });
  });

  it('ends with 3 when something would be down, also with --json, which prints what was answered', async () => {
    const answer = { body: { ...simulation({ web: down }), more: 'of a later version' } };
    assert.equal((await simulating(answer, '--down alice')).exit, 3);
    const { exit, out } = await simulating(answer, '--down alice --json');
    assert.deepEqual([exit, JSON.parse(out)], [3, answer.body]);
  });

  it('a bad document is refused with its lines, an unknown node with the nearest name', async () => {
    const errors = [{ path: 'gruops', line: 2, column: 1, detail: 'unknown key', suggestion: 'groups' }];
    const bad = { status: 422, body: problem('invalid-configuration', 422, 'line 2: unknown key', errors) };
    const document = await simulating(bad, '--document -', 'cluster: shop\ngruops: {}\n');
    assert.equal(document.exit, 65);
    assert.match(document.err, /standard input:2:1: gruops: unknown key; did you mean `groups`\?/);
    const unknown = { status: 404, body: problem('node-unknown', 404, 'no node alcie; did you mean alice?') };
    const node = await simulating(unknown, '--down alcie');
    assert.deepEqual([node.exit, node.out], [1, '']);
    assert.match(node.err, /did you mean alice\?/);
  });
});
