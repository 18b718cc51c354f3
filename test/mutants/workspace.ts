/**
 * A copy of the product in a temporary directory, in which a mutant can be tried: its source is changed, one test is run, and the source
 * is as it was before. What a test leaves behind that had to be killed goes with the directory.
 */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { endGroup, endStrays, removeLeftovers } from './leftovers.ts';
import { type Check, type Edit, editsOf, type Mutant, occurrences } from './mutant.ts';
import type { Ended } from './reporter.ts';

export const root = resolve(import.meta.dirname, '../..');

/** What tests need of the tree. */
const COPIED = ['node-agent', 'schemas', 'worker', 'test', 'package.json', 'tsconfig.base.json', 'wrangler.toml'];

/** How long one run may take: a test of the guard compiles it first, on a machine that may be busy. */
const RUN_MS = 90_000;

export interface Run {
  readonly ended: readonly Ended[];
  readonly ms: number;
  /** It was killed at its time limit. */
  readonly overtime: boolean;
  /** The end of what it wrote, for a person. */
  readonly output: string;
}

export type Verdict =
  /** The test failed, as it must; or it did not come to its end. */
  | { readonly is: 'killed'; readonly why: string }
  | { readonly is: 'survived' }
  /** The text to be replaced is not there, or more than once. */
  | { readonly is: 'does not apply'; readonly why: string }
  /** The test could not be run with it, which proves nothing. */
  | { readonly is: 'does not run'; readonly why: string };

export class Workspace {
  readonly directory: string;

  /** @param of the tree that is copied. */
  constructor(of: string = root) {
    this.directory = mkdtempSync(join(tmpdir(), 'holdfast-mutants-'));
    for (const name of COPIED) cpSync(join(of, name), join(this.directory, name), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(this.directory, 'node_modules'));
    mkdirSync(this.#temporary);
  }

  get #temporary(): string {
    return join(this.directory, 'tmp');
  }

  remove(): void {
    endStrays(this.directory);
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Tries a mutant. Nothing of it is left afterwards. */
  async try(mutant: Mutant): Promise<{ readonly verdict: Verdict; readonly run?: Run }> {
    const [file, test] = mutant.check;
    const before = new Map<string, string>();
    try {
      for (const edit of editsOf(mutant)) {
        const path = join(this.directory, edit.file);
        const source = existsSync(path) ? readFileSync(path, 'utf8') : '';
        const why = problemOf(edit, source);
        if (why !== undefined) return { verdict: { is: 'does not apply', why } };
        if (!before.has(path)) before.set(path, source);
        writeFileSync(
          path,
          source.replace(edit.find, () => edit.replace),
        );
      }
      const run = await this.run(file, [test]);
      return { verdict: judge(run, test), run };
    } finally {
      for (const [path, source] of before) writeFileSync(path, source);
    }
  }

  /** Runs those tests of a file whose name holds one of these texts. */
  async run(file: string, tests: readonly string[]): Promise<Run> {
    const report = join(this.#temporary, 'report.jsonl');
    rmSync(report, { force: true });
    // of the run that this is part of, which would have the test report to it
    const { NODE_TEST_CONTEXT: _outer, ...env } = process.env;
    const child = spawn(
      process.execPath,
      [
        `--test-reporter=${join(this.directory, 'test/mutants/reporter.ts')}`,
        `--test-reporter-destination=${report}`,
        ...tests.map((test) => `--test-name-pattern=${escaped(test)}`),
        join(this.directory, file),
      ],
      {
        cwd: this.directory,
        // a process group of its own, so that all of it can be ended
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        // what is not the mutant’s is compiled once
        env: { ...env, TMPDIR: this.#temporary, NODE_COMPILE_CACHE: join(this.directory, 'compiled'), NO_COLOR: '1' },
      },
    );
    const started = performance.now();
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-8_000);
      });
    let overtime = false;
    const timer = setTimeout(() => {
      overtime = true;
      endGroup(child.pid);
      // whoever still writes to it would be waited for
      endStrays(this.directory);
    }, RUN_MS);
    await new Promise((done) => child.once('close', done));
    clearTimeout(timer);
    if (overtime) removeLeftovers(child.pid);
    const lines = existsSync(report) ? readFileSync(report, 'utf8').split('\n') : [];
    const ended = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Ended);
    return { ended, ms: Math.round(performance.now() - started), overtime, output };
  }
}

/** @returns why the edit cannot be made. */
export function problemOf({ file, find, replace }: Edit, source: string): string | undefined {
  if (source === '') return `there is no ${file}`;
  const times = occurrences(source, find);
  if (times !== 1) return `its text occurs ${times === 0 ? 'nowhere' : `${times} times`} in ${file}`;
  return find === replace ? 'it changes nothing' : undefined;
}

/** Is this the test, or part of its name? */
const isOf =
  (test: string) =>
  ({ suite, name }: Ended) =>
    !suite && name.includes(test);

function judge({ ended, overtime, output }: Run, test: string): Verdict {
  const found = ended.filter(isOf(test));
  const failed = found.filter(({ ok }) => !ok);
  const proof = failed.find(isProof);
  if (proof !== undefined) return { is: 'killed', why: proof.error?.split('\n')[0] ?? 'it failed' };
  if (overtime) return { is: 'killed', why: notEnded };
  if (failed.length === 0 && found.some(({ skipped }) => !skipped)) return { is: 'survived' };
  return { is: 'does not run', why: failed[0]?.error ?? lastLines(output) };
}

const notEnded = `it had not come to its end after ${RUN_MS / 1_000} s`;

/** A test that is not even reached (a guard that does not compile), or a mutant that is no program, proves nothing. */
function isProof({ failure, error }: Ended): boolean {
  const own = failure === 'testCodeFailure' || failure === 'testTimeoutFailure' || failure === 'uncaughtException';
  return own && !/^ReferenceError/.test(error ?? '');
}

/** @returns why these tests do not all pass, which they have to before any mutant is tried; undefined if they do. */
export function unsound({ ended, overtime, output }: Run, tests: readonly string[]): string | undefined {
  if (overtime) return notEnded;
  const failed = ended.find(({ ok }) => !ok);
  if (failed !== undefined) return `“${failed.name}” fails: ${failed.error}`;
  for (const test of tests) {
    const found = ended.filter(isOf(test));
    if (found.length === 0) return `there is no test “${test}”${ended.length === 0 ? `: ${lastLines(output)}` : ''}`;
    if (found.some(({ skipped }) => skipped)) return `“${test}” is skipped on this machine`;
  }
  return undefined;
}

/** The tests, by file. */
export function checksOf(checks: readonly Check[]): Map<string, readonly string[]> {
  const found = new Map<string, Set<string>>();
  for (const { file, test } of checks) found.set(file, (found.get(file) ?? new Set()).add(test));
  return new Map([...found].map(([file, tests]) => [file, [...tests]]));
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

function lastLines(output: string): string {
  return output.trim().split('\n').slice(-8).join(' | ');
}
