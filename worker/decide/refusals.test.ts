/** What a node refuses to run: told once, and again only when it is news. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { REFUSAL_FORGET_MS } from '../../schemas/limits.ts';
import { Desk } from './testing.ts';

describe('refusals of a node', () => {
  const refusal = { group: 'db', resource: 'ip', reason: 'policy.yaml:3' };

  test('are told once, stand against it, and their end is told', () => {
    const desk = new Desk();
    desk.hears('alice', { refusals: [refusal] });
    deepEqual(desk.kinds, ['node.refuses']);
    desk.hears('alice', { refusals: [refusal] });
    deepEqual(desk.kinds, []);
    deepEqual(desk.claims('alice').grants, []);
    match(
      desk.hears('alice', { claims: [{ group: 'db', renewal: null, seenForMs: 0 }] }).refused[0]?.reason ?? '',
      /policy/,
    );
    desk.hears('alice', { refusals: [] });
    deepEqual(desk.kinds, ['node.accepts']);
    equal(desk.claims('alice').grants.length, 1);
  });
});

describe('refusals that take turns', () => {
  const by = (reason: string) => ({ refusals: [{ group: 'db', resource: 'ip', reason }] });
  const told = (desk: Desk) => desk.events.filter(({ kind }) => kind === 'node.refuses').map(({ detail }) => detail);

  test('are told once each, however often they change', () => {
    const desk = new Desk();
    const all: string[] = [];
    for (let turn = 0; turn < 200; turn++) {
      desk.hears('alice', by(turn % 2 === 0 ? 'busy' : 'timed out'));
      all.push(...told(desk));
      desk.passes(5_000);
    }
    deepEqual(all, ['busy', 'timed out']);
    deepEqual(desk.state.durable.nodes.alice?.refusals, by('timed out').refusals, 'the present one stands');
    desk.hears('alice', by('no such device'));
    deepEqual(told(desk), ['no such device']);
  });

  test('are told again after a while, or when nothing was refused meanwhile', () => {
    const desk = new Desk();
    desk.hears('alice', by('busy'));
    desk.passes(REFUSAL_FORGET_MS);
    desk.hears('alice', by('timed out'));
    desk.hears('alice', by('busy'));
    deepEqual(told(desk), [], 'it stood until a moment ago');
    desk.passes(REFUSAL_FORGET_MS);
    desk.hears('alice', by('timed out'));
    deepEqual(told(desk), ['timed out']);
    desk.hears('alice', { refusals: [] });
    desk.hears('alice', by('timed out'));
    deepEqual(told(desk), ['timed out']);
  });

  test('of one node are no news of another', () => {
    const desk = new Desk();
    desk.hears('alice', by('busy'));
    desk.hears('bob', by('busy'));
    deepEqual(told(desk), ['busy']);
  });
});
