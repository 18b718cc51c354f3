/** What a run of tests ended with: the lines that test/closing-line.mjs writes, read, put together and written again. */

export interface Closing {
  readonly passed: number;
  /** Only from a run that was asked to name them. */
  readonly passes: readonly TestName[];
  readonly failures: readonly Failure[];
  /** What was skipped, each with its reason. */
  readonly skipped: readonly string[];
  /** Failed in one of two looks, and passed in the other. Counted as passed; the reason is that of the look that failed. */
  readonly late: readonly Failure[];
}

export interface TestName {
  /** Path of the test file; empty where the runner does not know it. */
  readonly file: string;
  readonly name: string;
}

export interface Failure extends TestName {
  /** The beginning of what was thrown, on one line; empty when nothing is known of it. */
  readonly reason: string;
}

const COUNTS = /^(\d+) passed, (\d+) failed(?:, \d+ skipped)?$/;
/** Begins the line after a failure. */
const BECAUSE = '  because ';

/** @returns undefined when the text has no counts: the run ended without a result. */
export function parseClosing(text: string): Closing | undefined {
  const lines = text.trimEnd().split('\n');
  const [, passed, failed] = COUNTS.exec(lines.at(-1) ?? '') ?? [];
  if (passed === undefined) return undefined;
  const after = (start: string) =>
    lines.filter((line) => line.startsWith(start)).map((line) => line.slice(start.length));
  const failures = lines.flatMap((line, index): Failure[] => {
    if (!line.startsWith('failed: ')) return [];
    const next = lines[index + 1] ?? '';
    return [
      { ...nameIn(line.slice('failed: '.length)), reason: next.startsWith(BECAUSE) ? next.slice(BECAUSE.length) : '' },
    ];
  });
  if (failures.length !== Number(failed)) return undefined;
  const passes = after('passed: ').map(nameIn);
  return { passed: Number(passed), passes, failures, skipped: after('skipped: '), late: [] };
}

function nameIn(said: string): TestName {
  const at = said.indexOf(': ');
  return { file: said.slice(0, at), name: said.slice(at + 2) };
}

/** A run that ended without a result, or badly although nothing in it failed, as the one failure that it is. */
export function brokenClosing(what: string, code: number, said?: Closing): Closing {
  const failure = { file: '', name: `the run of ${what} ended without a result (exit ${code})`, reason: '' };
  return {
    passed: said?.passed ?? 0,
    passes: said?.passes ?? [],
    failures: [...(said?.failures ?? []), failure],
    skipped: said?.skipped ?? [],
    late: [],
  };
}

/**
 * The files with failures in `first` were run again, whole.
 * @param again what came of it; both with the names of what passed. A test that passed in either is no failure any more.
 */
export function withSecondLook(first: Closing, again: Closing): Closing {
  const countIn = (list: readonly TestName[], one: TestName) =>
    list.filter(({ file, name }) => file === one.file && name === one.name).length;
  // of several tests with one name all have to pass
  const runs = (one: TestName) => countIn(first.passes, one) + countIn(first.failures, one);
  const late = first.failures.filter(
    (one) => countIn(again.passes, one) >= runs(one) && countIn(again.failures, one) === 0,
  );
  const still = first.failures.filter((one) => countIn(late, one) === 0);
  const onlyThen = again.failures.filter((one) => countIn(first.failures, one) === 0);
  const once = onlyThen.filter((one) => countIn(first.passes, one) > 0);
  return {
    ...first,
    passed: first.passed + late.length,
    failures: [...still, ...onlyThen.filter((one) => countIn(once, one) === 0)],
    late: [...first.late, ...late, ...once],
  };
}

/** Several runs as one: the names of all that did not simply pass, then one line with the sums. */
export function renderClosings(closings: readonly Closing[]): string {
  const failures = closings.flatMap((closing) => closing.failures);
  const skipped = closings.flatMap((closing) => closing.skipped);
  const late = closings.flatMap((closing) => closing.late);
  const passed = closings.reduce((sum, closing) => sum + closing.passed, 0);
  const named = ({ file, name, reason }: Failure) =>
    `${file === '' ? name : `${file}: ${name}`}${reason === '' ? '' : `\n${BECAUSE}${reason}`}`;
  const lines = [
    ...skipped.map((line) => `skipped: ${line}`),
    ...late.map((failure) => `passed in one of two looks: ${named(failure)}`),
    ...failures.map((failure) => `failed: ${named(failure)}`),
    `${passed} passed, ${failures.length} failed${skipped.length === 0 ? '' : `, ${skipped.length} skipped`}`,
  ];
  return `${lines.join('\n')}\n`;
}
