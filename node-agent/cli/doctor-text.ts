/** Findings as text: by check, one line each, and what to do below. Pure. */
import type { Finding, Level } from '../doctor/index.ts';
import type { Io, Style } from './io.ts';
import { count, oneLine } from './text.ts';

type Paint = Pick<Io, 'paint'>;

const WORDS: Readonly<Record<Level, { readonly word: string; readonly style: Style }>> = {
  ok: { word: 'ok', style: 'green' },
  warning: { word: 'WARNING', style: 'yellow' },
  error: { word: 'ERROR', style: 'red' },
  unknown: { word: 'UNKNOWN', style: 'yellow' },
};
const WIDTH = Math.max(...Object.values(WORDS).map(({ word }) => word.length));

/** @param head what was looked at. */
export function doctorText(head: readonly string[], findings: readonly Finding[], io: Paint): string {
  const checks = [...Map.groupBy(findings, ({ check }) => check)];
  const parts = checks.map(([check, found]) => [
    io.paint('bold', check),
    ...found.flatMap((finding, index) => lines(finding, found[index + 1], io)),
  ]);
  return [...head, '', ...parts.flatMap((part) => [...part, '']), summary(findings)].join('\n');
}

/** A fix that the next finding shares is printed once, below the last of them. */
function lines(finding: Finding, next: Finding | undefined, { paint }: Paint): string[] {
  const { word, style } = WORDS[finding.level];
  const first = `  ${paint(style, word)}${' '.repeat(WIDTH - word.length)}  ${oneLine(finding.subject)}: ${oneLine(finding.detail)}`;
  if (finding.fix === undefined || finding.fix === next?.fix) return [first];
  const indent = ' '.repeat(WIDTH + 4);
  const [head = '', ...rest] = finding.fix.split('\n').map(oneLine);
  return [first, `${indent}fix: ${head}`, ...rest.map((line) => `${indent}     ${line}`)];
}

export function summary(findings: readonly Finding[]): string {
  const of = (level: Level) => findings.filter((finding) => finding.level === level).length;
  const parts = [
    [of('error'), 'error'],
    [of('warning'), 'warning'],
  ] as const;
  const said = parts.flatMap(([number, noun]) => (number === 0 ? [] : [count(number, noun)]));
  const unknown = of('unknown') === 0 ? [] : [`${of('unknown')} could not be looked at`];
  const all = [...said, ...unknown];
  return all.length === 0
    ? `nothing is wrong (${count(findings.length, 'finding')})`
    : `${all.join(', ')}, ${of('ok')} in order`;
}
