/** From an unfinished command line to what could come next. The scripts for the shells only show what this finds. */
import type { Command } from 'commander';
import type { ConnectionOptions } from '../context.ts';
import { oneLine } from '../text.ts';
import { flagOf, type Line, optionsOf, readLine, repeatable, visibleCommands } from './line.ts';
import { type NameKind, type Suggestion, sourceOf } from './values.ts';

/** Asks for names; passed in, because it is the one part that needs a coordinator. */
export type AskNames = (kind: NameKind, options: ConnectionOptions) => Promise<readonly Suggestion[]>;

export interface Completion {
  /** What the shell is to offer: these words, or what it finds on disk itself. */
  readonly kind: 'words' | 'files' | 'directories';
  readonly suggestions: readonly Suggestion[];
}

/** @param words everything after the name of the program; the last one is being written and may be empty. */
export async function complete(program: Command, words: readonly string[], ask: AskNames): Promise<Completion> {
  const line = readLine(program, words);
  const found = await candidates(line, ask);
  const suggestions = found.suggestions
    .filter(({ value }) => value.startsWith(line.fragment))
    .map((one) => ({ ...one, value: line.prefix + one.value }));
  return { ...found, suggestions };
}

async function candidates(line: Line, ask: AskNames): Promise<Completion> {
  const { command, wanted } = line;
  switch (wanted.kind) {
    case 'command':
      return words(visibleCommands(command).map((one) => ({ value: one.name(), description: one.description() })));
    case 'option':
      return words(options(line));
    case 'value':
    case 'argument': {
      const source = sourceOf(command, wanted.kind === 'value' ? wanted.option : wanted.argument);
      switch (source?.kind) {
        case 'names':
          return words(await ask(source.of, connection(line)));
        case 'files':
        case 'directories':
          return { kind: source.kind, suggestions: [] };
        case 'fixed':
          return words(source.suggestions);
        case 'free':
        case undefined:
          return words([]);
        default:
          return source satisfies never;
      }
    }
    default:
      return wanted satisfies never;
  }
}

const words = (suggestions: readonly Suggestion[]): Completion => ({ kind: 'words', suggestions });

function options({ command, given }: Line): Suggestion[] {
  const open = optionsOf(command)
    .filter((option) => repeatable(option) || !given.has(flagOf(option)))
    .filter((option) => flagOf(option) !== '--version' || command.parent === null);
  const listed = open.map((option) => ({ value: flagOf(option), description: option.description }));
  return [...listed, { value: '--help', description: 'explain this command' }];
}

/** The line may say by itself which coordinator is meant. */
function connection({ given }: Line): ConnectionOptions {
  const url = given.get('--url');
  const cluster = given.get('--cluster');
  const tokenFile = given.get('--token-file');
  return {
    ...(url === undefined ? {} : { url }),
    ...(cluster === undefined ? {} : { cluster }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
  };
}

/** For the scripts: the kind, then a line for each suggestion, its value and description with a tabulator between. */
export function completionText({ kind, suggestions }: Completion): string {
  const lines = suggestions.map(({ value, description }) =>
    description === undefined ? value : `${value}\t${oneLine(description)}`,
  );
  return [kind, ...lines].join('\n');
}
