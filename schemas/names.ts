import * as z from 'zod';
import { MAX_NAME_LENGTH } from './limits.ts';

/** Names of clusters, nodes, groups and resources: what a host name label allows, so that they can be used anywhere. */
export const namePattern = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/;
export const nameSchema = z
  .string()
  .max(MAX_NAME_LENGTH, `at most ${MAX_NAME_LENGTH} characters`)
  .regex(namePattern, 'lower-case letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit')
  // The one name of this form that every JavaScript object has: records are looked up by name.
  .refine((name) => name !== 'constructor', '`constructor` is reserved');

/** Number of single-character edits (insert, delete, replace, swap of neighbours) between two words. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [];
  for (let i = 0; i <= a.length; i++) {
    const row: number[] = [];
    for (let j = 0; j <= b.length; j++) {
      const above = rows[i - 1];
      if (i === 0 || above === undefined) row.push(j);
      else if (j === 0) row.push(i);
      else {
        const replace = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
        let best = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, replace);
        const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
        if (swapped) best = Math.min(best, (rows[i - 2]?.[j - 2] ?? 0) + 1);
        row.push(best);
      }
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? 0;
}

/** @returns the candidate closest to a mistyped word, or undefined when none is close enough to be meant. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** More names than this help nobody who looks for one. */
const NAMES_OFFERED = 12;

/** What somebody may have meant who named what there is not: `; did you mean db?`, and the names there are, as far as they can be read. */
export function namesOffered(word: string, names: readonly string[]): string {
  const meant = nearest(word, names);
  const more = names.length - NAMES_OFFERED;
  const shown = more > 1 ? `${names.slice(0, NAMES_OFFERED).join(', ')} and ${more} more` : names.join(', ');
  return `; ${meant === undefined ? '' : `did you mean ${meant}? `}there are: ${shown || 'none'}`;
}
