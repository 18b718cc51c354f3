/**
 * What is wanted at the end of an unfinished command line: a command, an option, the value of one, or an argument. Pure: it knows
 * the program and the words, and nothing of any cluster.
 */
import type { Argument, Command, Option } from 'commander';

export type Wanted =
  | { readonly kind: 'command' }
  | { readonly kind: 'option' }
  | { readonly kind: 'value'; readonly option: Option }
  | { readonly kind: 'argument'; readonly argument: Argument };

export interface Line {
  /** The command that the words lead to. */
  readonly command: Command;
  readonly wanted: Wanted;
  /** What of the last word is settled: `--to=` of `--to=bo`. */
  readonly prefix: string;
  /** What of the last word is being completed: `bo`. */
  readonly fragment: string;
  /** Options that stand on the line, by their long name, with their last value. */
  readonly given: ReadonlyMap<string, string>;
}

/** An option as it is given and listed: its long name, if it has one. */
export function flagOf(option: Option): string {
  return option.long ?? option.short ?? option.flags;
}

export function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

/** May it stand on the line twice? */
export function repeatable(option: Option): boolean {
  return option.variadic || option.parseArg !== undefined;
}

/** From the program down to this command. */
export function lineage(command: Command): readonly Command[] {
  return command.parent === null ? [command] : [...lineage(command.parent), command];
}

export function visibleCommands(command: Command): readonly Command[] {
  return command.createHelp().visibleCommands(command);
}

/** What may stand behind this command: its own options and those of the program. */
export function optionsOf(command: Command): readonly Option[] {
  return lineage(command)
    .toReversed()
    .flatMap((one) => one.options)
    .filter((option) => !option.hidden);
}

/** @param words everything after the name of the program; the last one is being written and may be empty. */
export function readLine(program: Command, words: readonly string[]): Line {
  const last = words.at(-1) ?? '';
  const given = new Map<string, string>();
  let command = program;
  let argumentsSeen = 0;
  let onlyArguments = false;
  /** The option whose value comes next. */
  let open: Option | undefined;
  for (const word of words.slice(0, -1)) {
    const dashed = word.startsWith('-') && word !== '-';
    if (open !== undefined && !(open.variadic && dashed)) {
      given.set(flagOf(open), word);
      if (!open.variadic) open = undefined;
    } else if (!onlyArguments && word === '--') {
      onlyArguments = true;
    } else if (!onlyArguments && dashed) {
      const { option, value } = optionAt(command, word);
      if (option !== undefined) given.set(flagOf(option), value ?? '');
      open = option !== undefined && takesValue(option) && value === undefined ? option : undefined;
    } else {
      const child = argumentsSeen === 0 ? command.commands.find((one) => one.name() === word) : undefined;
      if (child === undefined) argumentsSeen++;
      else command = child;
    }
  }
  const line = { command, given, prefix: '', fragment: last };
  const dashed = !onlyArguments && last.startsWith('-');
  if (open !== undefined && !(open.variadic && dashed)) return { ...line, wanted: { kind: 'value', option: open } };
  if (dashed) {
    const { option, value } = optionAt(command, last);
    if (value === undefined) return { ...line, wanted: { kind: 'option' } };
    const prefix = last.slice(0, last.length - value.length);
    // the value of an option that nobody knows: nothing can be said about it
    if (option === undefined) return { ...line, wanted: { kind: 'option' } };
    return { ...line, prefix, fragment: value, wanted: { kind: 'value', option } };
  }
  if (argumentsSeen === 0 && visibleCommands(command).length > 0) return { ...line, wanted: { kind: 'command' } };
  const known = command.registeredArguments;
  const argument = known[argumentsSeen] ?? (known.at(-1)?.variadic ? known.at(-1) : undefined);
  return { ...line, wanted: argument === undefined ? { kind: 'option' } : { kind: 'argument', argument } };
}

/** Takes `--to=bob` apart. Options of the program may stand behind any command. */
function optionAt(command: Command, word: string): { option: Option | undefined; value: string | undefined } {
  const equals = word.startsWith('--') ? word.indexOf('=') : -1;
  const flag = equals === -1 ? word : word.slice(0, equals);
  const option = optionsOf(command).find((one) => one.long === flag || one.short === flag);
  return { option, value: equals === -1 ? undefined : word.slice(equals + 1) };
}
