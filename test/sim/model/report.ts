/** One run, and what is said of it. */
import { type Bounds, boundsText, NODE_NAMES } from './bounds.ts';
import { type Exploration, Explorer, type Limits } from './explore.ts';
import { type GuardName, guardsWithout } from './guards.ts';
import { SITUATIONS, VIOLATIONS } from './properties.ts';
import { traceText } from './trace.ts';

export const UNLIMITED: Limits = { states: Number.POSITIVE_INFINITY, seconds: Number.POSITIVE_INFINITY };

export function check(
  bounds: Bounds,
  dropped: readonly GuardName[] = [],
  limits: Limits = UNLIMITED,
  onProgress?: (states: number, depth: number) => void,
): Exploration {
  return new Explorer(bounds, guardsWithout(dropped)).run(limits, onProgress);
}

export function verdict(result: Exploration): string {
  if (result.violation !== undefined) return `COUNTEREXAMPLE in ${result.trace.length} steps`;
  if (result.complete) return 'no violation, exhausted';
  return result.untried > 0
    ? `no violation; ${result.untried} grants not followed for want of places for epochs`
    : 'no violation so far, NOT exhausted';
}

function figures(result: Exploration): string {
  return `${result.states.toLocaleString('en')} states, depth ${result.depth}, ${result.seconds.toFixed(1)} s`;
}

/** What a run says of itself in one line; and below it, what its states have shown. */
export function resultText(bounds: Bounds, dropped: readonly GuardName[], result: Exploration): string[] {
  const without = dropped.length === 0 ? '' : ` without ${dropped.join(', ')}`;
  const reached = SITUATIONS.map((situation, index) => ({ situation, count: result.reached.counts[index] ?? 0 }))
    .filter(({ count }) => count > 0)
    .map(({ situation, count }) => `${situation} ${count.toLocaleString('en')}`);
  return [
    `${boundsText(bounds)}${without}: ${verdict(result)}; ${figures(result)}`,
    ...(dropped.length === 0 ? [`    reached: ${reached.join('; ')}`] : []),
  ];
}

export function counterexample(result: Exploration): string[] {
  if (result.violation === undefined) return [];
  const who = NODE_NAMES.filter((_, node) => ((result.up >> node) & 1) === 1).join(' and ');
  return traceText(result.trace, `${VIOLATIONS[result.violation]} (up: ${who})`);
}
