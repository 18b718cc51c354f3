/** `watch`: the status as it changes. Redrawn on a terminal; elsewhere one line per change, or with --json one status per line. */
import type { Command } from 'commander';
import type { Status } from '../../schemas/api.ts';
import type { Client } from './client.ts';
import { connectionLost, fetchEvents, WAIT_SECONDS } from './events.ts';
import type { Io } from './io.ts';
import { persistently } from './persistently.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { fetchStatus } from './status.ts';
import { statusText } from './status-text.ts';
import { oneLine } from './text.ts';

/** On a terminal the ages are redrawn at this pace, as long as somebody looks. */
const REDRAW_SECONDS = 2;
/** How it is, and a line between. */
const HEADER_LINES = 2;

async function watch(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const view = viewOf(setting);
  try {
    await follow(setting.io, client, view);
  } catch (error) {
    if (!setting.io.interrupted.aborted) throw error;
  } finally {
    view.end();
  }
}

/** One way of showing a changing status. */
interface View {
  readonly waitSeconds: number;
  readonly show: (status: Status, sent: unknown) => void;
  readonly lost: (reason: string) => void;
  readonly end: () => void;
}

function viewOf({ io, json }: Setting): View {
  let last: Status | undefined;
  const lost = (reason: string) => io.note(connectionLost(io, reason));
  if (json) {
    let line: string | undefined;
    return {
      waitSeconds: WAIT_SECONDS,
      show(status, sent) {
        const key = changeKey(status);
        if (key !== line) printJson(io, sent);
        line = key;
      },
      lost,
      end() {},
    };
  }
  if (!io.outIsTerminal)
    return {
      waitSeconds: WAIT_SECONDS,
      show(status) {
        for (const line of changes(last, status)) io.data(`${status.at} ${line}`);
        last = status;
      },
      lost,
      end() {},
    };
  let text = '';
  const draw = (header: string) => {
    const lines = fitting(`${header}\n\n${text}`.split('\n'), io.rows() - 1);
    io.raw(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`);
  };
  io.raw('\u001b[?1049h\u001b[?25l');
  return {
    waitSeconds: REDRAW_SECONDS,
    show(status) {
      text = statusText(status, io);
      // what is wrong must not be what does not fit
      if (text.split('\n').length + HEADER_LINES >= io.rows()) text = statusText(status, io, 'notes-first');
      draw(io.paint('dim', `live ${status.at}   Ctrl-C ends`));
    },
    lost: (reason) => draw(io.paint('red', `no connection: ${reason}; what is below is old`)),
    end: () => io.raw('\u001b[?25h\u001b[?1049l'),
  };
}

/** Says how much of it does not fit. */
function fitting(lines: readonly string[], rows: number): readonly string[] {
  if (lines.length <= rows) return lines;
  return [...lines.slice(0, Math.max(0, rows - 1)), `… ${lines.length - rows + 1} more lines: holdfast status`];
}

async function follow(io: Io, client: Client, view: View): Promise<void> {
  const signal = io.interrupted;
  // Subscribed before the first look, so that nothing falls between the two.
  let next = (await fetchEvents(client, { limit: 1 }, signal)).next;
  for (;;) {
    const look = async () => {
      const { value, sent } = await fetchStatus(client, signal);
      view.show(value, sent);
      return (await fetchEvents(client, { after: next, wait: view.waitSeconds }, signal)).next;
    };
    next = await persistently(look, signal, view.lost);
  }
}

function groupWords(group: Status['groups'][string]): string {
  const where = group.owner === null ? '' : ` on ${group.owner}`;
  const paused =
    group.paused === undefined ? '' : `, paused until ${group.paused.until} (${oneLine(group.paused.reason)})`;
  return `${group.state}${where} (epoch ${group.epoch})${paused}`;
}

function nodeWords(node: Status['nodes'][string]): string {
  if (!node.joined && node.state !== 'removed') return 'not joined';
  const { maintenance } = node;
  const resting =
    maintenance === undefined ? '' : `, in maintenance until ${maintenance.until} (${oneLine(maintenance.reason)})`;
  return `${node.state}${node.note === undefined ? '' : ` (${node.note})`}${resting}`;
}

/** What counts as a change: not how long ago a node was heard. */
function changeKey(status: Status): string {
  const groups = Object.entries(status.groups).map(([name, group]) => [name, groupWords(group), group.reason]);
  const nodes = Object.entries(status.nodes).map(([name, node]) => [name, nodeWords(node), node.refusals]);
  return JSON.stringify([status.revision, status.restored !== undefined, groups, nodes]);
}

/** One line for everything that differs; everything is new when there was nothing before. */
export function changes(before: Status | undefined, after: Status): string[] {
  const lines: string[] = [];
  const compare = (what: string, old: string | undefined, now: string | undefined, note = '') => {
    if (old === now) return;
    const from = old === undefined ? '' : `${old} -> `;
    lines.push(`${what}: ${from}${now ?? 'gone'}${note}`);
  };
  compare('configuration', before && `revision ${before.revision}`, `revision ${after.revision}`);
  for (const name of new Set([...Object.keys(before?.nodes ?? {}), ...Object.keys(after.nodes)])) {
    const [old, now] = [before?.nodes[name], after.nodes[name]];
    compare(`node ${name}`, old && nodeWords(old), now && nodeWords(now));
  }
  for (const name of new Set([...Object.keys(before?.groups ?? {}), ...Object.keys(after.groups)])) {
    const [old, now] = [before?.groups[name], after.groups[name]];
    const note = now?.reason === undefined ? '' : `: ${oneLine(now.reason)}`;
    compare(`group ${name}`, old && groupWords(old), now && groupWords(now), note);
  }
  return lines;
}

export const registerWatch: Register = (program, io) => {
  program
    .command('watch')
    .description('Show the status as it changes: redrawn on a terminal, else one line per change')
    .addHelpText('after', '\nExample: holdfast watch --json | jq .groups')
    .action((_: unknown, command: Command) => watch(settingOf(command, io)));
};
