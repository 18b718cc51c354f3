import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { guardArguments, resetChoice, resetFileText } from './reset-choice.ts';

test('a choice reaches the guard as it was made', () => {
  const cases: [string, string | undefined, string[]][] = [
    ['none', undefined, []],
    ['sysrq', undefined, ['--reset=sysrq']],
    ['watchdog', undefined, ['--reset=watchdog']],
    ['watchdog', '/dev/watchdog1', ['--reset=watchdog', '--watchdog=/dev/watchdog1']],
  ];
  for (const [reset, device, expected] of cases) {
    const choice = resetChoice(reset, device);
    ok(!('problem' in choice));
    deepEqual(guardArguments(choice), expected);
    equal(/^HOLDFAST_RESET_OPTIONS="(.*)"$/m.exec(resetFileText(choice))?.[1], expected.join(' '));
  }
});

test('what is no choice is refused with the option, the reason and what it may be', () => {
  const problem = (reset: string, device?: string) => {
    const choice = resetChoice(reset, device);
    return 'problem' in choice ? choice.problem : '';
  };
  match(problem('reboot'), /--reset=reboot: it must be none, watchdog or sysrq/);
  match(problem('none', '/dev/watchdog'), /--watchdog \/dev\/watchdog needs --reset=watchdog/);
  match(problem('watchdog', 'watchdog1'), /must be the absolute path/);
  match(problem('watchdog', '/dev/wd" --state-dir /tmp'), /must be the absolute path/);
});
