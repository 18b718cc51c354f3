/** The record of what was changed, as an administrator reads and checks it. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type AuditLine, auditHash } from '../../schemas/audit-chain.ts';
import { problem, ran, type Stub, stubCoordinator } from './testing.ts';

const at = '2026-11-22T09:00:00.000Z';
const entry = {
  seq: 1,
  at,
  who: 'ci',
  role: 'operator',
  what: 'POST /v1/clusters/shop/groups/web/pause',
  status: 200,
  problem: null,
  reason: 'disk swap',
  before: null,
  after: null,
};

/** Two actions, begun and ended. */
async function chainOf(reason: string): Promise<AuditLine[]> {
  const lines: AuditLine[] = [];
  for (let seq = 1; seq <= 4; seq++) {
    const ends = seq % 2 === 0 ? seq - 1 : null;
    const told = ends === null ? { status: null, reason: null } : { status: 200, reason };
    const line = { ...entry, ...told, role: 'operator' as const, seq, ends, prev: lines.at(-1)?.hash ?? null };
    lines.push({ ...line, hash: await auditHash(line) });
  }
  return lines;
}

/** What the coordinator has. */
let kept: readonly AuditLine[];
let whole: readonly AuditLine[];
let stub: Stub;
before(async () => {
  whole = await chainOf('disk swap');
  kept = whole;
  const base = '/v1/clusters/shop';
  stub = await stubCoordinator((question) => {
    switch (question) {
      case `GET ${base}/audit`:
      case `GET ${base}/audit?after=0&limit=500`:
        return {
          body: {
            schema: 'holdfast/audit/v1',
            entries: [
              entry,
              { ...entry, seq: 2, what: 'PUT /v1/clusters/shop/config', reason: null, before: 'rev-1', after: 'rev-2' },
              { ...entry, seq: 3, status: null, reason: null },
            ],
            next: 3,
          },
        };
      case `GET ${base}/audit/chain?after=0&limit=500`:
        return { body: { schema: 'holdfast/audit-chain/v1', lines: kept, next: 4 } };
      default:
        return { status: 404, body: problem('not-found', 404, question) };
    }
  });
});
after(() => stub.close());

const ask = (...args: readonly string[]) => ran(args, { env: stub.env });
const given = (lines: readonly AuditLine[], ...args: readonly string[]) =>
  ran(['audit', 'verify', '-', ...args], {
    env: stub.env,
    stdin: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
  });

test('audit shows who changed what, from which revision to which, and what nobody knows the end of', async () => {
  const { out } = await ask('audit', 'list');
  match(out, /ci {3}operator {2}POST \S+\/pause {2}200 {6}- {15}disk swap/);
  match(out, /PUT \S+\/config {13}200 {6}rev-1 -> rev-2/);
  match(out, /pause {2}unknown/);
});

test('audit since a time asks for everything and shows what is not older', async () => {
  const all = await ask('audit', 'list', '--since', '2020-01-01T00:00:00Z', '--json');
  equal(JSON.parse(all.out).entries.length, 3);
  const { exit, out, err } = await ask('audit', 'list', '--since', '1s');
  deepEqual([exit, out], [0, '']);
  match(err, /nothing was changed by the API since then/);
  equal((await ask('audit', 'list', '--since', 'soon')).exit, 64);
});

test('export prints the lines, from which verify finds them whole without the coordinator', async () => {
  const { out } = await ask('audit', 'export');
  const printed = out.trim().split('\n');
  deepEqual(
    printed.map((line) => JSON.parse(line)),
    whole,
  );
  const asked = stub.asked.length;
  const { exit, out: verdict } = await ran(['audit', 'verify', '-', '--offline'], { stdin: out });
  equal(exit, 0);
  match(verdict, new RegExp(`^4 lines are as they were written, the newest is 4, with the hash ${whole[3]?.hash}\n$`));
  equal(stub.asked.length, asked);
});

test('verify says that what the coordinator has is whole', async () => {
  equal((await ask('audit', 'verify')).exit, 0);
  const { out } = await ask('audit', 'verify', '--json');
  deepEqual(JSON.parse(out), {
    schema: 'holdfast/audit-verified/v1',
    intact: true,
    lines: 4,
    unchained: 0,
    newest: { seq: 4, hash: whole[3]?.hash },
  });
});

test('verify names the first line that does not fit', async () => {
  kept = whole.map((line) => (line.seq === 2 ? { ...line, who: 'nobody' } : line));
  try {
    const { exit, out, err } = await ask('audit', 'verify', '--json');
    equal(exit, 1);
    equal(JSON.parse(out).fault.seq, 2);
    match(err, /coordinator, cluster shop, line 2: it is not as it was written/);
    match(err, /Next: .*holdfast audit verify COPY/);
  } finally {
    kept = whole;
  }
});

test('a copy tells of a record that was made anew or cut off, though its own hashes fit', async () => {
  equal((await given(whole)).exit, 0);
  try {
    kept = await chainOf('nothing in particular');
    equal((await ask('audit', 'verify')).exit, 0);
    match((await given(whole)).err, /-, line 2: the coordinator has another line in its place/);
    kept = whole.slice(0, 2);
    equal((await ask('audit', 'verify')).exit, 0);
    match((await given(whole)).err, /line 3: the coordinator does not have it any more/);
    kept = whole.slice(2);
    equal((await given(whole)).exit, 0, 'the oldest lines go');
  } finally {
    kept = whole;
  }
});

test('a copy with a line changed, left out or added is refused by itself', async () => {
  const changed = whole.map((line) => (line.seq === 3 ? { ...line, role: 'admin' as const } : line));
  match((await given(changed, '--offline')).err, /line 3: it is not as it was written/);
  const without = whole.filter(({ seq }) => seq !== 3);
  match((await given(without, '--offline')).err, /line 4: lines from 3 to 3, before it, are missing/);
  const bare = { ...(whole[3] as AuditLine), seq: 5, prev: null, hash: null };
  match((await given([...whole, bare], '--offline')).err, /line 5: it has no hash, and stands after line 4/);
});

test('what is no copy, and nothing to look at, are usage errors', async () => {
  equal((await ran(['audit', 'verify', '-', '--offline'], { stdin: '{"seq":1}\n' })).exit, 64);
  equal((await ran(['audit', 'verify', '--offline'])).exit, 64);
  match(
    (await ran(['audit', 'verify', join(import.meta.dirname, 'missing.jsonl'), '--offline'])).err,
    /there is no such file/,
  );
});

test('a field of a newer release is part of what is hashed', async () => {
  const line = { ...(whole[0] as AuditLine), address: '192.0.2.1' };
  const newer = { ...line, hash: await auditHash(line) };
  equal((await given([newer], '--offline')).exit, 0);
  const changed = { ...newer, address: '192.0.2.2' };
  match((await given([changed], '--offline')).err, /line 1: it is not as it was written/);
});

test('lines from before the chain are accepted in front of it, and counted', async () => {
  const bare = { ...(whole[0] as AuditLine), prev: null, hash: null };
  const first = { ...(whole[1] as AuditLine), prev: null };
  const { exit, out, err } = await given([bare, { ...first, hash: await auditHash(first) }], '--offline');
  equal(exit, 0, err);
  match(out, /^2 lines/);
  match(err, /1 of them are from before lines were chained/);
});
