/** What each node is told of its peers: where they listen and by which key they are known. Removing a node takes it off every list. */
import { fingerprint } from '../../schemas/fingerprint.ts';
import type { Peer } from '../../schemas/peer.ts';
import type { Reply } from '../../schemas/wire.ts';
import type { ClusterState, Durable } from './state.ts';

type Peers = NonNullable<Reply['peers']>;

const known = new WeakMap<Durable['nodes'], Map<string, Peers>>();

/** The peers of this node, under a version that depends on nothing but the list itself. */
export function peersOf({ durable: { nodes } }: ClusterState, node: string): Peers {
  const of = known.get(nodes) ?? new Map<string, Peers>();
  known.set(nodes, of);
  const before = of.get(node);
  if (before !== undefined) return before;
  const list: Peer[] = Object.values(nodes).flatMap(({ name, removed, endpoint }) =>
    name === node || removed || endpoint === null ? [] : [{ node: name, ...endpoint }],
  );
  const peers = { version: fingerprint(JSON.stringify(list)), list };
  of.set(node, peers);
  return peers;
}
