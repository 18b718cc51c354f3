/** `audit`: who changed what by the API, and whether the record of it is as it was written. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type AuditEntry, auditPageSchema, MAX_AUDIT_PER_PAGE } from '../../schemas/access.ts';
import {
  type AuditFault,
  type AuditLine,
  anyAuditChainPageSchema,
  anyAuditLineSchema,
  auditFault,
  copyFault,
} from '../../schemas/audit-chain.ts';
import { parseJson } from '../system/index.ts';
import type { Client } from './client.ts';
import { sinceMs } from './events.ts';
import { CliError, EXIT, whyUnreadable } from './exit.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { oneLine, table } from './text.ts';

async function list(setting: Setting, since: string | undefined): Promise<void> {
  const { io } = setting;
  const from = since === undefined ? undefined : sinceMs(since, io.now());
  const client = await setting.connect();
  const entries = from === undefined ? (await auditPage(client, {})).entries : await entriesSince(client, from);
  if (setting.json) printJson(io, { schema: 'holdfast/audit/v1', entries, next: entries.at(-1)?.seq ?? 0 });
  else if (entries.length > 0) io.data(auditTable(entries));
  else io.note(`nothing was changed by the API ${from === undefined ? 'yet' : 'since then'}`);
}

async function auditPage(client: Client, query: { after?: number; limit?: number }) {
  const path = routes.audit(client.cluster);
  return (await client.call(auditPageSchema, { method: 'GET', path, query })).value;
}

async function entriesSince(client: Client, from: number): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for (let after = 0; ; ) {
    const page = await auditPage(client, { after, limit: MAX_AUDIT_PER_PAGE });
    entries.push(...page.entries.filter(({ at }) => Date.parse(at) >= from));
    if (page.entries.length < MAX_AUDIT_PER_PAGE) return entries;
    after = page.next;
  }
}

function auditTable(entries: readonly AuditEntry[]): string {
  return table(
    ['AT', 'WHO', 'ROLE', 'WHAT', 'ENDED', 'CHANGE', 'WHY'],
    entries.map((entry) => [
      entry.at,
      entry.who,
      entry.role,
      oneLine(entry.what),
      entry.status === null ? 'unknown' : String(entry.status),
      change(entry),
      oneLine(entry.problem ?? entry.reason ?? ''),
    ]),
  );
}

function change({ before, after }: AuditEntry): string {
  if (before === null) return oneLine(after ?? '-');
  return oneLine(after === null ? before : `${before} -> ${after}`);
}

async function chain(client: Client): Promise<AuditLine[]> {
  const lines: AuditLine[] = [];
  for (let after = 0; ; ) {
    const query = { after, limit: MAX_AUDIT_PER_PAGE };
    const path = routes.auditChain(client.cluster);
    const { value } = await client.call(anyAuditChainPageSchema, { method: 'GET', path, query });
    lines.push(...value.lines);
    if (value.lines.length < MAX_AUDIT_PER_PAGE) return lines;
    after = value.next;
  }
}

/** One line of JSON each, as their hashes are made of. */
async function exportChain(setting: Setting): Promise<void> {
  const lines = await chain(await setting.connect());
  for (const line of lines) setting.io.data(JSON.stringify(line));
}

interface Verdict {
  readonly lines: readonly AuditLine[];
  readonly fault: AuditFault | null;
  /** Where the line is that does not fit. */
  readonly where: string;
}

async function verify(setting: Setting, file: string | undefined, offline: boolean): Promise<void> {
  if (offline && file === undefined) throw new CliError(EXIT.usage, '--offline: name the file to look at');
  const { lines, fault, where } = await verdict(setting, file, offline);
  const unchained = lines.filter(({ hash }) => hash === null).length;
  const newest = lines.at(-1);
  if (setting.json)
    printJson(setting.io, {
      schema: 'holdfast/audit-verified/v1',
      intact: fault === null,
      ...(fault === null ? {} : { fault }),
      lines: lines.length,
      unchained,
      newest: newest === undefined ? null : { seq: newest.seq, hash: newest.hash },
    });
  if (fault !== null)
    throw new CliError(
      EXIT.refused,
      `the audit is not as it was written: ${where}, line ${fault.seq}: ${fault.detail}`,
      {
        next: 'compare with a copy that was kept elsewhere: holdfast audit verify COPY; lines before this one fit',
      },
    );
  if (setting.json) return;
  setting.io.data(newest === undefined ? 'nothing is on record yet' : intactText(lines, newest));
  if (unchained > 0)
    setting.io.note(`${unchained} of them are from before lines were chained: nothing vouches for these`);
}

async function verdict(setting: Setting, file: string | undefined, offline: boolean): Promise<Verdict> {
  const copy = file === undefined ? [] : await readCopy(setting, file);
  const inCopy = await auditFault(copy);
  if (offline || inCopy !== null) return { lines: copy, fault: inCopy, where: file ?? '' };
  const client = await setting.connect();
  const lines = await chain(client);
  const own = await auditFault(lines);
  if (own !== null) return { lines, fault: own, where: `coordinator, cluster ${client.cluster}` };
  return { lines, fault: copyFault(copy, lines), where: file ?? '' };
}

function intactText(lines: readonly AuditLine[], newest: AuditLine): string {
  return `${lines.length} lines are as they were written, the newest is ${newest.seq}, with the hash ${newest.hash ?? '-'}`;
}

async function readCopy({ io }: Setting, file: string): Promise<AuditLine[]> {
  const text =
    file === '-'
      ? await io.readStdin()
      : await readFile(file, 'utf8').catch((error: unknown) => {
          throw new CliError(EXIT.usage, `cannot read ${file}: ${whyUnreadable(error)}`, { cause: error });
        });
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line, index) => {
      const parsed = anyAuditLineSchema.safeParse(parseJson(line));
      if (parsed.success) return parsed.data;
      throw new CliError(EXIT.usage, `${file}, line ${index + 1}: not a line of the audit`, {
        next: 'holdfast audit export writes such a file',
      });
    });
}

export const registerAudit: Register = (program, io) => {
  const family = program.command('audit').description('Who changed what by the API, and how it ended');
  family
    .command('list')
    .option('--since <when>', 'a duration (2h) or a time; left out: the newest 500')
    .description('Show entries, oldest first')
    .addHelpText('after', '\nExample: holdfast audit list --since 7d')
    .action(({ since }: { since?: string }, command: Command) => list(settingOf(command, io), since));
  family
    .command('export')
    .description(
      'Print every line that is kept, as JSON, each with the hash of the one before: a copy to keep elsewhere',
    )
    .addHelpText('after', '\nExample: holdfast audit export > audit-2026-11.ndjson')
    .action((_: unknown, command: Command) => exportChain(settingOf(command, io)));
  family
    .command('verify')
    .argument(
      '[file]',
      'a copy that was exported before: the coordinator must still have its lines; - is standard input',
    )
    .option('--offline', 'look at the file alone', false)
    .description('Check that the lines are as they were written, and none is missing in between')
    .addHelpText(
      'after',
      `
The first line that does not fit is named. Who can write the coordinator's database could make all hashes anew, or cut
lines off at the end: only a copy that was kept elsewhere tells of that.

Example: holdfast audit verify
Example: holdfast audit verify audit-2026-11.ndjson`,
    )
    .action((file: string | undefined, { offline }: { offline: boolean }, command: Command) =>
      verify(settingOf(command, io), file, offline),
    );
};
