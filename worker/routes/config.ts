import { parseDocument } from '../../schemas/document.ts';
import { type ReadDocument, timestamp } from '../cluster/index.ts';
import { flagFrom, numberFrom, readDocumentText } from './body.ts';
import { clusterOf, type Handlers, type RequestContext } from './context.ts';
import { problem, unwrap } from './problem.ts';

export const config = {
  'GET /v1/clusters/:cluster/config': async (c) => {
    const wanted = numberFrom(c, 'revision', { min: 1, max: Number.MAX_SAFE_INTEGER });
    const stored = unwrap(await (await clusterOf(c)).configuration(wanted));
    const revision = stored?.revision ?? 0;
    return c.json(
      { revision, at: stored === null ? null : timestamp(stored.at), document: stored?.document ?? '' },
      200,
      {
        etag: etagOf(revision),
      },
    );
  },

  'GET /v1/clusters/:cluster/config/history': async (c) => {
    const revisions = unwrap(await (await clusterOf(c)).revisions());
    return c.json({ schema: 'holdfast/revisions/v1', revisions });
  },

  'PUT /v1/clusters/:cluster/config': async (c) => {
    const cluster = await clusterOf(c);
    const expected = flagFrom(c, 'dryRun') ? null : expectedRevision(c);
    const document = await readDocument(c);
    if (expected === null) return c.json(unwrap(await cluster.plan(document)));
    const { plan, newRevision } = unwrap(await cluster.apply(document, expected));
    return c.json({ ...plan, schema: 'holdfast/applied/v1', newRevision }, 200, { etag: etagOf(newRevision) });
  },

  'POST /v1/clusters/:cluster/config/plan': async (c) => {
    return c.json(unwrap(await (await clusterOf(c)).plan(await readDocument(c))));
  },
} satisfies Handlers<
  | 'GET /v1/clusters/:cluster/config'
  | 'GET /v1/clusters/:cluster/config/history'
  | 'PUT /v1/clusters/:cluster/config'
  | 'POST /v1/clusters/:cluster/config/plan'
>;

function etagOf(revision: number): string {
  return `"rev-${revision}"`;
}

/** Two people who edit at once must not undo each other: whoever writes says which revision they have read. */
function expectedRevision(c: RequestContext): number {
  const header = c.req.header('if-match');
  if (header === undefined) {
    throw problem(
      'if-match-required',
      'say which revision this replaces: If-Match: "rev-N", N as GET config answers it ("rev-0" before the first)',
    );
  }
  const revision = /^"rev-(\d{1,15})"$/.exec(header.trim())?.[1];
  if (revision === undefined) throw problem('revision-mismatch', `If-Match must be of the form "rev-N", not ${header}`);
  return Number(revision);
}

/** Read here and not in the cluster's object, which has renewals to answer. */
async function readDocument(c: RequestContext): Promise<ReadDocument> {
  return parsedDocument(await readDocumentText(c));
}

/** @throws the problem document that names every mistake with its place. */
export function parsedDocument(text: string): ReadDocument {
  const parsed = parseDocument(text);
  if (parsed.ok) return { text, config: parsed.config };
  const [first] = parsed.errors;
  const more = parsed.errors.length > 1 ? ` (and ${parsed.errors.length - 1} more)` : '';
  const where = first?.line === undefined ? '' : `line ${first.line}: `;
  throw problem(
    'invalid-configuration',
    `${where}${first?.detail ?? 'the document is not valid'}${more}; the old configuration stays`,
    parsed.errors,
  );
}
