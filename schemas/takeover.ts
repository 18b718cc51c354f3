/**
 * Would another node take a group over, and would it outlive an outage of the coordinator? Read from what `status` tells, the same way by
 * everything that shows or judges it.
 */
import { isServed, type Status } from './api.ts';
import type { Reason } from './reasons.ts';

type Group = Status['groups'][string];

export function successor(group: Group): string | undefined {
  return group.candidates.find(({ node, eligible }) => eligible && node !== group.owner && mayTakeOver(group, node))
    ?.node;
}

/** From an owner that is lost only its voters may take over. */
function mayTakeOver({ owner, outage }: Group, node: string): boolean {
  return owner === null || outage === undefined || outage.voters.includes(node);
}

/** Its owner is its only voter although it may run on others: when the owner is lost, it starts nowhere by itself. */
export function hasNoTakeover({ owner, candidates, outage }: Group): boolean {
  return owner !== null && candidates.length > 1 && outage?.takeover === false;
}

/** The coordinator has just started, or the voters are changing: who could take the group over is known in a moment. */
export function unheard(group: Group): boolean {
  if (hasNoTakeover(group) && group.outage?.settling === true) return true;
  return group.candidates.some(
    ({ node, reasons }) =>
      node !== group.owner && reasons.some(({ rule }) => rule === 'unheard' || rule === 'epochs-unreported'),
  );
}

/** An operator keeps it where it is: nobody takes it over. */
export function staysPut(group: Group, nodes: Status['nodes']): boolean {
  const owner = group.owner === null ? undefined : nodes[group.owner];
  return group.paused !== undefined || owner?.maintenance !== undefined;
}

/** A group that may run on one node only was meant so; one whose other nodes all cannot take it was not. */
export function lacksSuccessor(group: Group): boolean {
  if (group.candidates.length < 2 || successor(group) !== undefined || unheard(group)) return false;
  return ruledOut(group) === undefined;
}

/**
 * An outage of the coordinator would stop it, and nobody wants that. Not said of what is meant so (`requires: uplink`), of what does not
 * run, nor while it is not known yet or about to change.
 */
export function isExposed(group: Group): boolean {
  const { outage } = group;
  if (outage === undefined || group.owner === null || !isServed(group.state)) return false;
  return !outage.survives && outage.requires === undefined && outage.settling !== true;
}

/** By its own rules nobody takes it over by itself: it goes `with` another group, or is moved `by hand`. */
export function ruledOut(group: Group): string | undefined {
  // not even by hand
  if (hasNoTakeover(group)) return undefined;
  const waiting = group.candidates.filter((candidate) => candidate.node !== group.owner && meantToWait(candidate));
  if (waiting.length === 0) return undefined;
  const leaders = waiting.flatMap(({ reasons }) =>
    reasons.flatMap((reason) => (reason.rule === 'not-with' ? [reason.group] : [])),
  );
  return leaders.length === 0 ? 'by hand' : `with ${[...new Set(leaders)].join(', ')}`;
}

/** Only a rule of its own speaks against the node: that another group decides over its place, or a person. */
function meantToWait({ reasons }: Group['candidates'][number]): boolean {
  const byRule = (reason: Reason) => reason.rule === 'not-with' || reason.rule === 'manual-failover';
  const inFavour = (reason: Reason) => 'weight' in reason;
  return reasons.some(byRule) && reasons.every((reason) => byRule(reason) || inFavour(reason));
}
