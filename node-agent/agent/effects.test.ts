import { deepEqual } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bootMs, silent } from '../system/index.ts';
import { Effects, type EffectsOptions } from './effects.ts';
import type { KeepEvent, KeepState } from './keep.ts';
import { heldLease, Keeper } from './testing.ts';

/** Around a keeper that holds `db` so, with a fuse that notes what it is to forget. */
function around(held: Parameters<typeof heldLease>[0]) {
  const forgotten: string[] = [];
  const events: KeepEvent['type'][] = [];
  const state: KeepState = { ...new Keeper().state, held: { db: heldLease(held) } };
  const fuse = { forgetFired: async (group: string, epoch: number) => void forgotten.push(`${group} ${epoch}`) };
  const options = {
    fuse,
    log: silent,
    keep: () => state,
    decide: (event: KeepEvent) => events.push(event.type),
  } as unknown as EffectsOptions; // what is tested here reaches none of the others, which are whole machines
  return { effects: new Effects(options), forgotten, events };
}

describe('what cannot be stopped', () => {
  test('is left to the fuse while that has not acted', () => {
    for (const phase of ['active', 'stuck', 'lost'] as const) {
      const { effects, forgotten, events } = around({ epoch: 3, deadlineMs: bootMs() + 1_000, phase });
      effects.onStuck('db');
      deepEqual([forgotten, events], [[], ['stuck', 'news']]);
    }
  });

  test('of a lease whose fuse has acted: the guard is to forget it, or it would end every look at what is left', () => {
    const { effects, forgotten } = around({ epoch: 3, deadlineMs: bootMs() - 10, phase: 'lost' });
    effects.onStuck('db');
    effects.onStuck('db');
    deepEqual(forgotten, ['db 3', 'db 3'], 'as often as it fails: what the guard found held may be gone by now');
  });
});
