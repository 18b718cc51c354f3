/** Plans and refused documents as text. Pure. */
import type { Plan, ProblemError } from '../../schemas/api.ts';
import type { Io } from './io.ts';
import { oneLine, table } from './text.ts';

/** Effects first, then the difference line by line. */
export function planText(plan: Plan, { paint }: Pick<Io, 'paint'>): string {
  const against = plan.revision === 0 ? 'the first configuration' : `against revision ${plan.revision}`;
  if (!plan.changed) return `nothing changes (${against})`;
  const shown = plan.effects.filter(({ effect }) => effect !== 'unchanged');
  const unchanged = plan.effects.length - shown.length;
  const rows = shown.map(({ group, effect, detail }) => [
    group === '*' ? 'all' : group,
    effect === 'removed' || effect === 'moves' || effect === 'restarts' ? paint('yellow', effect) : effect,
    oneLine(detail),
  ]);
  const effects = rows.length === 0 ? 'no group changes' : table(['GROUP', 'EFFECT', 'DETAIL'], rows);
  const rest = unchanged === 0 ? '' : `\n${unchanged} more unchanged`;
  const diff = plan.diff
    .trimEnd()
    .split('\n')
    .filter((line) => !/^={10,}$/.test(line))
    .map((line) => (line.startsWith('+') ? paint('green', line) : line.startsWith('-') ? paint('red', line) : line))
    .join('\n');
  return `Plan, ${against}:\n\n${effects}${rest}${diff === '' ? '' : `\n\n${diff}`}`;
}

const SHOWN_PROBLEMS = 20;
const MAX_LINE = 160;

/** Each problem with its place, as compilers print it, and the line it stands on with a mark under it. */
export function problemLines(document: { name: string; text: string }, errors: readonly ProblemError[]): string[] {
  const source = document.text.split(/\r?\n/);
  const lines = errors.slice(0, SHOWN_PROBLEMS).flatMap((error) => {
    const place = [document.name, error.line, error.column].filter((part) => part !== undefined).join(':');
    const path = error.path === '' ? '' : `${error.path}: `;
    const meant = error.suggestion === undefined ? '' : `; did you mean \`${error.suggestion}\`?`;
    const message = `${place}: ${path}${oneLine(error.detail)}${oneLine(meant)}`;
    const text = error.line === undefined ? undefined : source[error.line - 1];
    if (text === undefined || text.trim() === '' || text.length > MAX_LINE) return [message];
    const number = String(error.line);
    const mark = ' '.repeat(Math.max(0, (error.column ?? 1) - 1));
    return [message, `  ${number} | ${oneLine(text)}`, `  ${' '.repeat(number.length)} | ${mark}^`];
  });
  const more = errors.length - SHOWN_PROBLEMS;
  return more > 0 ? [...lines, `… and ${more} more`] : lines;
}
