/** PagerDuty Events API v2: https://developer.pagerduty.com/docs/send-alert-event */
import type { Notice } from '../../../schemas/webhook.ts';
import type { Format } from './format.ts';

/** What ends the alarm about the same group or node. */
const RESOLVING: readonly string[] = ['group.running', 'node.returned', 'copy.current'];
const MAX_SUMMARY = 1_024;
const MAX_KEY = 255;

/**
 * One alarm at a time for what it is about, which only its own good news closes: a group that runs is no news of its data. Of a split brain
 * there is none: a person closes that alarm.
 */
function dedupKey({ cluster, kind, group, node, resource }: Notice): string {
  return `holdfast/${cluster}/${topicOf(kind, { group, node, resource })}`.slice(0, MAX_KEY);
}

function topicOf(kind: string, { group, node, resource }: Pick<Notice, 'group' | 'node' | 'resource'>): string {
  if (kind === 'copy.split-brain') return `split-brain/${group}/${resource}`;
  if (kind.startsWith('copy.')) return `copy/${group}/${resource}/${node}`;
  if (group !== undefined) return `group/${group}`;
  return node === undefined ? kind : `node/${node}`;
}

export const pagerduty: Format = {
  // what is neither trouble nor the end of it pages nobody
  takes: ({ kind, severity }) => severity !== 'info' || RESOLVING.includes(kind),
  body: (notice, key) => ({
    routing_key: key,
    event_action: RESOLVING.includes(notice.kind) ? 'resolve' : 'trigger',
    dedup_key: dedupKey(notice),
    payload: {
      summary: notice.summary.slice(0, MAX_SUMMARY),
      source: notice.node ?? notice.cluster,
      severity: notice.severity === 'error' ? 'critical' : notice.severity,
      timestamp: notice.at,
      component: notice.resource ?? notice.group ?? notice.node ?? notice.cluster,
      group: notice.cluster,
      class: notice.kind,
      custom_details: notice,
    },
    links: Object.entries(notice.links).map(([text, href]) => ({ text, href })),
  }),
  signed: false,
};
