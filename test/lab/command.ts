import { spawn } from 'node:child_process';

/** How a program ended and what it wrote. `code` is null when a signal ended it. */
export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  input?: string;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
}

/** Runs a short program of this machine to its end. Not for programs that leave a daemon on their standard output. */
export function run(argv: readonly string[], options: CommandOptions = {}): Promise<Finished> {
  const [program, ...rest] = argv;
  if (program === undefined) throw new TypeError('run: empty argv');
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, { cwd: options.cwd, env: options.env ?? process.env, stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.stdin.on('error', () => {
      // The program ended without reading all of its input; its exit code tells the story.
    });
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
    child.stdin.end(options.input ?? '');
  });
}

/** As `run`, but anything other than exit code 0 throws, with what the program said. Returns its standard output. */
export async function mustRun(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const done = await run(argv, options);
  if (done.code !== 0) {
    throw new Error(`${argv.join(' ')} failed (${done.signal ?? done.code}): ${(done.stderr || done.stdout).trim()}`);
  }
  return done.stdout;
}
