/** What a node is asked to run, from wherever that is known. */
import type { Config, ResourceDeclaration } from '../../schemas/config.ts';
import type { LeaseTiming } from '../../schemas/limits.ts';
import { type NodeConfig, type NodeGroup, nodeGroups } from '../../schemas/wire.ts';

export interface Declared {
  /** In words: `revision 3`, a file. */
  readonly source: string;
  readonly timing: LeaseTiming;
  /** Those that this node may be asked to run. */
  readonly groups: readonly NodeGroup[];
}

/** One declared resource and the group that it belongs to. */
export interface Wanted<T extends ResourceDeclaration['type'] = ResourceDeclaration['type']> {
  readonly group: string;
  /** `web/nginx`, as status and why name it. */
  readonly subject: string;
  readonly resource: Extract<ResourceDeclaration, { type: T }>;
}

export function fromNodeConfig(config: NodeConfig): Declared {
  return { source: `revision ${config.revision}`, timing: config.timing, groups: config.groups };
}

/** The part of a document that concerns one node, as the coordinator would send it. */
export function fromDocument(config: Config, node: string, source: string): Declared {
  return { source, timing: config.timing, groups: nodeGroups(config, node) };
}

export function wanted<T extends ResourceDeclaration['type']>(declared: Declared, type: T): Wanted<T>[] {
  return declared.groups.flatMap((group) =>
    group.resources
      .filter((resource): resource is Extract<ResourceDeclaration, { type: T }> => resource.type === type)
      .map((resource) => ({ group: group.name, subject: `${group.name}/${resource.id}`, resource })),
  );
}
