import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';
import type { Copy } from '../../schemas/copies.ts';
import type { GroupReport } from '../../schemas/wire.ts';
import { Journal } from './journal.ts';
import { Reporting } from './reporting.ts';
import { copyFacts } from './testing.ts';

const told = (state: GroupReport['state']): GroupReport => ({ group: 'db', epoch: 1, state, forMs: 0, resources: [] });

test('what a group tells is told until it is answered, and again to a coordinator that started anew', () => {
  const reporting = new Reporting(new Journal(() => 0));
  deepEqual(reporting.next('r1', [told('running')], [], null).groups, [told('running')]);
  deepEqual(reporting.next('r2', [told('running')], [], null).groups, [told('running')]);
  reporting.answered('r2', false);
  equal(reporting.next('r3', [told('running')], [], null).groups, undefined);
  reporting.answered('r3', true);
  deepEqual(reporting.next('r4', [told('running')], [], null).groups, [told('running')]);
});

test('a copy of an old report that reaches a new instance first does not stand for ever', () => {
  const reporting = new Reporting(new Journal(() => 0));
  reporting.next('r1', [told('starting')], [], null);
  reporting.answered('r1', false);
  reporting.next('r2', [told('running')], [], null);
  reporting.answered('r2', false);
  // the copy of r1 was delayed, and its answer is the first of the new instance
  reporting.answered('r1', true);
  deepEqual(reporting.next('r3', [told('running')], [], null).groups, [told('running')]);
});

test('copies of replicated data are told until they are acknowledged, when they change, and when that is asked for', () => {
  const reporting = new Reporting(new Journal(() => 0));
  const copy = (disk: string): Copy => ({ group: 'db', resource: 'drbd-r0', ...copyFacts(disk) });
  const next = (id: string, ...disks: string[]) => reporting.next(id, [], [], null, disks.map(copy)).copies;
  equal(next('r0'), undefined, 'a node without any says nothing');
  deepEqual(next('r1', 'UpToDate'), [copy('UpToDate')]);
  deepEqual(next('r2', 'UpToDate'), [copy('UpToDate')]);
  reporting.answered('r2', false);
  equal(next('r3', 'UpToDate'), undefined);
  deepEqual(next('r4', 'Outdated'), [copy('Outdated')]);
  reporting.answered('r1', false);
  deepEqual(next('r5', 'Outdated'), [copy('Outdated')], 'an answer to an older report does not acknowledge the newer');
  reporting.answered('r5', false);
  reporting.tellCopies();
  deepEqual(next('r6', 'Outdated'), [copy('Outdated')]);
  reporting.answered('r6', false);
  deepEqual(next('r7'), [], 'none any more');
  reporting.answered('r7', true);
});

test('the fuse of the node is told until it is acknowledged, when it changes, and to a coordinator that started anew', () => {
  const reporting = new Reporting(new Journal(() => 0));
  const watchdog = { kind: 'watchdog', timeoutMs: 1_000 } as const;
  deepEqual(reporting.next('r1', [], [], null, [], watchdog).fuse, watchdog);
  equal(reporting.fuseIsKnown(watchdog), false);
  reporting.answered('r1', false);
  equal(reporting.next('r2', [], [], null, [], watchdog).fuse, undefined);
  deepEqual(reporting.next('r3', [], [], null, [], { kind: 'guard' }).fuse, { kind: 'guard' });
  reporting.answered('r2', true);
  deepEqual(reporting.next('r4', [], [], null, [], watchdog).fuse, watchdog);
});
