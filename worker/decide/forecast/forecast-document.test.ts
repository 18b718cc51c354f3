import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Config, DEFAULT_POLICY, type ResourceDeclaration } from '../../../schemas/config.ts';
import { config, Desk } from '../testing.ts';
import { db, running, simulate } from './testing.ts';

describe('a new document', () => {
  const address = { type: 'vip', id: 'ip', address: '192.0.2.10/24', times: {}, policy: DEFAULT_POLICY } as const;
  const changed = (of: Config, resources: readonly ResourceDeclaration[]) => {
    const group = of.groups.db;
    ok(group !== undefined);
    return { ...of, groups: { ...of.groups, db: { ...group, resources } } };
  };

  test('that takes the owner out of `on` moves the group', () => {
    const simulation = simulate(running(), { config: config({ db: ['bob', 'carol'] }) });
    deepEqual([db(simulation).how, db(simulation).after?.owner], ['moves', 'bob']);
  });

  test('that changes a resource restarts it where it is', () => {
    const all = config({ db: ['alice', 'bob', 'carol'] });
    const other = { ...address, address: '192.0.2.11/24' };
    const simulation = simulate(running(), { config: changed(all, [other]) });
    const { how, after, interruptedMs, interruption } = db(simulation);
    deepEqual([how, after], ['restarts', { state: 'running', owner: 'alice' }]);
    equal(interruptedMs, null);
    match(interruption, /at least 0\.7 s/);
    ok(simulation.warnings.some((warning) => /what is new in db is known only once it is applied/.test(warning)));
  });

  test('that adds a resource at the end interrupts for its start, whose time nobody knows', () => {
    const all = config({ db: ['alice', 'bob', 'carol'] });
    const { how, interruption } = db(
      simulate(running(), { config: changed(all, [address, { ...address, id: 'more' }]) }),
    );
    deepEqual([how, interruption], ['restarts', 'what its stop and its starts take, which is not known']);
  });

  test('that changes nothing of it leaves it alone', () => {
    const simulation = simulate(running(), { config: config({ db: ['alice', 'bob', 'carol'] }) });
    deepEqual([db(simulation).how, db(simulation).interruptedMs], ['stays', 0]);
    deepEqual(simulation.warnings, []);
  });

  test('that removes a group stops it, and adds one where it would start', () => {
    const { groups, down } = simulate(running(), { config: config({ web: ['carol', 'bob'] }) });
    deepEqual([groups.db?.how, groups.db?.after], ['stops', null]);
    deepEqual([groups.web?.before, groups.web?.how, groups.web?.after?.owner], [null, 'starts', 'carol']);
    deepEqual(down, []);
  });

  test('that names a node which has not joined: its group is down, and why is said', () => {
    const wanted = { ...config({ db: ['alice'], web: ['dave'] }), nodes: ['alice', 'bob', 'carol', 'dave'] };
    const simulation = simulate(running(), { config: wanted });
    deepEqual(simulation.down, ['web']);
    match(simulation.groups.web?.after?.reason ?? '', /dave is named in the configuration, but has not joined/);
    ok(simulation.warnings.includes('dave is named in the document, but has not joined'));
  });

  test('while its new owner dies goes on to the next', () => {
    const simulation = simulate(running(), { config: config({ db: ['bob', 'carol'] }), down: ['bob'] });
    deepEqual([db(simulation).how, db(simulation).after?.owner], ['moves', 'carol']);
  });

  test('that is the first one starts what it names', () => {
    const desk = new Desk(config({}));
    const { groups } = simulate(desk, { config: config({ db: ['bob'] }) });
    deepEqual([groups.db?.how, groups.db?.after?.owner], ['starts', 'bob']);
  });
});
