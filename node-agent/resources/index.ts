import type { ResourceDeclaration } from './declaration.ts';
import { DrbdResource } from './drbd.ts';
import { MountResource } from './mount.ts';
import { OcfResource } from './ocf.ts';
import type { ResourceContext } from './ports.ts';
import type { Resource } from './resource.ts';
import { ServiceResource } from './service.ts';
import { VipResource } from './vip.ts';

export * from './declaration.ts';

export { DrbdResource, drbdResources } from './drbd.ts';
export { isOurHandler } from './drbd-attend.ts';
export { Drbd } from './drbd-command.ts';
export { type DrbdConfig, optionOf } from './drbd-config.ts';
export { copyFrom } from './drbd-state.ts';
export { MountResource, mountedAt } from './mount.ts';
export { type ExtState, extState, needsCheck, SUPERBLOCK_BYTES, typeFits } from './mount-check.ts';
export { FORCED_TIDY_MS, type OcfOptions, OcfResource, parameterProblem } from './ocf.ts';
export { agentProblem, BASE_ENVIRONMENT, findAgent, MetadataCache } from './ocf-agents.ts';
export { findAction } from './ocf-metadata.ts';
export type { Announcer, ResourceContext } from './ports.ts';
export type * from './resource.ts';
export { releaseUnits, type ServiceOptions, ServiceResource } from './service.ts';
export { AGENT_UNIT } from './service-drop-in.ts';
export { activatorsOf, activatorTrouble, isDown, unitTrouble } from './service-state.ts';
export { VipResource } from './vip.ts';
export { choosePlace, holdersOf, type Place, parseVipAddress } from './vip-place.ts';

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
      return DrbdResource.create(declaration, context);
    default:
      return declaration satisfies never;
  }
}
