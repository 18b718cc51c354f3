/** What a guard says of its last word (--reset): the reset of the machine when something held could not be taken away. */

/** Limits in seconds; undefined where the driver does not tell them. */
export type GuardReset =
  | { readonly kind: 'none' | 'sysrq' }
  | {
      readonly kind: 'watchdog';
      readonly device: string;
      readonly leastS: number | undefined;
      readonly mostS: number | undefined;
      /** Once armed it cannot be stopped: where its guard ends, a reset follows. */
      readonly noWayOut: boolean;
    };

export interface ResetReport {
  readonly reset: GuardReset;
  /** The device is armed. */
  readonly open: boolean;
  /** As the driver gave it back; 0 while it is closed. */
  readonly timeoutS: number;
  readonly latencyMs: number;
  /** CLOCK_BOOTTIME, ms; undefined: not yet. */
  readonly pettedAtMs: number | undefined;
}

/** Reads `none`, `sysrq` or `watchdog:LEAST:MOST:nowayout|-:DEVICE`; what is not known counts as none. */
export function resetOf(text: string | undefined): GuardReset {
  if (text === 'sysrq') return { kind: 'sysrq' };
  const [, least, most, stop, device] = /^watchdog:(\d+):(\d+):([^:]+):(.+)$/.exec(text ?? '') ?? [];
  if (device === undefined) return { kind: 'none' };
  const seconds = (word: string | undefined) => (Number(word) > 0 ? Number(word) : undefined);
  return { kind: 'watchdog', device, leastS: seconds(least), mostS: seconds(most), noWayOut: stop === 'nowayout' };
}

/** @param fields of the answer to `reset`, without its `ok`. */
export function resetReport([reset, state, timeoutS, latencyMs, pettedAtMs]: readonly string[]): ResetReport {
  return {
    reset: resetOf(reset),
    open: state === 'open',
    timeoutS: Number(timeoutS),
    latencyMs: Number(latencyMs),
    pettedAtMs: Number(pettedAtMs) < 0 ? undefined : Number(pettedAtMs),
  };
}
