/**
 * The `holdfast` executable: agent, command line and coordinator host in one. What is not needed is not loaded: `--version` loads
 * nothing, the agent does not load the command line.
 */
import { CliError, errorText } from './cli/exit.ts';
import { VERSION } from './version.ts';

async function main(args: readonly string[]): Promise<number> {
  const [first, ...rest] = args;
  if (args.length === 1 && (first === '--version' || first === '-V')) {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  if (first === 'agent') {
    const { agentOptions, startAgent } = await import('./cli/agent.ts');
    const options = agentOptions(rest);
    if (options !== undefined) return await startAgent(options);
  }
  const [{ run }, { processIo }] = await Promise.all([import('./cli/program.ts'), import('./cli/io.ts')]);
  const code = await run(args, processIo());
  // a shell waits for the end of this process: a name server that does not answer must not keep it
  if (first === 'complete') process.exit(code);
  return code;
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Whoever read our output has seen enough (`holdfast events | head`).
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  async (error: unknown) => {
    const { journalReads } = await import('./system/index.ts');
    // the journal takes a priority at the beginning of each line
    const say = (text: string) => process.stderr.write(`${journalReads() ? text.replaceAll(/^/gm, '<3>') : text}\n`);
    if (error instanceof CliError) {
      say(errorText(error));
      process.exitCode = error.exit;
    } else {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      say(`Error: this is a mistake in Holdfast itself, please report it.\n${text}`);
      process.exitCode = 70;
    }
  },
);
