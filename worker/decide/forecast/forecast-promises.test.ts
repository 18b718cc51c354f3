import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Config } from '../../../schemas/config.ts';
import { LEASE_PROFILES } from '../../../schemas/limits.ts';
import { config } from '../testing.ts';
import { db, endpoint, measured, promised, running, simulate } from './testing.ts';

const T = LEASE_PROFILES.default;

const requiring = (of: Config): Config => {
  const { db: group } = of.groups;
  ok(group !== undefined);
  return { ...of, groups: { ...of.groups, db: { ...group, requires: 'uplink' } } };
};

describe('the coordinator goes away', () => {
  test('what its voters have promised to keep out of goes on, and that is said', () => {
    const simulation = simulate(promised(true), { coordinatorDown: true });
    const { before, after, how, interruptedMs } = db(simulation);
    deepEqual([how, interruptedMs, after], ['stays', 0, before]);
    deepEqual(simulation.absence, { unnoticedMs: 1_500, stoppedMs: 2_500, goesOn: ['db'] });
    deepEqual([simulation.down, simulation.warnings], [[], []]);
  });

  test('what they have not promised stops when its lease has run out, with the reason', () => {
    const simulation = simulate(promised(false), { coordinatorDown: true });
    deepEqual(simulation.absence, { unnoticedMs: 1_500, stoppedMs: 2_500, goesOn: [] });
    deepEqual([simulation.down, db(simulation).after?.owner], [['db'], null]);
    match(
      db(simulation).after?.reason ?? '',
      /the coordinator is away.*not all of bob and carol have promised alice to keep out/,
    );
    equal(db(simulation).interruption, 'until the coordinator is back');
  });

  test('what requires the uplink stops, whatever was promised', () => {
    const desk = promised(true, requiring(config({ db: ['alice', 'bob', 'carol'] })));
    const simulation = simulate(desk, { coordinatorDown: true });
    deepEqual(simulation.down, ['db']);
    match(db(simulation).after?.reason ?? '', /requires: uplink/);
  });

  test('together with a voter: it stops within the lease; with a node that is no voter it goes on', () => {
    const on = ['alice', 'bob'];
    const lost = simulate(promised(true, config({ db: on })), { down: ['bob'], coordinatorDown: true });
    deepEqual([lost.down, lost.simulatedMs], [['db'], T.leaseMs - T.stopMs]);
    match(db(lost).after?.reason ?? '', /bob, a voter of it, does not answer alice/);
    const other = simulate(promised(true, config({ db: on })), { down: ['carol'], coordinatorDown: true });
    deepEqual([db(other).how, other.down], ['stays', []]);
  });

  test('together with its owner: nobody takes it over', () => {
    const simulation = simulate(promised(true), { down: ['alice'], coordinatorDown: true });
    deepEqual([simulation.down, db(simulation).after?.owner], [['db'], null]);
  });

  test('a voter that has fallen silent a moment ago is taken for lost', () => {
    const desk = promised(true);
    for (let second = 0; second < 3; second++) {
      desk.passes(1_000, ['carol']);
      desk.renews('alice', desk.lease().epoch, {
        leases: [{ group: 'db', epoch: desk.lease().epoch, voters: 1, backed: true }],
      });
    }
    const simulation = simulate(desk, { coordinatorDown: true });
    deepEqual(simulation.down, ['db']);
    ok(simulation.warnings.some((warning) => /bob has missed its renewals/.test(warning)));
  });

  test('who is its only voter goes on alone', () => {
    const simulation = simulate(promised(true, config({ db: ['alice'] })), {
      down: ['bob', 'carol'],
      coordinatorDown: true,
    });
    deepEqual([db(simulation).how, simulation.down], ['stays', []]);
  });

  test('what is starting goes on starting', () => {
    const desk = promised(true);
    const epoch = desk.lease().epoch;
    desk.renews('alice', epoch, {
      groups: [{ group: 'db', epoch, state: 'starting', forMs: 0, resources: measured }],
      leases: [{ group: 'db', epoch, voters: 1, backed: true }],
    });
    const { how, after } = db(simulate(desk, { coordinatorDown: true }));
    deepEqual([how, after], ['starts', { state: 'running', owner: 'alice' }]);
  });

  test('right after its start, when no owner has told of promises yet, they are counted on where nodes listen', () => {
    const desk = promised(true);
    desk.restarts();
    equal(db(simulate(desk, { coordinatorDown: true })).how, 'stays');
    const deaf = running();
    deaf.restarts();
    deepEqual(simulate(deaf, { coordinatorDown: true }).down, ['db']);
  });

  test('what is stopped on purpose is not down', () => {
    const desk = running();
    desk.does({ type: 'group-stop', group: 'db', operation: 'op' });
    desk.hears('alice', { releases: [{ group: 'db', epoch: desk.lease().epoch }] });
    deepEqual(simulate(desk, { coordinatorDown: true }).down, []);
  });

  test('after a drain that has taken effect: the group has moved, and goes on where it is', () => {
    const simulation = simulate(promised(true), { standby: ['alice'], coordinatorDown: true });
    deepEqual([db(simulation).how, db(simulation).after?.owner], ['moves', 'bob']);
    deepEqual(simulation.absence?.goesOn, ['db']);
  });

  test('after a new document has taken effect: who votes by it then is asked', () => {
    const wider = { config: config({ db: ['alice', 'bob'] }), coordinatorDown: true };
    const desk = () => promised(true, config({ db: ['alice'] }));
    equal(db(simulate(desk(), wider)).how, 'stays');
    deepEqual(simulate(desk(), { ...wider, down: ['bob'] }).down, ['db']);
  });
});

describe('an owner that does not reach the coordinator', () => {
  /** alice is not heard of any more; bob keeps out of its epoch because it has promised so. */
  const unheard = () => {
    const desk = promised(true, config({ db: ['alice', 'bob'] }));
    const keeps = { promised: [{ group: 'db', epoch: desk.lease().epoch }] };
    for (let second = 0; second < 8; second++) {
      desk.passes(1_000, ['carol']);
      desk.hears('bob', second > 3 ? keeps : {});
    }
    return desk;
  };

  test('keeps the group, and whatever else happens it is not counted as free', () => {
    const simulation = simulate(unheard(), { down: ['carol'] });
    const { before, after, how } = db(simulation);
    deepEqual([before, how], [{ state: 'degraded', owner: 'alice' }, 'stays']);
    match(after?.reason ?? '', /alice does not reach the coordinator and runs it on by the promise of bob/);
  });

  test('and dies: who has promised takes over when it is asked no more', () => {
    const { how, after } = db(simulate(unheard(), { down: ['alice'] }));
    deepEqual([how, after?.owner], ['fails-over', 'bob']);
  });

  test('goes on when the coordinator goes away for all, until its voter is lost', () => {
    deepEqual(simulate(unheard(), { coordinatorDown: true }).down, []);
    const simulation = simulate(unheard(), { coordinatorDown: true, down: ['bob'] });
    deepEqual(simulation.down, ['db']);
  });
});

describe('a node that is no voter', () => {
  /** bob comes back after the owner has dropped it from its voters, and is not in again yet. */
  const alone = () => {
    const desk = promised(true, config({ db: ['alice', 'bob'] }));
    for (let second = 0; second < 65; second++) {
      desk.passes(1_000, ['carol']);
      desk.does({ type: 'tick' });
      desk.renews('alice', desk.lease().epoch, {
        leases: [
          {
            group: 'db',
            epoch: desk.lease().epoch,
            voters: desk.lease().voters.version + (desk.lease().pendingVoters === null ? 0 : 1),
          },
        ],
      });
    }
    deepEqual(desk.lease().voters.names, ['alice']);
    return desk;
  };

  test('does not take over from an owner that dies', () => {
    const desk = alone();
    desk.hears('bob');
    desk.passes(T.leaseMs + 1, ['bob', 'carol']);
    const simulation = simulate(desk, { down: ['carol'] });
    deepEqual(simulation.down, ['db']);
    match(db(simulation).after?.reason ?? '', /bob was no voter when the owner was last heard of \(alice\)/);
  });

  test('is one again a moment after it has come back, also in a forecast', () => {
    const desk = alone();
    desk.hears('bob', { endpoint });
    const drained = { standby: ['carol'], coordinatorDown: true };
    equal(db(simulate(desk, drained)).how, 'stays');
    deepEqual(simulate(desk, { ...drained, down: ['bob'] }).down, ['db']);
  });
});
