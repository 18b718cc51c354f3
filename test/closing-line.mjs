/**
 * Test reporter: at the end one plain line, `N passed, N failed, N skipped`, after the names of what was skipped and why.
 * Suites are not counted, only tests. With HOLDFAST_TELL_PASSED in the environment what passed is named, too, suites among it.
 */
export default async function* closingLine(source) {
  let passed = 0;
  let failed = 0;
  const passes = [];
  const skipped = [];
  const failures = [];
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, skip, todo, details, file } = event.data;
    const reason = skip ?? todo;
    const isSuite = details?.type === 'suite';
    if (event.type === 'test:fail') {
      // a failing suite repeats the failure of its tests, unless it is its own set-up that failed
      if (isSuite && details?.error?.failureType === 'subtestsFailed') continue;
      failed += 1;
      failures.push(`${file ?? ''}: ${name}`);
    } else if (reason !== undefined)
      skipped.push(`${name}: ${reason === true || reason === '' ? 'no reason given' : reason}`);
    else {
      if (!isSuite) passed += 1;
      passes.push(`${file ?? ''}: ${name}`);
    }
  }
  if (process.env.HOLDFAST_TELL_PASSED !== undefined) for (const line of passes) yield `passed: ${line}\n`;
  for (const line of skipped) yield `skipped: ${line}\n`;
  for (const line of failures) yield `failed: ${line}\n`;
  yield `${passed} passed, ${failed} failed${skipped.length === 0 ? '' : `, ${skipped.length} skipped`}\n`;
}
