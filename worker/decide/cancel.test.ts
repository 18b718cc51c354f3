import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Operation } from '../../schemas/api.ts';
import { Desk } from './testing.ts';

function running(kind: 'move' | 'stop' | 'start' | 'standby'): Desk {
  const desk = new Desk();
  desk.runsOn('alice');
  const operation = 'op';
  if (kind === 'move') desk.does({ type: 'move', group: 'db', to: 'bob', operation });
  else if (kind === 'standby') desk.does({ type: 'node-standby', node: 'alice', operation });
  else desk.does({ type: kind === 'stop' ? 'group-stop' : 'group-start', group: 'db', operation });
  return desk;
}

const ended = (desk: Desk): Operation | undefined =>
  desk.effects.flatMap((effect) => (effect.kind === 'operation' ? [effect.operation] : [])).at(-1);
const orderOf = (desk: Desk) => {
  const [lease] = desk.renews('alice', 1).leases;
  return lease?.verdict === 'renewed' ? lease.order : lease?.verdict;
};
const cancel = (desk: Desk) => desk.does({ type: 'cancel', operation: 'op' });

describe('what is taken back before the owner has let go', () => {
  for (const kind of ['move', 'stop', 'standby'] as const)
    test(`${kind}: the owner is ordered to release, then to run on`, () => {
      const desk = running(kind);
      equal(orderOf(desk), 'release');
      equal(cancel(desk).refused, undefined);
      deepEqual([ended(desk)?.state, ended(desk)?.kind], ['cancelled', kind]);
      deepEqual(desk.state.durable.operations, {});
      ok(desk.kinds.includes('operation.finished'));
      equal(orderOf(desk), 'run');
    });
});

describe('what is taken back when the owner has let go', () => {
  for (const kind of ['move', 'stop'] as const)
    test(`${kind}: the group goes where it would by itself`, () => {
      const desk = running(kind);
      desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
      if (kind === 'stop') {
        equal(ended(desk)?.state, 'succeeded');
        match(cancel(desk).refused?.detail ?? '', /no operation op is running/);
        return;
      }
      equal(cancel(desk).refused, undefined);
      match(ended(desk)?.progress ?? '', /where it would by itself/);
      equal(desk.claims('alice').grants[0]?.epoch, 2, 'the first of its list again');
    });
});

describe('what cannot be taken back is refused, and goes on', () => {
  test('a move that has arrived', () => {
    const desk = running('move');
    desk.hears('alice', { releases: [{ group: 'db', epoch: 1 }] });
    desk.claims('bob');
    match(cancel(desk).refused?.detail ?? '', /has arrived on bob; `holdfast move db` moves it on/);
    equal(desk.state.durable.operations.op?.state, 'running');
  });

  test('a start', () => {
    const desk = new Desk();
    desk.does({ type: 'group-stop', group: 'db', operation: 'o1' });
    desk.does({ type: 'group-start', group: 'db', operation: 'op' });
    match(cancel(desk).refused?.detail ?? '', /`holdfast group stop db` stops it/);
    equal(desk.state.durable.operations.op?.state, 'running');
  });

  test('what never was', () => {
    equal(new Desk().does({ type: 'cancel', operation: 'op' }).refused?.code, 'operation-unknown');
  });
});
