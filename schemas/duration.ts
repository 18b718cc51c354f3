import * as z from 'zod';

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** A number with its unit. */
export const durationPattern = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** A duration as people write it in the document and on the command line: `250ms`, `5s`, `2m`, `1h`, `1d`. Parses to milliseconds. */
export const durationSchema = z
  .string()
  .regex(durationPattern, 'a duration is a number with its unit: 250ms, 5s, 2m, 1h or 1d')
  .transform((text) => parseDuration(text) ?? 0);

/** @returns milliseconds, or undefined if the text is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = durationPattern.exec(text);
  const amount = match?.[1];
  const unit = match?.[2];
  if (amount === undefined || unit === undefined || !(unit in UNIT_MS)) return undefined;
  return Math.round(Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS]);
}

/** The shortest exact way to write a duration: 90000 → `90s`, 120000 → `2m`. */
export function formatDuration(ms: number): string {
  if (ms !== 0 && ms % UNIT_MS.h === 0) return `${ms / UNIT_MS.h}h`;
  if (ms !== 0 && ms % UNIT_MS.m === 0) return `${ms / UNIT_MS.m}m`;
  if (ms % 100 === 0) return `${ms / UNIT_MS.s}s`;
  return `${ms}ms`;
}
