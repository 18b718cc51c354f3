import type { OperationTimes } from './resource.ts';

/** What a document may say about any resource, next to what its type needs. */
export interface Common {
  /** Unique in the group. Left out: made from the declaration, see {@link resourceId}. */
  readonly id?: string;
  readonly timeouts?: Partial<OperationTimes>;
}

export type VipDeclaration = Common & {
  readonly type: 'vip';
  /** With its prefix length: `192.0.2.10/24`, `2001:db8::10/64`. */
  readonly address: string;
  readonly interface?: string;
};
export type OcfDeclaration = Common & {
  readonly type: 'ocf';
  /** `provider:type` or `ocf:provider:type`. */
  readonly agent: string;
  readonly params: Readonly<Record<string, string>>;
};
export type ServiceDeclaration = Common & { readonly type: 'service'; readonly unit: string };
export type MountDeclaration = Common & {
  readonly type: 'mount';
  readonly device: string;
  readonly directory: string;
  readonly fstype: string;
  readonly options?: string;
  /** Left out: `auto`. */
  readonly fsck?: 'auto' | 'never';
};
export type DrbdDeclaration = Common & { readonly type: 'drbd'; readonly resource: string };

/** One resource as a node is told about it: data only, never a command. */
export type ResourceDeclaration =
  | VipDeclaration
  | OcfDeclaration
  | ServiceDeclaration
  | MountDeclaration
  | DrbdDeclaration;

/** The name of a resource in its group: the one the document gives, or one made from what it is, e.g. `vip-192.0.2.10` or `nginx`. */
export function resourceId(declaration: ResourceDeclaration): string {
  if (declaration.id !== undefined) return declaration.id;
  switch (declaration.type) {
    case 'vip':
      return `vip-${declaration.address.split('/', 1)[0]}`;
    case 'ocf':
      return declaration.agent.split(':').at(-1) ?? declaration.agent;
    case 'service':
      return declaration.unit.replace(/\.service$/, '');
    case 'mount':
      return `mount-${declaration.directory}`;
    case 'drbd':
      return `drbd-${declaration.resource}`;
  }
}

/** `ocf:heartbeat:nginx` and `heartbeat:nginx` are the same agent. @returns undefined if it is neither. */
export function parseAgentName(agent: string): { readonly provider: string; readonly type: string } | undefined {
  const parts = agent.split(':');
  if (parts.length === 3 && parts[0] === 'ocf') parts.shift();
  const [provider, type] = parts;
  if (parts.length !== 2 || provider === undefined || type === undefined) return undefined;
  const sound = (name: string) => /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name) && !name.includes('..');
  return sound(provider) && sound(type) ? { provider, type } : undefined;
}

/** What may be the name of an OCF parameter: it becomes part of the name of an environment variable. */
export function isParameterName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
}
