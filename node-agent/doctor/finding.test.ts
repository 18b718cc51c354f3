import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doctorText, summary } from '../cli/doctor-text.ts';
import { exitOf, type Finding, type Level, sayer, worst } from './finding.ts';

const paint = (_: string, text: string) => text;
const { ok, error, warning, unknown } = sayer('policy');

for (const [levels, level, exit] of [
  [[], 'ok', 0],
  [['ok', 'ok'], 'ok', 0],
  [['ok', 'unknown'], 'unknown', 3],
  [['unknown', 'warning'], 'warning', 1],
  [['error', 'warning', 'unknown', 'ok'], 'error', 2],
] as const)
  test(`findings of the levels ${levels.join(', ') || '(none)'} end with ${exit}`, () => {
    const findings = levels.map((one: Level): Finding => sayer('agent')[one]('x', 'y'));
    assert.equal(worst(findings), level);
    assert.equal(exitOf(worst(findings)), exit);
  });

test('the text groups by check, prints a shared fix once, and never lets control characters through', () => {
  const fix = 'put this:\nallow:\n  service: [a.service]';
  const findings = [
    error('web/a', 'not \u001b[31mallowed', fix),
    error('web/b', 'nor this', fix),
    sayer('agent').ok('agent', 'runs'),
  ];
  assert.equal(
    doctorText(['node alice'], findings, { paint }),
    `node alice

policy
  ERROR    web/a: not ?[31mallowed
  ERROR    web/b: nor this
           fix: put this:
                allow:
                  service: [a.service]

agent
  ok       agent: runs

2 errors, 1 in order`,
  );
});

test('the summary counts what is wrong and what nobody knows', () => {
  assert.equal(summary([ok('a', 'b')]), 'nothing is wrong (1 finding)');
  assert.equal(
    summary([ok('a', 'b'), warning('a', 'b'), unknown('a', 'b')]),
    '1 warning, 1 could not be looked at, 1 in order',
  );
});
