/** What is told of an event: the event, and what the grant it belongs to knows. */
import type { ClusterEvent } from '../../schemas/events.ts';
import type { Decision } from '../../schemas/reasons.ts';
import type { Notice } from '../../schemas/webhook.ts';

/** Events that speak of one grant: its cause and its outage belong to what they tell. */
const OF_A_GRANT: readonly string[] = ['group.granted', 'group.running', 'group.degraded'];

/**
 * @param grant the grant of the event's group and epoch, if there is one.
 * @param origin where people reach the coordinator.
 */
export function noticeOf(cluster: string, event: ClusterEvent, grant: Decision | null, origin: string): Notice {
  const base = `${origin}/v1/clusters/${cluster}`;
  const { seq, kind, severity, detail, at, group, node, resource, epoch } = event;
  const change = grant !== null && OF_A_GRANT.includes(kind) ? changeOf(grant) : {};
  return {
    schema: 'holdfast/notice/v1',
    cluster,
    seq,
    kind,
    severity,
    summary: summaryOf(cluster, event, change),
    detail,
    at,
    ...(group === undefined ? {} : { group }),
    ...(node === undefined ? {} : { node }),
    ...(resource === undefined ? {} : { resource }),
    ...(epoch === undefined ? {} : { epoch }),
    ...change,
    links: {
      events: `${base}/events?after=${seq - 1}`,
      ...(group === undefined ? {} : { why: `${base}/groups/${group}/why` }),
    },
  };
}

type Change = Pick<Notice, 'cause' | 'from' | 'to' | 'outageMs'>;

function changeOf(grant: Decision): Change {
  const { cause, from, node, lastRenewalAt, runningAt } = grant;
  // of an owner that gave it back, the last renewal says nothing about when it stopped serving
  const known = cause !== 'released' && lastRenewalAt !== null && runningAt !== null;
  return {
    ...(cause === undefined ? {} : { cause }),
    from: from ?? null,
    to: node,
    outageMs: known ? Date.parse(runningAt) - Date.parse(lastRenewalAt) : null,
  };
}

function summaryOf(cluster: string, event: ClusterEvent, change: Change): string {
  const { kind, group, node, resource, detail } = event;
  const what = [group, resource].filter((part) => part !== undefined).join('/');
  const subject = [what, node].filter((part) => part !== undefined && part !== '').join(' on ');
  const moved =
    change.from !== undefined && change.from !== null && change.from !== change.to ? ` (from ${change.from})` : '';
  const outage =
    kind !== 'group.granted' && typeof change.outageMs === 'number'
      ? `; outage ${(change.outageMs / 1_000).toFixed(1)} s at most`
      : '';
  const head = [kind, subject].filter((part) => part !== '').join(' ');
  return `${cluster}: ${head}${moved}: ${detail}${outage}`;
}
