/** A trace in the words of an operator. */
import { NODE_NAMES } from './bounds.ts';
import { CAUSE } from './layout.ts';
import { MOVES, type MoveName } from './moves.ts';
import type { Step } from './walk.ts';

function name(node: number): string {
  return NODE_NAMES[node] ?? `node ${node}`;
}

function set(mask: number): string {
  const named = NODE_NAMES.filter((_, node) => ((mask >> node) & 1) === 1);
  return named.length === 0 ? 'nobody' : named.join(', ');
}

function because(cause: number): string {
  switch (cause) {
    case CAUSE.release:
      return 'after the release';
    case CAUSE.proof:
      return 'after the proof of death';
    default:
      return 'after the wait';
  }
}

/** @returns one line. */
export function words(step: Step): string {
  const move: MoveName = MOVES[step.move] ?? 'time passes';
  const who = name(step.node);
  const epoch = `epoch ${step.epoch}`;
  switch (move) {
    case 'time passes':
      return step.extra === 0 ? 'time passes' : `time passes; down on ${set(step.extra)}: the lease has run out`;
    case 'learns':
      return `${who} hears of the new voters of ${epoch}, and lives by them`;
    case 'extends by answer':
      return `${who} hears an answer to a request ${step.extra} old, and extends ${epoch}`;
    case 'extends by promise':
      return `${who} hears the promise of ${name(step.other)}, and extends ${epoch}`;
    case 'adopts':
      return `${who} hears that it was granted ${epoch} (its claim is ${step.extra} old)`;
    case 'decides to start':
      return `${who} arms its fuse and decides to start in ${epoch}`;
    case 'starts':
      return `${who} STARTS the group in ${epoch}`;
    case 'stops and forgets':
      return `${who} stops and gives ${epoch} up without a word`;
    case 'releases':
      return `${who} sends its release of ${epoch}`;
    case 'gives back':
      return `${who}, granted ${epoch} again after it was lost, releases it`;
    case 'promises':
      return `${who} promises ${name(step.other)} to keep out of ${epoch}`;
    case 'renews':
      return `the coordinator renews ${epoch} of ${who} (request ${step.extra} old)`;
    case 'grants':
      return `the coordinator GRANTS ${epoch} to ${who} ${because(step.extra)}, voters ${set(step.other)}`;
    case 'grants to a dead incarnation':
      return `the coordinator GRANTS ${epoch} to an incarnation of ${who} that has ended, ${because(step.extra)}, voters ${set(step.other)}`;
    case 'repeats the grant':
      return `the coordinator repeats the grant of ${epoch} to ${who} (claim ${step.extra} old)`;
    case 'hears the release':
      return `the coordinator hears the release of ${epoch} by ${who}`;
    case 'renews an old epoch':
      return `the coordinator renews ${epoch} of ${who}, which is over`;
    case 'stale instance renews':
      return `a replaced instance of the coordinator renews ${epoch} of ${who}`;
    case 'grants and forgets':
      return `the coordinator grants ${epoch} to ${who}, and dies before that is written`;
    case 'pauses':
      return `the agent on ${who} is paused`;
    case 'resumes':
      return `the agent on ${who} goes on`;
    case 'fuse fires early':
      return `the fuse on ${who} takes everything down`;
    case 'crashes':
      return `the agent on ${who} dies, its guard lives`;
    case 'agent starts again':
      return `the agent on ${who} starts again and asks its guard`;
    case 'loses power':
      return `${who} loses power`;
    case 'boots':
      return `${who} boots as a new incarnation`;
    case 'loses its guard':
      return `the guard on ${who} dies: a new incarnation`;
    case 'coordinator restarts':
      return 'the coordinator starts anew, its memory is lost';
    case 'clock forward':
      return 'the clock of the coordinator jumps forward';
    case 'clock back':
      return 'the clock of the coordinator jumps back';
    case 'changes voters':
      return `the coordinator changes the voters of ${epoch} to ${set(step.other)}`;
    case 'is proven dead':
      return `the coordinator is told that ${who} is off: ${epoch} is free ${step.extra === 2 ? 'at once' : 'after T_C'}`;
    case 'clock is fast':
      return `the clock on ${who} is fast: its lease ends sooner`;
    case 'clock is slow':
      return `the clock on ${who} is slow: its promise and its quarantine end later`;
    default:
      return move satisfies never;
  }
}

/** The trace as numbered lines, and how it ends. */
export function traceText(trace: readonly Step[], end: string): string[] {
  return [...trace.map((step, index) => `${String(index + 1).padStart(4)}  ${words(step)}`), `      ${end}`];
}
