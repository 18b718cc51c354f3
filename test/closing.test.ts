import { deepEqual, equal } from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { brokenClosing, type Closing, parseClosing, renderClosings, withSecondLook } from './closing.ts';

const failure = (name: string, reason = '') => ({ file: '/x/lab.test.ts', name, reason });
const pass = (name: string, file = '/x/lab.test.ts') => ({ file, name });
const closing = (given: Partial<Closing>): Closing => ({
  passed: 0,
  passes: [],
  failures: [],
  skipped: [],
  late: [],
  ...given,
});

test('what the reporter writes is read: names with colons, skipped with their reasons', () => {
  const said = [
    'passed: /x/lab.test.ts: power: on',
    'skipped: a: no root',
    'failed: /x/lab.test.ts: power: cut',
    '  because no answer: 5 s',
    'failed: /x/lab.test.ts: cable',
    '7 passed, 2 failed, 1 skipped\n',
  ].join('\n');
  const read = closing({
    passed: 7,
    passes: [pass('power: on')],
    failures: [failure('power: cut', 'no answer: 5 s'), failure('cable')],
    skipped: ['a: no root'],
  });
  deepEqual(parseClosing(said), read);
});

test('a text without counts, or whose counts and names differ, is no result', () => {
  equal(parseClosing(''), undefined);
  equal(parseClosing('skipped: a: b\n'), undefined);
  equal(parseClosing('7 passed, 1 failed\n'), undefined);
});

test('several runs end as one line of sums after all names', () => {
  const first = closing({ passed: 3, skipped: ['a: no root'], late: [failure('slow', 'no answer')] });
  const second = brokenClosing('test/vm/*.test.ts', 7);
  equal(
    renderClosings([first, second]),
    [
      'skipped: a: no root',
      'passed in one of two looks: /x/lab.test.ts: slow',
      '  because no answer',
      'failed: the run of test/vm/*.test.ts ended without a result (exit 7)',
      '3 passed, 1 failed, 1 skipped',
      '',
    ].join('\n'),
  );
});

test('a second look: what passes then counts as passed and is named, what fails again fails', () => {
  const first = closing({ passed: 10, failures: [failure('late'), failure('broken')] });
  const again = closing({ passed: 1, passes: [pass('late')], failures: [failure('broken')] });
  deepEqual(
    withSecondLook(first, again),
    closing({ passed: 11, failures: [failure('broken')], late: [failure('late')] }),
  );
});

test('a second look: what fails only then is a failure too', () => {
  const first = closing({ passed: 10, failures: [failure('late')] });
  const again = closing({ passed: 1, passes: [pass('late')], failures: [failure('another')] });
  deepEqual(
    withSecondLook(first, again),
    closing({ passed: 11, failures: [failure('another')], late: [failure('late')] }),
  );
});

test('a second look: what passed at first and fails then has passed once, and is named', () => {
  const first = closing({ passed: 2, passes: [pass('well'), pass('good')], failures: [failure('late')] });
  const again = closing({ passed: 2, passes: [pass('late'), pass('good')], failures: [failure('well')] });
  deepEqual(withSecondLook(first, again), {
    ...first,
    passed: 3,
    failures: [],
    late: [failure('late'), failure('well')],
  });
});

test('a second look: of two tests with one name both have to pass', () => {
  const first = closing({ passed: 1, passes: [pass('twin')], failures: [failure('twin')] });
  const again = closing({ passed: 1, passes: [pass('twin')], failures: [failure('twin')] });
  deepEqual(withSecondLook(first, again).failures, [failure('twin')]);
  const skipped = closing({ passed: 1, passes: [pass('twin')] });
  deepEqual(withSecondLook(first, skipped).failures, [failure('twin')], 'nor when one of them was not run');
});

test('a second look: what was not run in it, or passed elsewhere, stays a failure', () => {
  const first = closing({ passed: 10, failures: [failure('late')] });
  deepEqual(withSecondLook(first, closing({})), first);
  deepEqual(withSecondLook(first, closing({ passed: 1, passes: [pass('late', '/x/other.test.ts')] })), first);
  const broken = brokenClosing('/x/lab.test.ts', 1);
  deepEqual(withSecondLook(first, broken).failures, [...first.failures, ...broken.failures]);
});

test('a failure goes by the file that ran, not by the helper that has the test, and tells why', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-closing-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const write = (name: string, text: string) => writeFileSync(join(dir, name), text);
  write('helper.mjs', `import { test } from 'node:test';\nexport const shared = (name, body) => test(name, body);\n`);
  for (const [name, failing] of [
    ['a', 'well'],
    ['b', 'ill'],
  ])
    write(
      `${name}.test.mjs`,
      `import { shared } from './helper.mjs';\nshared('one', () => { if ('${failing}' === 'ill') throw new Error('first\\n\\nsecond'); });\n`,
    );
  const report = join(dir, 'closing');
  // without the mark of the run that it is part of, which would have the files report to that
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const ran = spawnSync(
    process.execPath,
    [
      '--test',
      '--test-concurrency=1',
      `--test-reporter=${join(import.meta.dirname, 'closing-line.mjs')}`,
      `--test-reporter-destination=${report}`,
      // as test/run.ts has them
      '*.test.mjs',
    ],
    { cwd: dir, env: { ...env, HOLDFAST_TELL_PASSED: '1' } },
  );
  equal(ran.status, 1);
  const [a, b] = ['a', 'b'].map((name) => join(dir, `${name}.test.mjs`));
  deepEqual(
    parseClosing(readFileSync(report, 'utf8')),
    closing({
      passed: 1,
      passes: [{ file: a ?? '', name: 'one' }],
      failures: [{ file: b ?? '', name: 'one', reason: 'first | second' }],
    }),
  );
});
