/** `completion`: a script for bash that knows every command and option of this version. */
import type { Command } from 'commander';
import { CliError, EXIT } from './exit.ts';
import type { Register } from './setting.ts';

/** Words that may follow a command: its commands and options. `path` is `''`, `node`, `node token` and so on. */
function wordsOf(command: Command, path: string, globals: readonly string[]): [string, readonly string[]][] {
  const visible = command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== 'help');
  const options = command.options.filter((option) => !option.hidden).map((option) => option.long ?? option.flags);
  const words = [...visible.map((child) => child.name()), ...options, ...globals];
  const below = visible.flatMap((child) => wordsOf(child, `${path} ${child.name()}`.trim(), globals));
  return [[path, [...new Set(words)]], ...below];
}

export function bashCompletion(program: Command): string {
  const globals = [...program.options.map((option) => option.long ?? option.flags), '--help'];
  const cases = wordsOf(program, '', globals).map(([path, words]) => `    "${path}") words="${words.join(' ')}" ;;`);
  return `# bash completion of holdfast: source <(holdfast completion bash)
_holdfast() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" words="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ "$word" == -* ]] && continue
    path="\${path:+$path }$word"
  done
  case "$path" in
${cases.join('\n')}
  esac
  if [[ -n "$words" ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _holdfast holdfast`;
}

export const registerCompletion: Register = (program, io) => {
  program
    .command('completion')
    .argument('<shell>', 'bash')
    .description('Print a completion script')
    .addHelpText('after', '\nExample: source <(holdfast completion bash)')
    .action((shell: string) => {
      if (shell !== 'bash')
        throw new CliError(EXIT.usage, `there is no completion for ${shell} in this version`, {
          next: 'holdfast completion bash',
        });
      io.data(bashCompletion(program));
    });
};
