/** Paths of the API, relative to the coordinator's URL; the one place of the command line that knows them. */

const part = encodeURIComponent;
const cluster = (name: string) => `v1/clusters/${part(name)}`;

export const routes = {
  clusters: 'v1/clusters',
  status: (c: string) => `${cluster(c)}/status`,
  events: (c: string) => `${cluster(c)}/events`,
  config: (c: string) => `${cluster(c)}/config`,
  history: (c: string) => `${cluster(c)}/config/history`,
  plan: (c: string) => `${cluster(c)}/config/plan`,
  operations: (c: string) => `${cluster(c)}/operations`,
  operation: (c: string, id: string) => `${cluster(c)}/operations/${part(id)}`,
  cancelOperation: (c: string, id: string) => `${cluster(c)}/operations/${part(id)}/cancel`,
  confirmHistory: (c: string) => `${cluster(c)}/confirm-history`,
  keys: (c: string) => `${cluster(c)}/keys`,
  rotateKey: (c: string) => `${cluster(c)}/keys/rotate`,
  simulate: (c: string) => `${cluster(c)}/simulate`,
  why: (c: string, group: string) => `${cluster(c)}/groups/${part(group)}/why`,
  group: (c: string, group: string, action: 'move' | 'stop' | 'start' | 'cleanup' | 'pause' | 'resume') =>
    `${cluster(c)}/groups/${part(group)}/${action}`,
  /** Of every group. */
  allGroups: (c: string, action: 'pause' | 'resume') => `${cluster(c)}/${action}`,
  node: (c: string, node: string) => `${cluster(c)}/nodes/${part(node)}`,
  nodeAction: (c: string, node: string, action: 'standby' | 'ready' | 'maintenance' | 'confirm-dead' | 'token') =>
    `${cluster(c)}/nodes/${part(node)}/${action}`,
  tokens: (c: string) => `${cluster(c)}/tokens`,
  token: (c: string, which: string) => `${cluster(c)}/tokens/${part(which)}`,
  audit: (c: string) => `${cluster(c)}/audit`,
  auditChain: (c: string) => `${cluster(c)}/audit/chain`,
  incidents: (c: string) => `${cluster(c)}/incidents`,
  incident: (c: string, id: string) => `${cluster(c)}/incidents/${part(id)}`,
  webhooks: (c: string) => `${cluster(c)}/webhooks`,
  webhook: (c: string, id: string) => `${cluster(c)}/webhooks/${part(id)}`,
  webhookAction: (c: string, id: string, action: 'test' | 'deliveries' | 'enable' | 'replay' | 'rotate-secret') =>
    `${cluster(c)}/webhooks/${part(id)}/${action}`,
  enrol: (c: string) => `${cluster(c)}/agent/enrol`,
} as const;

/** `If-Match` of a configuration write. */
export function revisionTag(revision: number): string {
  return `"rev-${revision}"`;
}
