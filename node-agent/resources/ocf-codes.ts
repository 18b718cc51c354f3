import type { Outcome, Probe, Severity } from './resource.ts';

/**
 * What the exit codes of an agent mean, the way Pacemaker really treats them (lib/pengine/unpack.c, which differs from its
 * manual's table in calling 1 soft). Pure: the process that ended with the code is somebody else's business.
 */

/** What an operation ended with, and the words for it. */
export interface Ended {
  readonly code: number;
  /** The agent's own reason, or the code's meaning. */
  readonly reason: string;
  readonly output?: string;
}

const MEANING: Readonly<Record<number, string>> = {
  1: 'error',
  2: 'invalid arguments',
  3: 'not implemented by the agent',
  4: 'insufficient privileges',
  5: 'not installed here',
  6: 'not configured',
  7: 'not running',
  8: 'running as promoted',
  9: 'failed while promoted',
  190: 'degraded',
  191: 'degraded while promoted',
};

export function meaningOf(code: number): string {
  return MEANING[code] ?? 'an exit code that OCF does not know';
}

/** How bad an unwelcome exit code is. */
function severityOf(code: number): Severity {
  switch (code) {
    case 2:
    case 3:
    case 4:
    case 5:
      return 'hard';
    case 6:
      return 'fatal';
    default:
      return 'soft';
  }
}

function unwelcome(ended: Ended): Extract<Outcome, { ok: false }> {
  const { code, reason, output } = ended;
  return { ok: false, severity: severityOf(code), reason, ...(output === undefined ? {} : { output }) };
}

export function startOutcome(ended: Ended): Outcome {
  return ended.code === 0 || ended.code === 190 ? { ok: true } : unwelcome(ended);
}

/** Stopping what is stopped succeeds, so that 7 is no failure here; the monitor that follows is what is believed. */
export function stopOutcome(ended: Ended): Outcome {
  return ended.code === 0 || ended.code === 7 ? { ok: true } : unwelcome(ended);
}

export function monitorResult(ended: Ended, recurring: boolean): Probe {
  const { code, reason, output } = ended;
  switch (code) {
    case 0:
      return { state: 'running' };
    case 7:
      return { state: 'stopped' };
    case 8:
      return { state: 'running', note: 'running as promoted' };
    case 190:
    case 191:
      return { state: 'running', note: reason };
    case 5:
      // Without the software nothing of it can run: the node is ruled out when a start is tried, not by looking.
      if (!recurring) return { state: 'stopped' };
      break;
    case 3:
      if (recurring) return { state: 'running', note: 'the agent has no monitor' };
      break;
  }
  return { state: 'failed', severity: severityOf(code), reason, ...(output === undefined ? {} : { output }) };
}
