/** Tokens of people and machines, and the record of what was done with them. */
import type * as z from 'zod';
import {
  type accessTokenCreatedSchema,
  type accessTokenListSchema,
  type auditPageSchema,
  createAccessTokenSchema,
  MAX_AUDIT_PER_PAGE,
} from '../../schemas/access.ts';
import type { auditChainPageSchema } from '../../schemas/audit-chain.ts';
import { numberFrom, readJson } from './body.ts';
import { clusterOf, type Handlers, pathPart } from './context.ts';
import { unwrap } from './problem.ts';

export const tokens = {
  'GET /v1/clusters/:cluster/tokens': async (c) => {
    const list = unwrap(await (await clusterOf(c)).people.accessTokens());
    const answer: z.infer<typeof accessTokenListSchema> = { schema: 'holdfast/access-tokens/v1', tokens: list };
    return c.json(answer);
  },

  'POST /v1/clusters/:cluster/tokens': async (c) => {
    const cluster = pathPart(c, 'cluster');
    const wanted = await readJson(c, createAccessTokenSchema);
    const created = unwrap(await (await clusterOf(c)).people.createAccessToken(wanted));
    const answer: z.infer<typeof accessTokenCreatedSchema> = {
      schema: 'holdfast/access-token-created/v1',
      ...created,
    };
    return c.json(answer, 201, { location: `/v1/clusters/${cluster}/tokens/${created.token.id}` });
  },

  'DELETE /v1/clusters/:cluster/tokens/:token': async (c) => {
    unwrap(await (await clusterOf(c)).people.revokeAccessToken(pathPart(c, 'token')));
    return c.json({ done: true });
  },

  'GET /v1/clusters/:cluster/audit': async (c) => {
    const after = numberFrom(c, 'after', { min: 0, max: Number.MAX_SAFE_INTEGER });
    const limit = numberFrom(c, 'limit', { min: 1, max: MAX_AUDIT_PER_PAGE }) ?? MAX_AUDIT_PER_PAGE;
    const entries = unwrap(await (await clusterOf(c)).people.audit(after, limit));
    const answer: z.infer<typeof auditPageSchema> = {
      schema: 'holdfast/audit/v1',
      entries,
      next: entries.at(-1)?.seq ?? after ?? 0,
    };
    return c.json(answer);
  },

  'GET /v1/clusters/:cluster/audit/chain': async (c) => {
    const after = numberFrom(c, 'after', { min: 0, max: Number.MAX_SAFE_INTEGER }) ?? 0;
    const limit = numberFrom(c, 'limit', { min: 1, max: MAX_AUDIT_PER_PAGE }) ?? MAX_AUDIT_PER_PAGE;
    const lines = unwrap(await (await clusterOf(c)).people.auditLines(after, limit));
    const answer: z.infer<typeof auditChainPageSchema> = {
      schema: 'holdfast/audit-chain/v1',
      lines,
      next: lines.at(-1)?.seq ?? after,
    };
    return c.json(answer);
  },
} satisfies Handlers<
  | 'GET /v1/clusters/:cluster/tokens'
  | 'POST /v1/clusters/:cluster/tokens'
  | 'DELETE /v1/clusters/:cluster/tokens/:token'
  | 'GET /v1/clusters/:cluster/audit'
  | 'GET /v1/clusters/:cluster/audit/chain'
>;
