/** From the configuration that the coordinator sent to resources this node can run: the policy is asked first, then the machine. */
import { createHash } from 'node:crypto';
import type { ResourceDeclaration } from '../../schemas/config.ts';
import type { NodeGroup, Refusal } from '../../schemas/wire.ts';
import { createResource, type ResourceDeclaration as Declaration, type ResourceContext } from '../resources/index.ts';
import type { Planned } from './group.ts';
import type { Policy } from './policy.ts';

export interface GroupPlan {
  readonly planned: readonly Planned[];
  /** Non-empty: this node will not run the group, and says why. */
  readonly refusals: readonly Refusal[];
}

/** What the wire calls a resource, as the resources room does. */
export function toDeclaration(declared: ResourceDeclaration): Declaration {
  const { times, policy: _policy, ...rest } = declared;
  const timeouts = Object.fromEntries(Object.entries(times).filter(([, ms]) => ms !== undefined));
  switch (rest.type) {
    case 'vip':
      return {
        type: 'vip',
        id: rest.id,
        address: rest.address,
        ...(rest.interface === undefined ? {} : { interface: rest.interface }),
        timeouts,
      };
    case 'drbd':
      return { type: 'drbd', id: rest.id, resource: rest.resource, timeouts };
    case 'mount':
      return {
        type: 'mount',
        id: rest.id,
        device: rest.device,
        directory: rest.directory,
        fstype: rest.fstype,
        ...(rest.options === undefined ? {} : { options: rest.options }),
        fsck: rest.fsck,
        timeouts,
      };
    case 'service':
      return { type: 'service', id: rest.id, unit: rest.unit, timeouts };
    case 'ocf':
      return { type: 'ocf', id: rest.id, agent: rest.agent, params: rest.params, timeouts };
    default:
      return rest satisfies never;
  }
}

/** The same key is the same resource: all that is declared but its times and its failure policy. */
function keyOf(declared: ResourceDeclaration): string {
  const { times: _times, policy: _policy, ...rest } = declared;
  return `${declared.id}#${createHash('sha256').update(JSON.stringify(rest)).digest('hex').slice(0, 16)}`;
}

/** @param policy undefined: the policy file cannot be used, so nothing may be run; `policyProblem` says why. */
export async function planGroup(
  group: NodeGroup,
  policy: Policy | undefined,
  policyProblem: string | undefined,
  context: (group: string) => ResourceContext,
): Promise<GroupPlan> {
  const planned: Planned[] = [];
  const refusals: Refusal[] = [];
  const refuse = (resource: string, reason: string) =>
    refusals.push({ group: group.name, resource, reason: reason.slice(0, 1_900) });
  for (const declared of group.resources) {
    const declaration = toDeclaration(declared);
    if (policy === undefined) {
      refuse(declared.id, policyProblem ?? 'the policy of this node cannot be read');
      continue;
    }
    const verdict = policy.check(declaration);
    if (!verdict.allowed) {
      const where = verdict.line === undefined ? policy.path : `${policy.path}:${verdict.line}`;
      refuse(declared.id, `${where}: ${verdict.reason}`);
      continue;
    }
    const created = await createResource(declaration, context(group.name));
    if ('problem' in created) refuse(declared.id, created.problem);
    const resource = 'problem' in created ? created.resource : created;
    if (resource === undefined) continue;
    planned.push({
      resource,
      declared: {
        key: keyOf(declared),
        id: declared.id,
        times: resource.times,
        policy: declared.policy,
        repairable: resource.repair !== undefined,
      },
    });
  }
  return { planned, refusals };
}
