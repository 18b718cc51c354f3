/** Manual pages: written in packaging/, with what the command line knows better filled in. */
import { EXIT } from '../../node-agent/cli/exit.ts';
import { type CommandHelp, commandHelps } from '../command-reference.ts';

/** Characters a line that a terminal of 80 shows with the indentation of a manual page. */
const WIDTH = 72;

/** In words, as the handbook has them at length. */
const EXIT_MEANS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: 'done',
  refused: 'refused or failed; nothing was changed',
  planChanges: 'plan \\-\\-detailed\\-exitcode: there are changes',
  wouldBeDown: 'simulate: a group would not be served',
  usage: 'wrong use of the command',
  badConfiguration: 'the document is refused',
  unreachable: 'the coordinator cannot be reached',
  tryAgain: 'not now: try again',
  notAllowed: 'the token does not allow it',
  notSetUp: 'something has to be set up first',
  unsafe: 'unsafe, and the risk was not accepted by its name',
  outcomeUnknown: 'the answer did not come: it may have been done',
  timedOut: 'not at its end in the time given',
};

/**
 * @param source text of the page; @VERSION@, @DATE@, @COMMANDS@ and @EXIT@ are filled in.
 * @param epoch seconds, of what the page describes.
 */
export function manualPage(source: string, version: string, epoch: number): string {
  const date = new Date(epoch * 1_000).toISOString().slice(0, 10);
  const text = source.replaceAll('@VERSION@', version).replaceAll('@DATE@', date);
  // a function as replacement: `$` has a meaning in a text
  const filled = text
    .replace('@COMMANDS@', () => commandHelps(WIDTH).map(section).join('\n'))
    .replace('@EXIT@', exitTable);
  // roff itself reads Latin-1
  return filled.replaceAll(
    /[^\0-\x7f]/gu,
    (char) => `\\[u${char.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}]`,
  );
}

function section({ path, help }: CommandHelp): string {
  return `.SS ${verbatim(path)}\n.nf\n${verbatim(help)}\n.fi`;
}

function exitTable(): string {
  return Object.entries(EXIT_MEANS)
    .map(([name, meaning]) => `${EXIT[name as keyof typeof EXIT]}\t${meaning}`)
    .join('\n');
}

/** Shown as it is: nothing in it is a request or an escape of roff, and a hyphen is one that can be copied. */
function verbatim(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^(?=[.'])/gm, '\\&');
}
