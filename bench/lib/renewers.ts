/** Nodes that do nothing but renew: each joined, with a socket and the lease of a group of its own. */
import type { Reply } from '../../schemas/wire.ts';
import { BenchNode } from './agent.ts';
import { idPlaceholder, LoadSocket } from './socket.ts';
import type { Server } from './workerd.ts';

export const isRenewal = (text: Buffer) => text.includes('"verdict":"renewed"');
/** What the coordinator sends unasked. */
export const isNoReply = (text: Buffer) => !text.subarray(0, 16).includes('"reply"');

/** Asks as the administrator. @returns what is answered; throws at any problem. */
export async function administer(
  server: Server,
  method: string,
  path: string,
  body?: unknown,
  type = 'application/json',
) {
  const headers: Record<string, string> = { authorization: `Bearer ${server.token}` };
  if (method === 'PUT') headers['if-match'] = (await read(server, path)).etag;
  const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
  if (body !== undefined) headers['content-type'] = type;
  const response = await fetch(server.origin + path, { method, headers, ...sent });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return JSON.parse((await response.text()) || 'null');
}

async function read(server: Server, path: string): Promise<{ etag: string }> {
  const response = await fetch(server.origin + path, { headers: { authorization: `Bearer ${server.token}` } });
  await response.text();
  return { etag: response.headers.get('etag') ?? '' };
}

/** Joined nodes of a new cluster, ready to renew: n1 with the group g-n1, and so on. */
export async function renewers(server: Server, cluster: string, count: number): Promise<LoadSocket[]> {
  const base = `/v1/clusters/${cluster}`;
  const nodes = Array.from({ length: count }, (_, index) => new BenchNode(`n${index + 1}`));
  await administer(server, 'POST', '/v1/clusters', { name: cluster });
  let clusterKey = '';
  for (const node of nodes) {
    const { token } = await administer(server, 'POST', `${base}/nodes/${node.name}/token`);
    const enrolment = node.enrolment(cluster, token);
    clusterKey = (await administer(server, 'POST', `${base}/agent/enrol`, enrolment)).clusterKey;
  }
  const groups = nodes.map(
    ({ name }, index) => `  g-${name}:\n    on: [${name}]\n    resources:\n      - vip: 192.0.2.${index + 1}/24\n`,
  );
  const document = `cluster: ${cluster}\nnodes: [${nodes.map(({ name }) => name).join(', ')}]\ngroups:\n${groups.join('')}`;
  await administer(server, 'PUT', `${base}/config`, document, 'application/yaml');
  return await Promise.all(nodes.map((node) => leaseHolder(server, cluster, clusterKey, node)));
}

async function leaseHolder(server: Server, cluster: string, clusterKey: string, node: BenchNode): Promise<LoadSocket> {
  const path = `/v1/clusters/${cluster}/agent/socket`;
  const { nonce } = await administer(server, 'POST', `/v1/clusters/${cluster}/agent/nonce`, { node: node.name });
  const socket = await LoadSocket.open(server.origin + path, node.upgrade(cluster, clusterKey, path, nonce));
  const ask = async (change: Omit<Parameters<BenchNode['report']>[0], 'id'>): Promise<Reply> => {
    socket.prepare(JSON.stringify(node.report({ ...change, id: idPlaceholder })));
    return await new Promise((resolve) => {
      socket.onText((text) => {
        if (!isNoReply(text)) resolve(JSON.parse(text.toString()));
      });
      socket.send();
    });
  };
  const group = `g-${node.name}`;
  const first = await ask({ epochs: {} });
  const known = { revision: first.config?.revision ?? 0, history: first.history };
  const claimed = await ask({ ...known, claims: [{ group, renewal: null, seenForMs: 0 }] });
  const epoch = claimed.grants.find((grant) => grant.group === group)?.epoch;
  if (epoch === undefined) throw new Error(`${node.name} was granted nothing: ${JSON.stringify(claimed)}`);
  socket.prepare(JSON.stringify(node.report({ ...known, leases: [{ group, epoch }], id: idPlaceholder })));
  return socket;
}
