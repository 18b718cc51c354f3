import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';
import { brokenClosing, type Closing, parseClosing, renderClosings, withSecondLook } from './closing.ts';

const failure = (name: string, file = '/x/lab.test.ts') => ({ file, name });
const closing = (given: Partial<Closing>): Closing => ({
  passed: 0,
  passes: [],
  failures: [],
  skipped: [],
  late: [],
  ...given,
});

test('what the reporter writes is read: names with colons, skipped with their reasons', () => {
  const said = 'skipped: a: no root\nfailed: /x/lab.test.ts: power: cut\n7 passed, 1 failed, 1 skipped\n';
  deepEqual(parseClosing(said), closing({ passed: 7, failures: [failure('power: cut')], skipped: ['a: no root'] }));
});

test('a text without counts, or whose counts and names differ, is no result', () => {
  equal(parseClosing(''), undefined);
  equal(parseClosing('skipped: a: b\n'), undefined);
  equal(parseClosing('7 passed, 1 failed\n'), undefined);
});

test('several runs end as one line of sums after all names', () => {
  const first = closing({ passed: 3, skipped: ['a: no root'], late: [failure('slow')] });
  const second = brokenClosing('test/vm/*.test.ts', 7);
  equal(
    renderClosings([first, second]),
    [
      'skipped: a: no root',
      'passed in one of two looks: /x/lab.test.ts: slow',
      'failed: the run of test/vm/*.test.ts ended without a result (exit 7)',
      '3 passed, 1 failed, 1 skipped',
      '',
    ].join('\n'),
  );
});

test('a second look: what passes then counts as passed and is named, what fails again fails', () => {
  const first = closing({ passed: 10, failures: [failure('late'), failure('broken')] });
  const again = closing({ passed: 1, passes: [failure('late')], failures: [failure('broken')] });
  deepEqual(
    withSecondLook(first, again),
    closing({ passed: 11, failures: [failure('broken')], late: [failure('late')] }),
  );
});

test('a second look: what fails only then is a failure too', () => {
  const first = closing({ passed: 10, failures: [failure('late')] });
  const again = closing({ passed: 1, passes: [failure('late')], failures: [failure('another')] });
  deepEqual(
    withSecondLook(first, again),
    closing({ passed: 11, failures: [failure('another')], late: [failure('late')] }),
  );
});

test('a second look: what passed at first and fails then has passed once, and is named', () => {
  const first = closing({ passed: 2, passes: [failure('well'), failure('good')], failures: [failure('late')] });
  const again = closing({ passed: 2, passes: [failure('late'), failure('good')], failures: [failure('well')] });
  deepEqual(withSecondLook(first, again), {
    ...first,
    passed: 3,
    failures: [],
    late: [failure('late'), failure('well')],
  });
});

test('a second look: of two tests with one name both have to pass', () => {
  const first = closing({ passed: 1, passes: [failure('twin')], failures: [failure('twin')] });
  const again = closing({ passed: 1, passes: [failure('twin')], failures: [failure('twin')] });
  deepEqual(withSecondLook(first, again).failures, [failure('twin')]);
});

test('a second look: what was not run in it, or passed elsewhere, stays a failure', () => {
  const first = closing({ passed: 10, failures: [failure('late')] });
  deepEqual(withSecondLook(first, closing({})), first);
  deepEqual(withSecondLook(first, closing({ passed: 1, passes: [failure('late', '/x/other.test.ts')] })), first);
  const broken = brokenClosing('/x/lab.test.ts', 1);
  deepEqual(withSecondLook(first, broken).failures, [...first.failures, ...broken.failures]);
});
