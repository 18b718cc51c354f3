import type { ResourceDeclaration } from './declaration.ts';
import { MountResource } from './mount.ts';
import { OcfResource } from './ocf.ts';
import type { ResourceContext } from './ports.ts';
import type { Resource } from './resource.ts';
import { ServiceResource } from './service.ts';
import { VipResource } from './vip.ts';

export * from './declaration.ts';

export { MountResource } from './mount.ts';
export { type OcfOptions, OcfResource } from './ocf.ts';
export type { Announcer, ResourceContext } from './ports.ts';
export type * from './resource.ts';
export { releaseUnits, type ServiceOptions, ServiceResource } from './service.ts';
export { VipResource } from './vip.ts';
export { parseVipAddress } from './vip-place.ts';

/**
 * Makes the resource that a declaration describes. The node's policy has been asked before. Runs nothing but, for `ocf`,
 * the agent's meta-data action.
 * @returns the resource, or why this node cannot run it (a wrong parameter, an agent that is not installed). With `resource`: what it
 * may not start, but has to stop should it run here.
 */
export async function createResource(
  declaration: ResourceDeclaration,
  context: ResourceContext,
): Promise<Resource | { readonly problem: string; readonly resource?: Resource }> {
  switch (declaration.type) {
    case 'vip':
      return VipResource.create(declaration, context);
    case 'ocf':
      return OcfResource.create(declaration, context);
    case 'service':
      return ServiceResource.create(declaration, context);
    case 'mount':
      return MountResource.create(declaration, context);
    case 'drbd':
      return { problem: `this agent cannot run resources of type ${declaration.type}` };
    default:
      return declaration satisfies never;
  }
}
