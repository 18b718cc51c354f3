import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nextTick } from './decide.ts';
import { Desk, TAKEOVER_MS } from './testing.ts';

describe('a tick that comes long after its time', () => {
  const leapt = (byMs = 60_000) => {
    const desk = new Desk();
    const epoch = desk.runsOn('alice');
    const { observed } = desk.hears('bob');
    const renewal = observed[0]?.renewal;
    const due = nextTick(desk.state, desk.now) ?? 0;
    desk.now = due + byMs;
    desk.does({ type: 'late', byMs });
    const told = desk.events;
    desk.does({ type: 'tick' });
    return { desk, epoch, renewal, told };
  };

  test('is told, and concludes nothing from a silence in which nobody could be heard', () => {
    const { desk, told } = leapt();
    deepEqual(
      told.map(({ kind, severity }) => [kind, severity]),
      [['coordinator.clock-stepped', 'warning']],
    );
    match(told[0]?.detail ?? '', /stood still, or its clock leapt forward, for 60000 ms or more/);
    deepEqual(desk.kinds, [], 'nobody is lost, nothing has expired');
  });

  test('gives the owner its whole wait again, under the name that claimants know', () => {
    const { desk, epoch, renewal } = leapt();
    equal(desk.hears('bob').observed[0]?.renewal, renewal);
    const claim = { claims: [{ group: 'db', renewal: renewal ?? null, seenForMs: TAKEOVER_MS }] };
    desk.passes(TAKEOVER_MS - 1, ['bob']);
    match(desk.hears('bob', claim).refused[0]?.reason ?? '', /may run for another 1 ms by the coordinator’s clock/);
    equal(desk.renews('alice', epoch).leases[0]?.verdict, 'renewed');
  });

  test('puts off what is really lost, and no longer than that', () => {
    const { desk } = leapt();
    desk.passes(TAKEOVER_MS, ['bob', 'carol']);
    desk.does({ type: 'tick' });
    equal(desk.state.durable.nodes.alice?.lost, true);
    equal(desk.group().lease?.expired, true);
  });

  test('brings back nobody who was lost before, and no lease that had expired', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.passes(2 * TAKEOVER_MS, ['bob', 'carol']);
    desk.does({ type: 'tick' });
    desk.now += 60_000;
    desk.does({ type: 'late', byMs: 60_000 });
    equal(desk.hears('bob').observed[0]?.claim, 'after');
    equal(desk.state.durable.nodes.alice?.lost, true);
    const renewal = desk.hears('bob').observed[0]?.renewal ?? null;
    const reply = desk.hears('bob', { claims: [{ group: 'db', renewal, seenForMs: TAKEOVER_MS }] });
    equal(reply.grants.length, 1);
  });

  test('counts the doubt of a new instance anew', () => {
    const desk = new Desk();
    desk.restarts();
    desk.now += 60_000;
    desk.does({ type: 'late', byMs: 59_000 });
    equal(desk.state.volatile.doubtUntil, desk.now + TAKEOVER_MS);
  });
});

describe('the wait for leases that restored data does not know of', () => {
  /** Every node has told its epochs; the wait for what they do not tell of is all that is left. */
  const restored = () => {
    const desk = new Desk();
    desk.runsOn('alice');
    for (const node of ['bob', 'alice', 'carol']) desk.hears(node, { epochs: { db: 9 } });
    equal(desk.state.durable.restored?.reported.length, 3);
    return desk;
  };
  const holdsBack = (desk: Desk) => {
    desk.does({ type: 'tick' });
    return desk.state.durable.restored !== null;
  };

  test('is not over because the clock leapt forward', () => {
    const desk = restored();
    desk.now += 60_000;
    desk.does({ type: 'late', byMs: 60_000 });
    equal(holdsBack(desk), true);
    desk.passes(TAKEOVER_MS - 1);
    equal(holdsBack(desk), true);
    desk.passes(1);
    equal(holdsBack(desk), false);
  });

  test('is not counted anew once it is over', () => {
    const desk = new Desk();
    desk.runsOn('alice');
    desk.hears('bob', { epochs: { db: 9 } });
    desk.passes(TAKEOVER_MS + 60_000);
    desk.does({ type: 'late', byMs: 1_500 });
    for (const node of ['alice', 'carol']) desk.hears(node);
    equal(holdsBack(desk), false);
  });

  for (const [what, then] of [
    ['the clock stepped back', (desk: Desk) => desk.does({ type: 'tick' })],
    [
      'the clock stepped back while no instance ran',
      (desk: Desk) => {
        desk.restarts();
        // who had reported to the one before says nothing to this one
        for (const node of ['alice', 'bob', 'carol']) desk.hears(node);
      },
    ],
  ] as const)
    test(`is no longer than it was because ${what}`, () => {
      const desk = restored();
      desk.now -= 3_600_000;
      then(desk);
      equal(holdsBack(desk), true);
      desk.passes(TAKEOVER_MS);
      equal(holdsBack(desk), false);
    });
});

test('an expired lease is told of once, also when the coordinator starts anew, and again after a renewal', () => {
  const desk = new Desk();
  const epoch = desk.runsOn('alice');
  const told = () => {
    desk.passes(2 * TAKEOVER_MS, ['bob', 'carol']);
    const kinds = [...desk.kinds];
    desk.does({ type: 'tick' });
    return [...kinds, ...desk.kinds].filter((kind) => kind === 'group.lease-expired').length;
  };
  // bob and carol may not take it, so that nobody ends the lease
  desk.does({ type: 'node-standby', node: 'bob', operation: 'o' });
  desk.does({ type: 'node-standby', node: 'carol', operation: 'p' });
  desk.passes(2 * TAKEOVER_MS, ['bob']);
  desk.does({ type: 'tick' });
  equal(desk.group().lease?.expired, true);
  for (const instance of ['i2', 'i3']) {
    desk.restarts(instance);
    equal(told(), 0);
  }
  desk.renews('alice', epoch);
  equal(desk.group().lease?.expired, false);
  desk.passes(2 * TAKEOVER_MS);
  desk.does({ type: 'tick' });
  equal(desk.kinds.includes('group.lease-expired'), true);
});
