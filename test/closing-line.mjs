import { resolve } from 'node:path';

/**
 * Test reporter: at the end one plain line, `N passed, N failed, N skipped`, after the names of what was skipped and of what failed, each with its reason.
 * A failure goes by the test file that ran, not by the helper in which its test is written: the file is what can be run again. So files
 * have to run one after the other (`--test-concurrency=1`). Suites are not counted, only tests.
 * With HOLDFAST_TELL_PASSED in the environment what passed is named, too, suites among it.
 */
export default async function* closingLine(source) {
  let running = '';
  let passed = 0;
  let failed = 0;
  const passes = [];
  const skipped = [];
  const failures = [];
  for await (const event of source) {
    // the runner announces each file as a test that has the path it was given as its name
    if (event.type === 'test:dequeue' && event.data.nesting === 0 && resolve(event.data.name) === event.data.file)
      running = event.data.file;
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, skip, todo, details, file } = event.data;
    const at = `${running === '' ? (file ?? '') : running}: ${name}`;
    const reason = skip ?? todo;
    const isSuite = details?.type === 'suite';
    if (event.type === 'test:fail') {
      // a failing suite repeats the failure of its tests, unless it is its own set-up that failed
      if (isSuite && details?.error?.failureType === 'subtestsFailed') continue;
      failed += 1;
      failures.push({ at, reason: reasonOf(details?.error) });
    } else if (reason !== undefined)
      skipped.push(`${name}: ${reason === true || reason === '' ? 'no reason given' : reason}`);
    else {
      if (!isSuite) passed += 1;
      passes.push(at);
    }
  }
  if (process.env.HOLDFAST_TELL_PASSED !== undefined) for (const line of passes) yield `passed: ${line}\n`;
  for (const line of skipped) yield `skipped: ${line}\n`;
  for (const { at, reason } of failures) yield `failed: ${at}\n${reason === '' ? '' : `  because ${reason}\n`}`;
  yield `${passed} passed, ${failed} failed${skipped.length === 0 ? '' : `, ${skipped.length} skipped`}\n`;
}

/** The beginning of what was thrown, on one line: the whole of it, logs and all, is in the output where the test ended. */
function reasonOf(error) {
  const thrown = error?.cause ?? error;
  const message = String(thrown?.message ?? thrown ?? '');
  const lines = message
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const said = lines.slice(0, 12).join(' | ');
  return said.length > 500 ? `${said.slice(0, 500)} …` : said;
}
