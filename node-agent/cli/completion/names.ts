/** Names of the cluster for a completion: asked of the coordinator while somebody waits with a finger on a key. */

import { accessTokenListSchema } from '../../../schemas/access.ts';
import type { Status } from '../../../schemas/api.ts';
import { clusterListSchema, operationListSchema, revisionListSchema, statusSchema } from '../../../schemas/api.ts';
import { incidentListSchema } from '../../../schemas/incident.ts';
import { webhookListSchema } from '../../../schemas/webhook.ts';
import { Client } from '../client.ts';
import { type ConnectionOptions, connectionFrom } from '../context.ts';
import type { Io } from '../io.ts';
import { title } from '../operation.ts';
import { routes } from '../routes.ts';
import type { NameKind, Suggestion } from './values.ts';

/** Longer than this nobody waits for a completion. */
const ANSWER_WITHIN_MS = 1_000;

/** What a shell takes for one word and nothing else, whoever says so: names and ids are like that, and bash quotes nothing. */
const PLAIN = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/**
 * @returns the names, or nothing whenever they cannot be had: no coordinator named, no token, no answer in time. A completion has
 * nowhere to say why, and says nothing; the command itself will.
 */
export async function namesOf(kind: NameKind, options: ConnectionOptions, io: Io): Promise<readonly Suggestion[]> {
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const late = new Promise<readonly Suggestion[]>((resolve) => signal.addEventListener('abort', () => resolve([])));
  const names = await Promise.race([ask(kind, options, io, signal).catch(() => []), late]);
  return names.filter(({ value }) => PLAIN.test(value));
}

async function ask(kind: NameKind, options: ConnectionOptions, io: Io, signal: AbortSignal): Promise<Suggestion[]> {
  const silent = { env: io.env, note() {}, readStdin: async () => '' };
  const client = new Client(await connectionFrom(options, silent));
  const get = { method: 'GET', signal } as const;
  switch (kind) {
    case 'clusters': {
      const { value } = await client.call(clusterListSchema, { ...get, path: routes.clusters });
      return value.clusters.map(({ name, createdAt }) => ({ value: name, description: `made ${createdAt}` }));
    }
    case 'operations': {
      const path = routes.operations(client.cluster);
      const { value } = await client.call(operationListSchema, { ...get, path });
      return value.operations.map((one) => ({ value: one.id, description: `${title(one)}: ${one.state}` }));
    }
    case 'revisions': {
      const { value } = await client.call(revisionListSchema, { ...get, path: routes.history(client.cluster) });
      return value.revisions.map(({ revision, at }) => ({ value: String(revision), description: `since ${at}` }));
    }
    case 'tokens': {
      const { value } = await client.call(accessTokenListSchema, { ...get, path: routes.tokens(client.cluster) });
      return value.tokens.map(({ name, role }) => ({ value: name, description: role }));
    }
    case 'incidents': {
      const { value } = await client.call(incidentListSchema, { ...get, path: routes.incidents(client.cluster) });
      const each = value.incidents.map(({ id, group, openedAt }) => ({
        value: id,
        description: `${group} ${openedAt}`,
      }));
      return [{ value: 'last', description: 'the newest' }, ...each];
    }
    case 'webhooks': {
      const { value } = await client.call(webhookListSchema, { ...get, path: routes.webhooks(client.cluster) });
      return value.webhooks.map((one) => ({ value: one.id, description: `${one.state}: ${one.url}` }));
    }
    case 'groups':
    case 'nodes': {
      const { value } = await client.call(statusSchema, { ...get, path: routes.status(client.cluster) });
      return kind === 'groups' ? groupsIn(value) : nodesIn(value);
    }
    default:
      return kind satisfies never;
  }
}

function groupsIn({ groups }: Status): Suggestion[] {
  return Object.entries(groups).map(([value, { state, owner }]) => ({
    value,
    description: owner === null ? state : `${state} on ${owner}`,
  }));
}

function nodesIn({ nodes }: Status): Suggestion[] {
  return Object.entries(nodes).map(([value, { state, joined }]) => ({
    value,
    description: joined ? state : 'not joined',
  }));
}
