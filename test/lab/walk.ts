/**
 * A document that is walked: what it says to type is typed, and what it says one will see is seen.
 *
 * A block `sh HOST …` is run on each of these hosts, `ini HOST:PATH …` and `yaml HOST:PATH` are written there; a block `text` is what the
 * block before it prints, where `…` stands for anything. What cannot be typed is a comment `lab: ACTION`. Blocks without a host are for
 * people only.
 */

export type Step =
  | { readonly kind: 'action'; readonly words: readonly string[] }
  | { readonly kind: 'file'; readonly places: readonly string[]; readonly content: string }
  | {
      readonly kind: 'commands';
      readonly hosts: readonly string[];
      readonly script: string;
      readonly shown: string | undefined;
    };

export function stepsOf(document: string): Step[] {
  const steps: Step[] = [];
  for (const found of document.matchAll(/^<!-- lab: (.+) -->$|^```(\w+)(?: (.+))?\n([\s\S]*?)^```$/gm)) {
    const [, action, language, where, content = ''] = found;
    const last = steps.at(-1);
    if (action !== undefined) steps.push({ kind: 'action', words: action.split(' ') });
    else if (language === 'text' && last?.kind === 'commands') steps[steps.length - 1] = { ...last, shown: content };
    else if (language === 'sh' && where !== undefined)
      steps.push({ kind: 'commands', hosts: where.split(' '), script: content, shown: undefined });
    else if (where !== undefined) steps.push({ kind: 'file', places: where.split(' '), content });
  }
  return steps;
}

/** Matches what was printed, made `plain`: times differ from run to run, and with them the widths of columns. */
export function pattern(shown: string): RegExp {
  const lines = plain(shown).split('\n');
  const parts = lines.map((line) => line.split('…').map(literally).join('.*'));
  const text = parts.map((line) => (line === '.*' ? '(?:.*\n)*' : `${line}\n`)).join('');
  return new RegExp(`^${text}$`);
}

function literally(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

export function plain(text: string): string {
  return text
    .trim()
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'INSTANT')
    .replaceAll(/\b\d+(?:\.\d+)? ?[smh]( \d\d[smh])?\b/g, 'TIME')
    .replaceAll(/[ \t]+/g, ' ')
    .replaceAll(/^ | $|(?<=\n) /gm, '')
    .replaceAll(/\n{2,}/g, '\n');
}
