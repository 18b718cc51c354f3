/** Paths of the API, relative to the coordinator's URL; the one place of the command line that knows them. */

const part = encodeURIComponent;
const cluster = (name: string) => `v1/clusters/${part(name)}`;

export const routes = {
  clusters: 'v1/clusters',
  status: (c: string) => `${cluster(c)}/status`,
  events: (c: string) => `${cluster(c)}/events`,
  config: (c: string) => `${cluster(c)}/config`,
  plan: (c: string) => `${cluster(c)}/config/plan`,
  operation: (c: string, id: string) => `${cluster(c)}/operations/${part(id)}`,
  confirmHistory: (c: string) => `${cluster(c)}/confirm-history`,
  why: (c: string, group: string) => `${cluster(c)}/groups/${part(group)}/why`,
  group: (c: string, group: string, action: 'move' | 'stop' | 'start' | 'cleanup') =>
    `${cluster(c)}/groups/${part(group)}/${action}`,
  node: (c: string, node: string) => `${cluster(c)}/nodes/${part(node)}`,
  nodeAction: (c: string, node: string, action: 'standby' | 'ready' | 'confirm-dead' | 'token') =>
    `${cluster(c)}/nodes/${part(node)}/${action}`,
  enrol: (c: string) => `${cluster(c)}/agent/enrol`,
} as const;

/** `If-Match` of a configuration write. */
export function revisionTag(revision: number): string {
  return `"rev-${revision}"`;
}
