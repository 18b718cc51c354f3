/** The coordinator's Worker on real workerd, by the real wrangler.toml, with doors into its objects' storage and life cycle. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { createTestHarness } from 'wrangler';
import { repoRoot } from '../lab/paths.ts';
import { TestNode } from './node.ts';

// Read when the harness starts: without them it asks the network for a location and for updates.
process.env.CLOUDFLARE_CF_FETCH_ENABLED = 'false';
process.env.WRANGLER_SEND_METRICS = 'false';
process.env.WRANGLER_HIDE_BANNER = 'true';

const ADMIN_TOKEN = 'an-administrator-of-tests';

export type Row = Record<string, unknown>;

/** An HTTP answer, read. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests read fields of many answers
  readonly body: any;
}

export interface Coordinator {
  /** Where it listens: http://127.0.0.1:PORT. */
  readonly origin: string;
  /** As the administrator; a body that is no text is sent as JSON. */
  admin(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  createCluster(name: string): Promise<void>;
  /** Joins a node to a cluster with a token of its own. */
  join(cluster: string, name: string): Promise<TestNode>;
  apply(cluster: string, document: string): Promise<Answer>;
  /** In the cluster's own object, or in that of its webhooks. */
  sql(cluster: string, query: string, object?: 'CLUSTER' | 'WEBHOOKS'): Promise<Row[]>;
  evict(cluster: string, webSockets: 'hibernate' | 'close'): Promise<void>;
  /** How many objects of clusters there are, named or not. */
  objectCount(): Promise<number>;
  shiftClock(offsetMs: number): Promise<void>;
  close(): Promise<void>;
}

export async function startCoordinator(vars: Record<string, string> = {}): Promise<Coordinator> {
  const server = createTestHarness({
    workers: [
      {
        configPath: join(repoRoot, 'wrangler.toml'),
        vars: {
          ADMIN_TOKEN_SHA256: createHash('sha256').update(ADMIN_TOKEN).digest('hex'),
          TEST_HOOKS: '1',
          ...vars,
        },
      },
    ],
  });
  const { url } = await server.listen();
  const origin = url.origin;

  const coordinator: Coordinator = {
    origin,
    async admin(method, path, body, headers = {}) {
      const json = body !== undefined && typeof body !== 'string';
      const response = await fetch(origin + path, {
        method,
        headers: {
          authorization: `Bearer ${ADMIN_TOKEN}`,
          ...(json ? { 'content-type': 'application/json' } : {}),
          ...headers,
        },
        ...(body === undefined ? {} : { body: json ? JSON.stringify(body) : (body as string) }),
      });
      return await readAnswer(response);
    },
    async createCluster(name) {
      const { status, body } = await coordinator.admin('POST', '/v1/clusters', { name });
      if (status !== 201) throw new Error(`create cluster: ${JSON.stringify(body)}`);
    },
    async join(cluster, name) {
      const { body } = await coordinator.admin('POST', `/v1/clusters/${cluster}/nodes/${name}/token`);
      const node = await TestNode.make(origin, cluster, name);
      const joined = await node.enrol(body.token);
      if (joined.status !== 200) throw new Error(`join: ${JSON.stringify(joined.body)}`);
      return node;
    },
    async apply(cluster, document) {
      const path = `/v1/clusters/${cluster}/config`;
      const { headers } = await coordinator.admin('GET', path);
      return await coordinator.admin('PUT', path, document, {
        'if-match': headers.get('etag') ?? '',
        'content-type': 'application/yaml',
      });
    },
    async sql(cluster, query, object = 'CLUSTER') {
      const storage = await server.getWorker().getDurableObjectStorage(object, { name: cluster });
      return (await storage.exec(query)) as Row[];
    },
    async evict(cluster, webSockets) {
      await server.getWorker().evictDurableObject('CLUSTER', { name: cluster, webSockets });
    },
    async objectCount() {
      return (await server.getWorker().listDurableObjectIds('CLUSTER')).length;
    },
    async shiftClock(offsetMs) {
      await coordinator.admin('POST', '/v1/test/clock', { offsetMs });
    },
    close: () => server.close(),
  };
  return coordinator;
}

export async function readAnswer(response: Response): Promise<Answer> {
  const text = await response.text();
  const json = (response.headers.get('content-type') ?? '').includes('json');
  return { status: response.status, headers: response.headers, text, body: json ? JSON.parse(text) : text };
}

/** A document with one group on all of `nodes`. */
export function documentOf(cluster: string, nodes: readonly string[], address = '192.0.2.10/24'): string {
  return `cluster: ${cluster}\nnodes: [${nodes.join(', ')}]\ngroups:\n  web:\n    resources:\n      - vip: ${address}\n`;
}
