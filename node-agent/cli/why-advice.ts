/** `why GROUP --on NODE`: what would have to change for this node to be chosen. Pure. */
import type { Why } from '../../schemas/api.ts';
import type { Candidate, Reason } from '../../schemas/reasons.ts';

/** @returns one line for each thing that has to change; empty when the node has the group, or is next. */
export function whatWouldChange(why: Why, node: string): string[] {
  const mine = why.candidates.find((candidate) => candidate.node === node);
  if (mine === undefined || why.owner === node) return [];
  const against = mine.reasons.flatMap((reason) => remedy(reason, why.group, node) ?? []);
  if (against.length > 0) return [...new Set(against)];
  const best = why.candidates.find((candidate) => candidate.chosen && candidate.node !== node);
  return best === undefined || !mine.eligible ? [] : [outranked(mine, best, why)];
}

function outranked(mine: Candidate, best: Candidate, why: Why): string {
  const scores =
    mine.score === undefined || best.score === undefined
      ? `${best.node} ranks higher`
      : `${best.node} ranks higher, ${best.score} to ${mine.score}`;
  const how =
    why.owner === null
      ? 'an earlier place in `on` or `prefer` changes that'
      : `\`holdfast move ${why.group} --to ${mine.node}\` moves it here`;
  return `${scores}; ${how}`;
}

/** @returns undefined for what does not speak against a node. */
function remedy(reason: Reason, group: string, node: string): string | undefined {
  switch (reason.rule) {
    case 'not-listed':
      return `${node} has to be in the group’s \`on\` list`;
    case 'not-joined':
    case 'removed':
      return `it has to join: \`holdfast node token create --node ${node}\``;
    case 'standby':
    case 'maintenance':
      return `\`holdfast node ready ${node}\``;
    case 'lost':
    case 'agent-ended':
    case 'declared-dead':
    case 'not-started':
      return 'its agent has to run there and reach the coordinator';
    case 'unheard':
    case 'quarantine':
    case 'outdated-config':
    case 'epochs-unreported':
    case 'instance-new':
      return 'nothing: it passes by itself in a moment';
    case 'leaving':
      return 'it has to come back from its shutdown';
    case 'refuses':
      return `its administrator has to allow or mend ${reason.resource} there; it is looked at again every ten seconds`;
    case 'failed-here':
      return `when ${reason.resource} is mended: \`holdfast group cleanup ${group}\`${reason.until === undefined ? '' : `, or by itself ${reason.until}`}`;
    case 'no-watchdog':
      return `it has to have a watchdog: on ${node}, \`--reset=watchdog\` in reset.env of its state directory, with \`holdfast doctor\` to say what there is; or, for a disk that is shared, \`acceptRisk\` in the document`;
    case 'fuse-unfit':
      return `its watchdog has to fit the lease, or to be given up there (\`--reset=none\`): \`holdfast doctor\` on ${node}`;
    case 'not-with':
      return reason.owner === null
        ? `${reason.group} has to run here`
        : `${reason.group} has to come here, this group follows: \`holdfast move ${reason.group} --to ${node}\``;
    case 'not-apart':
      return `${reason.group} has to leave: \`holdfast move ${reason.group}\``;
    case 'manual-failover':
      return `\`holdfast move ${group} --to ${node}\``;
    case 'not-voter':
      return 'its owner has to report again, or an operator to say that it is off: `holdfast confirm-dead OWNER`';
    case 'promised':
      return `${reason.owner} has to stop asking it to keep out: when it is down, or hears from the coordinator that it is to give the group back`;
    case 'lives-on-promises':
      return `${reason.owner} has to be down, or to hear from the coordinator`;
    case 'owner-let-lapse':
      return 'it has to renew its lease again, or another node takes over';
    case 'copy-unknown':
      return `its agent has to tell of ${reason.resource}; \`holdfast doctor\` on the node says what DRBD lacks there`;
    case 'copy-unfit':
      return `${reason.resource} has to be UpToDate there: \`drbdadm status\` on the node`;
    case 'copy-behind':
      return `${reason.resource} has to be connected to ${reason.owner} and UpToDate there; or, giving up what may be missing, \`holdfast move ${group} --to ${node} --accept-risk=lose-newer-writes\``;
    case 'split-brain':
      return `somebody has to choose whose writes are lost, on that node: \`holdfast drbd resolve-split-brain ${reason.name}\``;
    case 'copy':
    case 'owner':
    case 'target':
    case 'prefer':
    case 'preference':
    case 'owner-has-it':
    case 'better-candidate':
    case 'group-stopped':
    case 'group-paused':
    case 'group-halted':
    case 'group-removed':
    case 'waits-for':
    case 'lease-runs':
    case 'renewal-not-newest':
    case 'restored':
      return undefined;
    default:
      return reason satisfies never;
  }
}
